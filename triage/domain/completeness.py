"""When is a series complete? A pure rule over what the database knows, so that a restart changes nothing.

DICOM has no "series done" message. A series is complete when every association that carried it was released,
its positions are gap-free, and ``settle_seconds`` passed; else after ``quiet_seconds`` without an instance;
and never later than ``max_wait_seconds`` after its first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from triage.domain.errors import UnusableSeries
from triage.domain.geometry import stack_frames
from triage.domain.study import FrameGeometry


@dataclass(frozen=True, slots=True)
class Timings:
    """The three waiting times, in seconds."""

    settle_seconds: float = 1.5
    quiet_seconds: float = 10.0
    max_wait_seconds: float = 120.0

    def __post_init__(self) -> None:
        if not 0 < self.settle_seconds <= self.quiet_seconds <= self.max_wait_seconds:
            raise ValueError("waiting times must satisfy 0 < settle_seconds <= quiet_seconds <= max_wait_seconds")


@dataclass(frozen=True, slots=True)
class Arrival:
    """When the current revision of a series came in.

    ``released_at`` is the last release among the associations that carried the study, and None while one of
    them is open or when one of them was aborted.
    """

    first_received_at: datetime
    last_received_at: datetime
    released_at: datetime | None


def is_gap_free(frames: Sequence[FrameGeometry]) -> bool:
    """Whether the positions form one stack without gap or duplicate, of two slices or more."""
    try:
        stack = stack_frames(frames)
    except UnusableSeries:
        return False
    return len(stack.order) > 1 and stack.largest_gap() is None


def complete_at(arrival: Arrival, gap_free: bool, timings: Timings) -> datetime:
    """The instant at which the series counts as complete if nothing more arrives."""
    latest = arrival.first_received_at + timedelta(seconds=timings.max_wait_seconds)
    quiet = arrival.last_received_at + timedelta(seconds=timings.quiet_seconds)
    if arrival.released_at is None or not gap_free:
        return min(quiet, latest)
    settled = max(arrival.released_at, arrival.last_received_at) + timedelta(seconds=timings.settle_seconds)
    # A release that comes after the quiet time does not make the series wait again.
    return min(settled, quiet, latest)
