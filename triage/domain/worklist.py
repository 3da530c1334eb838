"""One row of the worklist, and the order in which rows are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from triage.domain.encoded import ObjectKind
from triage.domain.finding import (
    KeySlice,
    ReasonCode,
    Subtype,
    SubtypeFinding,
    TriageResult,
    Urgency,
    WorklistStatus,
)
from triage.domain.lifecycle import SeriesState
from triage.domain.reading import Verdict

PENDING_RISES_AFTER = timedelta(minutes=10)
"""A pending study that waits longer than this stands before the urgent ones: something may be stuck."""


@dataclass(frozen=True, slots=True)
class ObjectState:
    """One result object at one destination."""

    kind: ObjectKind
    sop_instance_uid: str
    destination: str
    state: str


@dataclass(frozen=True, slots=True)
class WorklistRow:
    """What the list says about one study. ``series_instance_uid`` is the series that the row speaks of.

    ``demonstration``: the bundle that speaks in this row is for demonstration only. Like ``objects``, it is known
    where the list is read.
    """

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
    demonstration: bool = False
    objects: tuple[ObjectState, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class ListedStudy:
    """A row with what else the page shows beside it: where the images came from, and who looked."""

    row: WorklistRow
    updated_at: datetime
    scanner: str | None = None
    slice_thickness_mm: float | None = None
    opened_at: datetime | None = None
    opened_by: str | None = None
    verdict: Verdict | None = None
    escalated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows that stand together in the reading order; within it, the longest waiting stands first.

    ``overdue`` parts pending studies into those that have waited too long and those that have not.
    """

    status: WorklistStatus
    urgency: Urgency = Urgency.NONE
    overdue: bool | None = None

    def holds(self, row: WorklistRow, now: datetime) -> bool:
        """Whether a row stands in this segment at this moment."""
        if (row.status, row.urgency) != (self.status, self.urgency):
            return False
        return self.overdue is None or self.overdue == (now - row.received_at > PENDING_RISES_AFTER)


READING_ORDER: tuple[Segment, ...] = (
    Segment(WorklistStatus.SUSPECTED, Urgency.EMERGENT),
    Segment(WorklistStatus.PENDING, overdue=True),
    Segment(WorklistStatus.SUSPECTED, Urgency.URGENT),
    Segment(WorklistStatus.PENDING, overdue=False),
    Segment(WorklistStatus.NOT_ANALYSED),
    Segment(WorklistStatus.NOT_SUSPECTED),
)
"""The segments, first to be read first: every row stands in exactly one of them."""


def order_key(row: WorklistRow, now: datetime) -> tuple[int, datetime, str]:
    """Sort key of one row: its segment, then the longest waiting first; the UID decides between equals.

    Raises
    ------
    ValueError
        The urgency of the row does not go with its status.
    """
    for rank, segment in enumerate(READING_ORDER):
        if segment.holds(row, now):
            return (rank, row.received_at, row.study_instance_uid)
    raise ValueError(f"a study that is {row.status} cannot have the urgency {row.urgency}")


def in_reading_order(rows: Iterable[WorklistRow], now: datetime) -> list[WorklistRow]:
    """The rows as a radiologist should open them."""
    return sorted(rows, key=lambda row: order_key(row, now))


@dataclass(frozen=True, slots=True)
class SeriesOutcome:
    """Where one series of a study stands, with the latest result that any of its revisions has.

    ``result_is_current`` is false while a later revision has not been analysed yet. ``candidate`` says that
    the headers look like a head CT that could be analysed.
    """

    series_instance_uid: str
    state: SeriesState
    candidate: bool
    reason: ReasonCode | None
    instance_count: int
    result: TriageResult | None = None
    result_is_current: bool = False
    bundle: str | None = None

    @property
    def in_progress(self) -> bool:
        """Whether an outcome is still to come."""
        return self.state in (SeriesState.RECEIVING, SeriesState.STABLE)


def study_row(
    study_instance_uid: str,
    accession_number: str,
    outcomes: Sequence[SeriesOutcome],
    received_at: datetime,
    flagged_at: datetime | None,
    now: datetime,
) -> WorklistRow:
    """Say where a study stands from where its series stand.

    A suspicion is never taken back by waiting: it stays, marked provisional, while a later revision or
    another series is still in work. A negative counts only when it is the current one and no candidate
    series is in work. Everything else is pending, or not analysed with the reason of the series that came
    closest to being analysed.

    ``flagged_at`` is the time of the latest flag so far; a first flag is stamped ``now``.
    """
    if not outcomes:
        raise ValueError("a study has at least one series")
    speaker, status = _speaker(outcomes)
    result = speaker.result if status in (WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED) else None
    suspected = status is WorklistStatus.SUSPECTED
    provisional = result is not None and (result.provisional or not speaker.result_is_current)
    return WorklistRow(
        study_instance_uid=study_instance_uid,
        series_instance_uid=speaker.series_instance_uid,
        accession_number=accession_number,
        status=status,
        provisional=provisional,
        reason=speaker.reason if status is WorklistStatus.NOT_ANALYSED else None,
        urgency=result.urgency if result is not None else Urgency.NONE,
        score=result.score if result is not None else None,
        subtypes=result.subtypes if result is not None else {},
        total_volume_ml=result.total_volume_ml if result is not None else None,
        key_slice=result.key_slice if result is not None else None,
        received_at=received_at,
        flagged_at=(flagged_at or now) if suspected else flagged_at,
        bundle=speaker.bundle if result is not None else None,
    )


def _speaker(outcomes: Sequence[SeriesOutcome]) -> tuple[SeriesOutcome, WorklistStatus]:
    """The series that the row speaks of, and the status it gives the study."""
    suspected = [o for o in outcomes if o.result is not None and o.result.status is WorklistStatus.SUSPECTED]
    if suspected:
        return max(suspected, key=lambda o: o.result.score if o.result else 0.0), WorklistStatus.SUSPECTED
    waiting = [o for o in outcomes if o.in_progress and o.candidate]
    if waiting:
        return max(waiting, key=lambda o: o.instance_count), WorklistStatus.PENDING
    negative = [o for o in outcomes if o.state is SeriesState.ANALYSED and o.result and o.result_is_current]
    if negative:
        return max(negative, key=lambda o: o.instance_count), WorklistStatus.NOT_SUSPECTED
    ended = [o for o in outcomes if o.state is SeriesState.UNUSABLE]
    if ended:
        return max(ended, key=lambda o: (o.candidate, o.instance_count)), WorklistStatus.NOT_ANALYSED
    return max(outcomes, key=lambda o: o.instance_count), WorklistStatus.PENDING
