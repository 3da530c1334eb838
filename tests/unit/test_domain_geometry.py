"""Slices of real scanners as geometry: order, extents, gaps, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.geometry import SliceStack, stack_frames
from triage.domain.study import FrameGeometry

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
GE_HEAD = [4.22 * n for n in range(14)] + [4.22 * 13 + 1.14 + 7.38 * n for n in range(14)]
"""Bed positions of a real tilted head: steps of 4.22 mm, one of 1.14 mm, steps of 7.38 mm."""


def frames(
    heights: Sequence[float],
    thickness: Sequence[float | None] | float | None = 5.0,
    tilt_degrees: float = 0.0,
) -> list[FrameGeometry]:
    """Frames along the bed: with a tilt the slices are sheared, heights stay bed positions."""
    tilt = math.radians(tilt_degrees)
    orientation = (1.0, 0.0, 0.0, 0.0, math.cos(tilt), -math.sin(tilt))
    each = [thickness] * len(heights) if thickness is None or isinstance(thickness, float) else thickness
    return [FrameGeometry((-120.0, -110.0, z), orientation, t) for z, t in zip(heights, each, strict=True)]


def stack(heights: Sequence[float], thickness: Sequence[float | None] | float | None = 5.0) -> SliceStack:
    return stack_frames(frames(heights, thickness))


def refusal(given: list[FrameGeometry]) -> ReasonCode:
    with pytest.raises(UnusableSeries) as caught:
        stack_frames(given)
    return caught.value.reason


def test_order_is_along_the_normal() -> None:
    found = stack([10.0, 0.0, 20.0, 5.0])
    assert found.order == (1, 3, 0, 2)
    np.testing.assert_allclose(found.distances_mm, [0, 5, 10, 20])
    np.testing.assert_allclose(found.normal, [0, 0, 1])


def test_thickness_follows_its_slice_into_the_order() -> None:
    np.testing.assert_allclose(stack([8.0, 0.0, 4.0], [3.0, 1.0, 2.0]).thickness_mm, [1, 2, 3])


def test_a_missing_thickness_is_the_distance_to_the_nearest_neighbour() -> None:
    np.testing.assert_allclose(stack([0.0, 4.0, 10.0], None).thickness_mm, [4, 4, 6])
    np.testing.assert_allclose(stack([7.0], None).thickness_mm, [1])
    np.testing.assert_allclose(stack([0.0, 4.0], [0.0, None]).thickness_mm, [4, 4])


def test_feet_first_or_flipped_images_count_along_their_own_normal() -> None:
    flipped = [FrameGeometry((0.0, 0.0, z), (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 5.0) for z in (0.0, 5.0, 10.0)]
    found = stack_frames(flipped)
    np.testing.assert_allclose(found.normal, [0, 0, -1])
    assert found.order == (2, 1, 0)


def test_a_tilted_gantry_scales_bed_steps_to_the_normal() -> None:
    found = stack_frames(frames([0.0, 10.0, 20.0], tilt_degrees=30.0))
    np.testing.assert_allclose(np.diff(found.distances_mm), 10 * math.cos(math.radians(30)))


def test_the_real_tilted_head_is_gap_free_and_its_overlap_is_counted_once() -> None:
    found = stack_frames(frames(GE_HEAD, [4.0] * 14 + [7.0] * 14, tilt_degrees=18.5))
    assert found.largest_gap() is None
    extents = found.extents_mm()
    np.testing.assert_allclose(extents[[0, 5, 20, 27]], [4, 4, 7, 7], atol=0.01)
    assert extents[13] == pytest.approx(2 + 1.14 * math.cos(math.radians(18.5)) / 2)
    assert extents.sum() <= found.coverage_mm
    assert found.coverage_mm == pytest.approx(149.6, abs=0.2)


@pytest.mark.parametrize(
    ("heights", "thickness", "expected"),
    [
        ([0.0, 5.0, 10.0], 5.0, [5, 5, 5]),
        ([0.0, 10.0, 20.0], 5.0, [5, 5, 5]),  # tissue between slices that do not touch is nobody's
        ([0.0, 2.5, 5.0], 5.0, [3.75, 2.5, 3.75]),
        ([0.0], 5.0, [5]),
        ([0.0, 1.0, 8.0], [2.0, 8.0, 6.0], [1.5, 4.0, 6.0]),
    ],
)
def test_extents(heights: list[float], thickness: list[float] | float, expected: list[float]) -> None:
    np.testing.assert_allclose(stack(heights, thickness).extents_mm(), expected)


@pytest.mark.parametrize(
    ("heights", "thickness", "gap"),
    [
        ([0, 5, 10, 15], 5.0, None),
        ([0, 5, 15, 20], 5.0, (1, 10.0)),
        ([0, 5, 10, 25, 35, 40], 5.0, (2, 15.0)),
        ([0, 10, 20, 30], 5.0, None),  # sparse but even
        ([0, 10, 20, 40, 50], 5.0, (2, 20.0)),
        ([0, 4, 8, 15, 22], 4.0, (2, 7.0)),  # a change of step that no thickness explains
        ([0, 5], 5.0, None),
        ([0, 25], 5.0, (0, 25.0)),
        ([0], 5.0, None),
        ([0, 5, 10, 20], 5.0, (2, 10.0)),
        ([0, 10, 15, 20], 5.0, (0, 10.0)),
        ([0.0, 0.625, 1.25, 2.5, 3.125], 0.625, (2, 1.25)),
        ([0.0, 0.7, 1.4, 2.8, 3.5], 5.0, None),  # overlapping slices lose nothing with one left out
    ],
)
def test_gaps(heights: list[float], thickness: float, gap: tuple[int, float] | None) -> None:
    found = stack([float(h) for h in heights], thickness).largest_gap()
    assert found == gap if gap is None else found == (gap[0], pytest.approx(gap[1]))


def test_two_neighbouring_missing_places_do_not_hide_each_other() -> None:
    # 0 5 . 15 . 25 30: both steps are 10 mm, each the other's neighbour
    found = stack([0.0, 5.0, 15.0, 25.0, 30.0]).largest_gap()
    assert found is not None


def test_duplicates_and_degenerate_geometry_are_refused() -> None:
    assert refusal([]) is ReasonCode.NO_GEOMETRY
    assert refusal(frames([0.0, 5.0, 5.0])) is ReasonCode.DUPLICATE_POSITIONS
    assert refusal(frames([0.0, 5.0, 5.04])) is ReasonCode.DUPLICATE_POSITIONS
    assert refusal([FrameGeometry((0.0, 0.0, 0.0), (0.0,) * 6, 5.0)]) is ReasonCode.NO_GEOMETRY
    assert refusal([FrameGeometry((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 1.0, 0.0, 0.0), 5.0)]) is ReasonCode.NO_GEOMETRY
    assert refusal([FrameGeometry((0.0, 0.0, math.nan), AXIAL, 5.0)]) is ReasonCode.NO_GEOMETRY
    assert refusal([FrameGeometry((0.0, 0.0, 0.0), (2.0, 0, 0, 0, 2.0, 0), 5.0)]) is ReasonCode.NO_GEOMETRY


def test_one_orientation() -> None:
    assert refusal([*frames([0.0, 5.0]), *frames([10.0], tilt_degrees=3)]) is ReasonCode.MIXED_ORIENTATION
    assert stack_frames([*frames([0.0, 5.0]), *frames([10.0], tilt_degrees=0.2)]).order == (0, 1, 2)


def test_thin_slices_closer_than_a_tenth_are_no_duplicates() -> None:
    assert len(stack([0.1 * n for n in range(20)], 0.1).order) == 20


steps = st.lists(st.floats(0.3, 12.0), min_size=1, max_size=40)


@given(steps, st.floats(0.3, 15.0), st.floats(-30.0, 30.0), st.randoms())
def test_any_order_of_arrival_gives_the_same_stack(
    given_steps: list[float], thickness: float, tilt: float, random: object
) -> None:
    made = frames([float(h) for h in np.cumsum([0.0, *given_steps])], thickness, tilt)
    expected = stack_frames(made)
    shuffled = made.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = stack_frames(shuffled)
    assert [shuffled[i] for i in found.order] == [made[i] for i in expected.order]
    np.testing.assert_allclose(found.extents_mm(), expected.extents_mm())
    assert (found.largest_gap() is None) == (expected.largest_gap() is None)


@given(steps, st.lists(st.floats(0.3, 15.0), min_size=41, max_size=41))
def test_extents_are_positive_never_overlap_and_never_exceed_thickness_or_coverage(
    given_steps: list[float], thickness: list[float]
) -> None:
    heights = [float(h) for h in np.cumsum([0.0, *given_steps])]
    found = stack(heights, thickness[: len(heights)])
    extents = found.extents_mm()
    assert (extents > 0).all()
    assert (extents <= found.thickness_mm + 1e-9).all()
    assert extents.sum() <= found.distances_mm[-1] - found.distances_mm[0] + (extents[0] + extents[-1]) + 1e-9


@given(st.integers(4, 40), st.floats(0.5, 10.0), st.data())
def test_one_slice_missing_inside_an_even_contiguous_series_is_found(
    count: int, step: float, data: st.DataObject
) -> None:
    missing = data.draw(st.integers(1, count - 2))
    heights = [step * n for n in range(count) if n != missing]
    found = stack(heights, step).largest_gap()
    assert found == (missing - 1, pytest.approx(2 * step))
