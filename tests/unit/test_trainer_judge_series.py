from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.drawn_heads import PIXEL_MM, head, volume
from tests.familiar_models import knowing_bundle
from tests.onnx_models import tiny_bundle, tiny_manifest
from trainer.judge.intracranial import brain_masks, brightened_hu, heights, is_mid_brain
from trainer.judge.pasted import case_of, pasted_section, planted, slices_for_pasting, untouched
from trainer.judge.series import answer_to, series_section
from trainer.real_series import copies_of, part, read_series, resampled
from triage.domain.finding import Subtype
from triage.domain.geometry import SliceStack
from triage.domain.volume import Volume
from triage.inference.predict import Predictor


@pytest.fixture(scope="module")
def calm() -> Volume:
    """A drawn head of 20 slices whose brain is nowhere as dense as blood."""
    return volume(np.maximum(head(slices=20, seed=2), -1000.0))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """Outlines what lies between 50 and 90 HU, in pieces of 0.5 ml and more: noise is smaller."""
    folder = tmp_path_factory.mktemp("bundle")
    said = tiny_manifest(size=128, pixel_mm=2.0)
    tiny_bundle(folder, replace(said, thresholds=replace(said.thresholds, minimum_component_ml=0.5)))
    return Predictor.load(folder, "cpu", threads=1)


def test_mid_brain_lies_between_base_and_vertex(calm: Volume) -> None:
    where = heights(calm, brain_masks(calm))
    assert np.all(np.diff(where) > 0)
    assert where[0] == pytest.approx(0.025, abs=0.01)
    middle = np.flatnonzero(is_mid_brain(calm, brain_masks(calm)))
    assert middle.tolist() == list(range(middle[0], middle[-1] + 1))
    assert (middle[0], middle[-1]) == (6, 16)


def test_a_stack_from_the_vertex_down_is_read_the_other_way(calm: Volume) -> None:
    down = replace(calm, stack=replace(calm.stack, normal=-calm.stack.normal))
    upward, downward = (heights(one, brain_masks(one)) for one in (calm, down))
    np.testing.assert_allclose(downward, 1.0 - upward, atol=1e-9)


def test_no_brain_no_heights() -> None:
    empty = volume(np.full((6, 160, 160), -1000.0, np.float32))
    with pytest.raises(ValueError, match="no slice"):
        is_mid_brain(empty, brain_masks(empty))


def test_no_brain_is_not_brightened(calm: Volume) -> None:
    masks = brain_masks(calm)
    masks[0] = False
    found = brightened_hu(calm, masks)
    assert found[0] == 0.0
    assert found.min() == 0.0, "a slice of much fluid is not darkened"


def test_a_part_keeps_its_places(calm: Volume) -> None:
    some = part(calm, np.arange(4, 7))
    np.testing.assert_array_equal(some.hu, calm.hu[4:7])
    np.testing.assert_array_equal(some.stack.distances_mm, calm.stack.distances_mm[4:7])
    assert some.sources == calm.sources[4:7]


def test_copies_differ_as_their_names_say(calm: Volume) -> None:
    copies = copies_of(calm)
    assert list(copies) == [
        "as it is",
        "10 HU more",
        "10 HU less",
        "rotated 10 degrees",
        "resampled to 5 mm",
        "noise of 5 HU added",
    ]
    brain = brain_masks(calm)
    assert (copies["10 HU more"].hu - calm.hu)[brain].mean() == pytest.approx(10.0, abs=1e-3)
    assert (copies["10 HU less"].hu - calm.hu)[brain].mean() == pytest.approx(-10.0, abs=1e-3)
    assert (copies["noise of 5 HU added"].hu - calm.hu)[brain].std() == pytest.approx(5.0, abs=0.1)
    assert copies["rotated 10 degrees"].hu.shape == calm.hu.shape
    assert all(float(one.hu.min()) >= -1024.0 for one in copies.values())


def test_a_tilted_stack_is_resampled_where_it_lies() -> None:
    """A rod along the table stays a rod, although every slice shows it in another row."""
    tilt = np.deg2rad(20.0)
    step_mm, count, spacing_mm = 6.0, 10, 1.0
    orientation = np.array([1.0, 0.0, 0.0, 0.0, np.cos(tilt), -np.sin(tilt)])
    positions = np.array([[0.0, 0.0, index * step_mm] for index in range(count)])
    normal = np.cross(orientation[:3], orientation[3:])
    hu = np.full((count, 96, 96), -1000.0, np.float32)
    down = positions @ orientation[3:]
    rows = 60 - down / spacing_mm + down[0] / spacing_mm - 12
    for index, row in enumerate(rows):
        hu[index, round(row) - 3 : round(row) + 4, 40:50] = 500.0
    source = Volume(
        hu=hu,
        stack=SliceStack(normal, tuple(range(count)), positions @ normal, np.full(count, 5.0)),
        positions_mm=positions,
        orientation=orientation,
        pixel_spacing_mm=(spacing_mm, spacing_mm),
        frame_of_reference_uid="2.25.1",
        sources=volume(np.zeros((count, 160, 160), np.float32)).sources,
    )
    made = resampled(source, 4.0)
    assert np.allclose(np.diff(made.stack.distances_mm), 4.0)
    seen = [np.flatnonzero(image[:, 45] > 0).mean() for image in made.hu]
    along = made.positions_mm @ orientation[3:]
    expected = 60 - (along - down[0]) / spacing_mm - 12
    np.testing.assert_allclose(seen, expected, atol=0.8)


