"""When a series is complete: release, geometry and time, as a pure rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.completeness import Arrival, Timings, complete_at, is_gap_free
from triage.domain.study import FrameGeometry

T0 = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
TIMINGS = Timings(settle_seconds=1.5, quiet_seconds=10, max_wait_seconds=120)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def arrival(last: float, released: float | None = None) -> Arrival:
    return Arrival(T0, after(last), None if released is None else after(released))


def frames(*heights: float) -> list[FrameGeometry]:
    return [FrameGeometry((0.0, 0.0, z), AXIAL, 5.0) for z in heights]


@pytest.mark.parametrize(
    ("given", "gap_free", "seconds"),
    [
        (arrival(3.0, released=3.2), True, 4.7),  # settled after release
        (arrival(3.0, released=2.0), True, 4.5),  # another association released before the last instance came
        (arrival(3.0, released=3.2), False, 13.0),  # slices missing: quiet time
        (arrival(3.0), True, 13.0),  # an association is open, or was aborted: quiet time
        (arrival(3.0), False, 13.0),
        (arrival(115.0), False, 120.0),  # never later than the longest wait
        (arrival(119.5, released=119.6), True, 120.0),
        (arrival(0.0, released=0.0), True, 1.5),
        (arrival(3.0, released=12.5), True, 13.0),  # a late release does not start the wait again
    ],
)
def test_complete_at(given: Arrival, gap_free: bool, seconds: float) -> None:
    assert complete_at(given, gap_free, TIMINGS) == after(seconds)


def test_instances_that_drip_in_for_ever_do_not_delay_for_ever() -> None:
    assert complete_at(arrival(500.0), False, TIMINGS) == after(120.0)


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ((0, 5, 10, 15), True),
        ((15, 0, 10, 5), True),
        ((0, 5, 15), False),
        ((0, 5, 5, 10), False),
        ((0,), False),  # one slice says nothing about the next
        ((), False),
    ],
)
def test_gap_free(heights: tuple[float, ...], expected: bool) -> None:
    assert is_gap_free(frames(*map(float, heights))) is expected


def test_mixed_orientations_are_not_gap_free() -> None:
    sagittal = FrameGeometry((0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0, 0.0, -1.0), 5.0)
    assert not is_gap_free([sagittal, *frames(0.0, 5.0, 10.0)])


@pytest.mark.parametrize(("settle", "quiet", "longest"), [(0, 10, 120), (5, 4, 120), (1, 10, 9), (-1, 2, 3)])
def test_waiting_times_must_be_in_order(settle: float, quiet: float, longest: float) -> None:
    with pytest.raises(ValueError, match="waiting times"):
        Timings(settle, quiet, longest)


seconds = st.floats(0, 300)


@given(seconds, st.none() | seconds, st.booleans())
def test_bounds_that_always_hold(last: float, released: float | None, gap_free: bool) -> None:
    given_arrival = arrival(last, released)
    at = complete_at(given_arrival, gap_free, TIMINGS)
    assert at <= after(TIMINGS.max_wait_seconds)
    assert at >= min(after(last + TIMINGS.settle_seconds), after(TIMINGS.max_wait_seconds))
    assert complete_at(given_arrival, True, TIMINGS) <= at


@given(seconds, st.none() | seconds, st.floats(0, 60))
def test_another_instance_never_makes_it_earlier(last: float, released: float | None, more: float) -> None:
    for gap_free in (True, False):
        before = complete_at(arrival(last, released), gap_free, TIMINGS)
        assert complete_at(arrival(last + more, released), gap_free, TIMINGS) >= before
