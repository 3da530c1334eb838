"""A cut head: tissue in HU, blood where it belongs, nothing in a negative."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainer.phantom.pose import axial_plane
from trainer.phantom.procedural import procedural_anatomy
from trainer.phantom.scene import Cut, Head, cut, draw_head, sub_slices
from trainer.phantom.shapes import Push
from triage.domain.finding import SUBTYPES, Subtype


def _head(seed: int, subtypes: tuple[Subtype, ...] = ()) -> Head:
    rng = np.random.default_rng(seed)
    return draw_head(rng, procedural_anatomy(rng), bleeding=bool(subtypes), subtypes=subtypes or None, pitch_deg=3.0)


def _stack(head: Head) -> list[Cut]:
    return [cut(head, axial_plane(z, 96, 2.5, 5.0)) for z in np.arange(-65.0, 85.0, 5.0)]


@pytest.fixture(scope="module")
def healthy() -> list[Cut]:
    return _stack(_head(21))


def test_a_healthy_head_has_no_blood(healthy: list[Cut]) -> None:
    assert not any(part.blood.any() or part.labels().any() for part in healthy)


def test_tissues_have_their_hu(healthy: list[Cut]) -> None:
    middle = next(part for part in healthy if (part.inner > 0).sum() * 2.5**2 > 12_000)
    deep = middle.hu[middle.inner > 12]
    assert 20 < np.median(deep) < 42
    assert np.percentile(np.concatenate([part.hu[part.inner > 12] for part in healthy]), 1) < 24  # fluid
    assert np.median(middle.hu[middle.bone > 0.95]) > 350
    assert middle.hu[0, 0] == -1000


def test_skull_surrounds_the_brain_above_the_base(healthy: list[Cut]) -> None:
    for part in healthy[15:24]:
        around = (part.inner < -1.5) & (part.inner > -3)
        assert part.bone[around].mean() > 0.9


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_each_subtype_can_be_asked_for_and_stays_inside_the_skull(subtype: Subtype) -> None:
    stack = _stack(_head(31 + SUBTYPES.index(subtype), (subtype,)))
    found = {int(label) for part in stack for label in np.unique(part.labels()) if label}
    assert found == {SUBTYPES.index(subtype) + 1}
    assert all((part.inner[part.labels() > 0] > -2.5).all() for part in stack)


def test_an_intraparenchymal_clot_is_denser_than_brain() -> None:
    stack = _stack(_head(40, (Subtype.IPH,)))
    blood = np.concatenate([part.hu[part.blood[1] > 0.99] for part in stack])
    brain = np.concatenate([part.hu[(part.inner > 12) & (part.blood.max(axis=0) == 0)] for part in stack])
    assert 36 <= np.median(blood) <= 92
    assert np.median(blood) > np.median(brain) + 4


def test_blood_in_the_ventricles_lies_at_the_back() -> None:
    head = _head(45, (Subtype.IVH,))
    bleed = head.bleeds[0]
    settled, everywhere = (replace(head, bleeds=(replace(bleed, shape=bleed.shape.scaled(s)),)) for s in (1.0, 4.5))
    rows = [np.concatenate([np.nonzero(part.blood[2] > 0.5)[0] for part in _stack(h)]) for h in (settled, everywhere)]
    assert rows[0].size < rows[1].size
    assert rows[0].mean() > rows[1].mean()


def test_labels_need_more_than_half_of_the_voxel() -> None:
    blood = np.zeros((5, 1, 3), np.float32)
    blood[4, 0] = (0.5, 0.51, 0.3)
    blood[1, 0, 2] = 0.6
    part = Cut(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32), blood)
    assert part.labels().tolist() == [[0, 5, 2]]


def test_thick_slices_average_more_planes_and_most_of_all_at_the_vertex() -> None:
    assert [sub_slices(thickness) for thickness in (0.6, 2.0, 5.0, 7.0, 10.0)] == [1, 2, 3, 5, 5]
    at_vertex = [sub_slices(thickness, slope=1.0) for thickness in (0.6, 2.0, 5.0, 7.0, 10.0)]
    assert at_vertex == [1, 2, 4, 6, 8]
    assert sub_slices(10.0, slope=9.0) == 11


def test_a_spiral_slice_reaches_into_its_neighbours() -> None:
    head, plane = _head(21), axial_plane(20.0, 96, 2.5, 8.0)
    single, spiral = cut(head, plane), cut(head, plane, profile=0.5)
    inside = single.inner > 5
    assert not np.array_equal(single.hu, spiral.hu)
    assert np.abs(single.hu - spiral.hu)[inside].mean() < 3


def test_a_plane_beside_the_head_is_air() -> None:
    empty = cut(_head(21), axial_plane(400.0, 64, 4.0, 5.0))
    assert (empty.hu == -1000).all()


def test_mass_effect_fades_with_distance() -> None:
    push = Push(centre=(0.0, 0.0, 0.0), shift_mm=6.0, reach_mm=20.0, direction=(1.0, 0.0, 0.0))
    points = np.zeros((3, 1, 1, 2), np.float32)
    points[0, 0, 0] = (0.0, 80.0)
    back = push.undo(points)
    assert back[0, 0, 0, 0] == pytest.approx(-6.0, abs=0.1)
    assert abs(back[0, 0, 0, 1]) < 0.01


def test_the_same_seed_makes_the_same_head_with_or_without_blood() -> None:
    with_blood, without = _head(50, (Subtype.SDH,)), _head(50)
    assert with_blood.tissue == without.tissue
    assert with_blood.mimics == without.mimics
    np.testing.assert_array_equal(with_blood.pose.matrix, without.pose.matrix)