def test_what_is_said_of_a_calm_head(predictor: Predictor, calm: Volume) -> None:
    answer = answer_to(predictor, calm, "as it is")
    assert (answer.status, answer.false_slices, answer.refused) == ("not_suspected", (), "")
    assert answer.mid_brain == 11


def test_false_blood_is_counted_where_it_lies(predictor: Predictor, calm: Volume) -> None:
    hu = calm.hu.copy()
    hu[10, 60:80, 60:80] = 70.0
    hu[1, 70:85, 70:85] = 70.0
    answer = answer_to(predictor, replace(calm, hu=hu), "bright")
    assert (answer.false_slices, answer.false_mid_brain) == ((1, 10), (10,))
    assert answer.marked_ml == pytest.approx((400 + 225) * PIXEL_MM**2 * 5 / 1000, rel=0.1)


def test_a_series_that_is_refused_is_not_calm(predictor: Predictor, calm: Volume) -> None:
    section = series_section(predictor, replace(calm, hu=calm.hu + np.float32(60.0)), "bright")
    score = section.rows[0]
    assert score.met is False
    assert section.cases[0]["status"] == "not_analysed"
    assert section.cases[0]["score"] is None
    assert section.cases[0]["refused"].startswith("out_of_distribution")
    names = [row.figure.name for row in section.rows]
    assert [name for name in names if name.startswith("as it is")] == ["as it is: score"], "nothing else was looked at"


def test_slices_take_turns_and_come_with_their_neighbours(calm: Volume) -> None:
    masks = brain_masks(calm)
    usable = slices_for_pasting(calm, masks)
    assert len(usable) == 16
    made = list(planted(calm, masks, Subtype.SDH, 17))
    assert [one.index for one in made] == [*usable, usable[0]]
    top = made[15]
    assert top.index == 19
    assert (len(top.volume.hu), top.at) == (2, 1)
    for one in made:
        changed = np.abs(one.volume.hu[one.at] - calm.hu[one.index]) > 10
        assert (changed & one.truth).sum() >= 0.5 * one.truth.sum() > 0


def test_blood_is_brighter_where_bone_brightens_the_brain(calm: Volume) -> None:
    masks = brain_masks(calm)
    hu = calm.hu.copy()
    hu[19][masks[19]] += 18.0
    bright = replace(calm, hu=hu)
    more = brightened_hu(bright, masks) - brightened_hu(calm, masks)
    assert more[19] == pytest.approx(18.0, abs=0.1)
    assert not more[:19].any()
    added = {}
    both = (planted(one, masks, Subtype.IPH, 16) for one in (calm, bright))
    for plain, lifted in zip(*both, strict=True):
        assert lifted.lesion == plain.lesion, "what is told of a lesion is its own density"
        core = cv2.erode(plain.truth.astype(np.uint8), np.ones((3, 3))) > 0
        added[plain.index] = float(np.mean((lifted.volume.hu[lifted.at] - plain.volume.hu[plain.at])[core]))
    assert added.pop(19) == pytest.approx(18.0, abs=0.5)
    assert list(added.values()) == pytest.approx([0.0] * 15, abs=0.5)


def test_untouched_slices_are_as_they_are(predictor: Predictor, calm: Volume) -> None:
    for one in untouched(calm, brain_masks(calm)):
        np.testing.assert_array_equal(one.volume.hu[one.at], calm.hu[one.index])
        assert not one.truth.any()
    assert case_of(predictor, one).recall is None


def test_a_net_that_sees_blood_finds_what_was_pasted(predictor: Predictor, calm: Volume) -> None:
    section = pasted_section(predictor, calm, "drawn", count=8)
    found = {row.figure.name: row for row in section.rows}
    assert (
        found["IPH, published volumes: mask AUC, 8 pasted against 16 untouched"].figure.value > 0.85
    )  # it is blind below 50 HU
    assert found["IPH, published volumes: recall, lesions found"].figure.value >= 0.75
    assert found["SDH, sizes of the first experiment: recall, lesions found"].wanted == "at least 0.7"
    assert found["SDH, sizes of the first experiment: recall, mean share of pixels"].wanted == ""
    assert len(section.cases) == 16 + 2 * 3 * 8
    assert len(found) == 2 * 3 * 4
    assert {case["subtype"] for case in section.cases} == {"none", "EDH", "IPH", "SDH"}


def test_a_folder_of_anything_but_instances_is_refused(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("words")
    (tmp_path / "another").mkdir()
    with pytest.raises(ValueError, match="holds no DICOM instance"):
        read_series(tmp_path)


def test_a_series_that_is_too_unfamiliar_is_not_calm_either(calm: Volume, tmp_path: Path) -> None:
    knowing_bundle(tmp_path, tiny_manifest(size=128, pixel_mm=2.0), familiar_within=0.01)
    answer = answer_to(Predictor.load(tmp_path, "cpu", threads=1), calm, "as it is")
    assert (answer.status, answer.score) == ("not_analysed", None)
    assert answer.refused.startswith("out_of_distribution: Looks unlike all heads")


def test_lesions_are_pasted_however_unfamiliar_three_slices_are(calm: Volume, tmp_path: Path) -> None:
    knowing_bundle(tmp_path, tiny_manifest(size=128, pixel_mm=2.0), familiar_within=0.01)
    one = next(planted(calm, brain_masks(calm), Subtype.IPH, 1))
    assert case_of(Predictor.load(tmp_path, "cpu", threads=1), one).recall is not None
