"""The slices shown first: the key slice, every subtype, the most blood, and not five times the same clot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from triage.domain.finding import SUBTYPES, DecisionRule, KeySlice, SubtypeFinding, TriageResult
from triage.domain.geometry import stack_frames
from triage.domain.key_slices import key_slices
from triage.domain.study import FrameGeometry
from triage.domain.volume import SliceSource, Volume

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
EDH, IPH, SDH = 1, 2, 5


def volume(count: int, step_mm: float = 5.0) -> Volume:
    heights = np.arange(count) * step_mm
    return Volume(
        hu=np.zeros((count, 20, 20), dtype=np.float32),
        stack=stack_frames([FrameGeometry((0.0, 0.0, float(z)), AXIAL, step_mm) for z in heights]),
        positions_mm=np.stack([np.zeros(count), np.zeros(count), heights], axis=1),
        orientation=np.array(AXIAL),
        pixel_spacing_mm=(1.0, 1.0),
        frame_of_reference_uid="1.2.3",
        sources=tuple(SliceSource(f"1.2.{n}", 1) for n in range(count)),
    )


def labels(count: int, blood: dict[int, dict[int, int]]) -> NDArray[np.uint8]:
    """``blood``: slice -> class -> pixels."""
    made = np.zeros((count, 20, 20), dtype=np.uint8)
    for index, classes in blood.items():
        for row, (number, pixels) in enumerate(classes.items()):
            made[index].reshape(-1)[row * 100 : row * 100 + pixels] = number
    return made


def result(key: int | None) -> TriageResult:
    return TriageResult(
        score=0.9 if key is not None else 0.1,
        rule=DecisionRule(suspected_at=0.5, emergent_at=0.8),
        subtypes={subtype: SubtypeFinding(0.1, 0.0) for subtype in SUBTYPES},
        total_volume_ml=0.0,
        key_slice=KeySlice(f"1.2.{key}", 1, key) if key is not None else None,
        provisional=False,
    )


def test_the_key_slice_leads_and_the_others_follow_by_blood() -> None:
    blood = labels(30, {4: {IPH: 10}, 10: {IPH: 60}, 15: {IPH: 40}, 20: {IPH: 50}})
    assert key_slices(blood, volume(30), result(10)) == (10, 20, 15, 4)


def test_it_leads_even_where_another_has_more_blood() -> None:
    blood = labels(30, {4: {IPH: 90}, 10: {IPH: 20}})
    assert key_slices(blood, volume(30), result(10)) == (10, 4)


def test_neighbours_of_a_chosen_slice_are_left_out() -> None:
    blood = labels(30, {index: {IPH: 60 - abs(index - 10)} for index in range(6, 15)})
    assert key_slices(blood, volume(30), result(10)) == (10, 8, 12, 6, 14)


def test_a_subtype_not_yet_shown_comes_first_even_beside_a_chosen_slice() -> None:
    blood = labels(30, {10: {IPH: 60}, 11: {IPH: 50, SDH: 2}, 15: {IPH: 40}, 25: {EDH: 3}})
    assert key_slices(blood, volume(30), result(10)) == (10, 11, 25, 15)


def test_there_are_no_more_than_asked_for() -> None:
    blood = labels(30, {index: {IPH: 50} for index in range(0, 30, 2)})
    assert len(key_slices(blood, volume(30), result(10))) == 5
    assert key_slices(blood, volume(30), result(10), count=2) == (10, 0)
    assert key_slices(blood, volume(30), result(10), count=0) == ()


def test_thin_slices_lie_millimetres_apart() -> None:
    blood = labels(100, {index: {IPH: 60 - abs(index - 50)} for index in range(30, 71)})
    chosen = key_slices(blood, volume(100, step_mm=0.6), result(50))
    assert chosen[0] == 50
    assert len(chosen) == 5
    apart = np.abs(np.subtract.outer(chosen, chosen))[~np.eye(5, dtype=np.bool_)]
    assert apart.min() * 0.6 >= 5.0 - 1e-9


def test_volume_decides_and_not_area_where_thickness_differs() -> None:
    made = volume(30)
    thick = made.stack.thickness_mm.copy()
    thick[20] = 1.0
    uneven = replace(made, stack=replace(made.stack, thickness_mm=thick))
    blood = labels(30, {10: {IPH: 60}, 15: {IPH: 30}, 20: {IPH: 50}})
    assert key_slices(blood, uneven, result(10)) == (10, 15, 20)


def test_suspicion_without_a_mask_has_its_key_slice_alone() -> None:
    assert key_slices(labels(30, {}), volume(30), result(7)) == (7,)


def test_nothing_suspected_has_none() -> None:
    assert key_slices(labels(30, {}), volume(30), result(None)) == ()


def test_equal_slices_are_taken_in_scan_order() -> None:
    blood = labels(30, {index: {IPH: 50} for index in (3, 12, 20, 28)})
    assert key_slices(blood, volume(30), result(12)) == (12, 3, 20, 28)


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="do not lie on the volume"):
        key_slices(labels(29, {}), volume(30), result(7))
    with pytest.raises(ValueError, match="the key slice 30 is not one of the 30 slices"):
        key_slices(labels(30, {}), volume(30), result(30))
