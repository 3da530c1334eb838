"""Both anatomies: a closed head with a brain in it, in head coordinates."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from trainer.phantom.anatomy import Anatomy
from trainer.phantom.pose import axial_plane, draw_pose
from trainer.phantom.procedural import procedural_anatomy
from trainer.phantom.sources import anatomy_for


@pytest.fixture(scope="module", params=["procedural", "template"])
def anatomy(request: pytest.FixtureRequest) -> Anatomy:
    if request.param == "procedural":
        return procedural_anatomy(np.random.default_rng(8))
    shared: Path = request.getfixturevalue("shared_data")
    return anatomy_for(shared / "ct_template", np.random.default_rng(8))


def _grid() -> np.ndarray:
    axes = [np.arange(low, high, 3.0, np.float32) for low, high in ((-90, 90), (-125, 95), (-70, 95))]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def test_the_intracranial_space_has_the_size_of_a_brain(anatomy: Anatomy) -> None:
    inner = anatomy.skull_at(_grid()).inner
    assert 1100 < (inner > 0).sum() * 0.027 * anatomy.typical_size**3 < 1800  # ml


def test_the_brain_lies_under_skin_with_room_for_bone(anatomy: Anatomy) -> None:
    fields = anatomy.skull_at(_grid())
    assert (fields.skin[fields.inner > 0] > 4).mean() > 0.98


def test_ventricles_are_deep_and_of_living_size(anatomy: Anatomy) -> None:
    grid = _grid()
    inner, ventricle = anatomy.skull_at(grid).inner, anatomy.brain_at(grid).ventricle
    assert 8 < (ventricle > 0).sum() * 0.027 < 90  # ml
    assert inner[ventricle > 0].min() > 5


def test_tissue_fractions_stay_in_range(anatomy: Anatomy) -> None:
    brain = anatomy.brain_at(_grid())
    for part in (brain.grey, brain.white, brain.cistern):
        assert part.min() >= -1e-3
        assert part.max() <= 1 + 1e-3


def test_blood_starts_where_it_can(anatomy: Anatomy) -> None:
    def at(points: np.ndarray) -> np.ndarray:
        return points[:5000].T.reshape(3, 1, 1, -1).astype(np.float32)

    assert anatomy.skull_at(at(anatomy.surface)).inner.max() < 4
    assert anatomy.skull_at(at(anatomy.interior)).inner.min() > 8
    assert anatomy.brain_at(at(anatomy.ventricular)).ventricle.min() > 0
    assert 60 < anatomy.top_mm < 90


def test_procedural_heads_differ_by_seed_only() -> None:
    first, again, other = (procedural_anatomy(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.skull.atlases[0], again.skull.atlases[0])
    assert not np.array_equal(first.skull.atlases[0], other.skull.atlases[0])


def test_an_anatomy_without_ventricles_is_refused() -> None:
    empty = dict.fromkeys(
        ("inner", "bone", "skin", "outside", "grey", "white", "ventricle", "cistern"),
        np.full((4, 4, 4), -9.0, np.float32),
    )
    with pytest.raises(ValueError, match="not a head"):
        Anatomy.from_values("nothing", empty, (0.0, 0.0, 0.0), 2.0)


def test_a_missing_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="scct_hu_derived"):
        anatomy_for(tmp_path, np.random.default_rng(1))


@pytest.mark.parametrize("harm", ["torn", "another grid", "not cubes", "no head"])
def test_maps_that_are_no_template_are_told_apart_in_a_sentence(harm: str, tmp_path: Path) -> None:
    affine = np.diag([2.0, 2.0, 3.0 if harm == "not cubes" else 2.0, 1.0])
    for name in ("scct_hu_derived", "scgrey", "scwhite", "sccsf"):
        side = 6 if harm == "another grid" and name == "sccsf" else 5
        path = tmp_path / f"{name}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(np.zeros((side, 5, 5), np.float32), affine), path)
        if harm == "torn":
            path.write_bytes(path.read_bytes()[:60])
    said = {
        "torn": "cannot be read as a NIfTI image",
        "another grid": "sccsf",
        "not cubes": "upright cubes",
        "no head": r"not 0\.0",
    }
    with pytest.raises(ValueError, match=said[harm]):
        anatomy_for(tmp_path, np.random.default_rng(1))


def test_a_cropped_plane_keeps_its_pixels_in_place() -> None:
    plane = axial_plane(12.0, 64, 2.0, 5.0)
    part = plane.cropped(8, 40, 4, 64)
    assert (part.rows, part.columns) == (32, 60)
    np.testing.assert_allclose(part.origin_mm, plane.origin_mm + np.array([8, 16, 0]))


def test_coarse_pixels_cover_the_same_rectangle() -> None:
    plane = axial_plane(0.0, 64, 2.0, 5.0)
    coarse = plane.coarser()
    assert (coarse.rows, coarse.spacing_mm) == (16, 8.0)
    np.testing.assert_allclose(coarse.origin_mm - plane.origin_mm, [3, 3, 0])
    half = plane.coarser(2)
    assert (half.columns, half.spacing_mm) == (32, 4.0)
    np.testing.assert_allclose(half.origin_mm - plane.origin_mm, [1, 1, 0])


def test_a_pose_keeps_anterior_in_front_and_superior_above() -> None:
    pose = draw_pose(np.random.default_rng(6), pitch_deg=5.0)
    plane = axial_plane(0.0, 64, 3.0, 5.0)
    low, high = pose.points(plane, np.array([-20.0, 20.0])).transpose(1, 0, 2, 3)
    assert (high[2] - low[2]).min() > 30  # superior
    assert low[1, 0].mean() - low[1, -1].mean() > 150  # the first row is the front


def test_a_head_point_finds_its_way_back_to_the_scanner() -> None:
    pose = draw_pose(np.random.default_rng(6), pitch_deg=9.0)
    scanner = np.array([11.0, -7.0, 30.0])
    np.testing.assert_allclose(pose.to_scanner(pose.matrix @ scanner + pose.offset_mm), scanner)


def test_the_normal_of_a_plane_points_up() -> None:
    plane = axial_plane(0.0, 32, 1.0, 5.0)
    assert plane.normal.tolist() == [0.0, 0.0, 1.0]
