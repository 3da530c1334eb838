"""One row of the worklist, and the order in which rows are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from triage.domain.finding import KeySlice, ReasonCode, Subtype, SubtypeFinding, Urgency, WorklistStatus

PENDING_RISES_AFTER = timedelta(minutes=10)
"""A pending study that waits longer than this stands before the urgent ones: something may be stuck."""


@dataclass(frozen=True, slots=True)
class ObjectState:
    """One result object at one destination."""

    kind: str
    sop_instance_uid: str
    destination: str
    state: str


@dataclass(frozen=True, slots=True)
class WorklistRow:
    """What the list says about one study. ``series_instance_uid`` is the series that the row speaks of."""

    study_instance_uid: str
    series_instance_uid: str
    accession_number: str
    status: WorklistStatus
    provisional: bool
    reason: ReasonCode | None
    urgency: Urgency
    score: float | None
    subtypes: Mapping[Subtype, SubtypeFinding]
    total_volume_ml: float | None
    key_slice: KeySlice | None
    received_at: datetime
    flagged_at: datetime | None
    bundle: str | None
    objects: tuple[ObjectState, ...] = field(default=())


_RANK_OF_STATUS = {
    WorklistStatus.SUSPECTED: 0,
    WorklistStatus.PENDING: 3,
    WorklistStatus.NOT_ANALYSED: 4,
    WorklistStatus.NOT_SUSPECTED: 5,
}


def order_key(row: WorklistRow, now: datetime) -> tuple[int, datetime]:
    """Sort key of one row: rank, then the longest waiting first.

    Ranks: emergent 0, overdue pending 1, urgent 2, pending 3, not analysed 4, not suspected 5.
    """
    rank = _RANK_OF_STATUS[row.status]
    if row.status is WorklistStatus.SUSPECTED and row.urgency is not Urgency.EMERGENT:
        rank = 2
    if row.status is WorklistStatus.PENDING and now - row.received_at > PENDING_RISES_AFTER:
        rank = 1
    return (rank, row.received_at)


def in_reading_order(rows: Iterable[WorklistRow], now: datetime) -> list[WorklistRow]:
    """The rows as a radiologist should open them."""
    return sorted(rows, key=lambda row: order_key(row, now))
