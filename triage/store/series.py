"""Series: their state, their revision, and the deadline at which the clock looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, or_, select, update

from triage.domain.audit import AuditAction, AuditEvent, Outcome
from triage.domain.completeness import Arrival, Timings, complete_at
from triage.domain.errors import NotFound, StaleState
from triage.domain.finding import ReasonCode
from triage.domain.lifecycle import SERIES_MOVES, SeriesState
from triage.domain.study import InstanceHeader
from triage.store import jobs, moves, result_objects, studies
from triage.store.schema import AssociationEnd, associations, instances, results, series, worklist
from triage.store.schema import studies as study_rows
from triage.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class SeriesRecord:
    """A series as it stands.

    ``received_at`` is its very first instance; ``first_received_at`` and ``last_received_at`` are those of the
    current revision. ``assemble_at`` is set while receiving. ``candidate``: could hold an analysable head CT.
    """

    id: int
    study_instance_uid: str
    series_instance_uid: str
    state: SeriesState
    revision: int
    reason: ReasonCode | None
    detail: str | None
    candidate: bool
    received_at: datetime
    first_received_at: datetime
    last_received_at: datetime
    assemble_at: datetime | None


@dataclass(frozen=True, slots=True)
class Filed:
    """A series with its new instance; ``news``: the revision began with it, or the series became a candidate."""

    series: SeriesRecord
    news: bool


REPORT_AFTER = timedelta(minutes=2)
"""So long a study that could not be analysed waits for a better series before it is reported as undetermined."""


def receive(
    tx: Transaction,
    header: InstanceHeader,
    *,
    candidate: bool,
    set_aside: bool = False,
    now: datetime,
    timings: Timings,
    actor: str = "listener",
) -> Filed:
    """File a new instance under its series; a late one opens the next revision and cancels what is in work.

    ``set_aside``: no analysis of the series looks at it, so it leaves what is not receiving as it stands. The caller
    holds the study's lock.
    """
    mine = and_(
        series.c.study_instance_uid == header.study_instance_uid,
        series.c.series_instance_uid == header.series_instance_uid,
    )
    row = tx.connection.execute(select(series).where(mine)).one_or_none()
    if row is None:
        return Filed(_create(tx, header, candidate, now, timings), news=True)
    record = _record(row)
    if record.state is not SeriesState.RECEIVING:
        if set_aside:
            return Filed(record, news=False)
        return Filed(_reopen(tx, record, candidate, now, timings, actor), news=True)
    last = max(now, record.last_received_at)
    arrival = Arrival(record.first_received_at, last, released_at=None)
    changed = _changed(
        tx,
        record,
        candidate=candidate or record.candidate,
        last_received_at=last,
        assemble_at=complete_at(arrival, gap_free=False, timings=timings),
    )
    return Filed(changed, news=changed.candidate is not record.candidate)


def any_due(tx: Transaction, now: datetime) -> bool:
    """Whether there is anything to claim; asked without locking before each claim."""
    return tx.connection.execute(select(series.c.id).where(*_due(now)).limit(1)).first() is not None


def claim_due(tx: Transaction, now: datetime) -> SeriesRecord | None:
    """Lock the study of one series whose deadline has passed, and return the series as it stands then."""
    waiting = select(series.c.id).join_from(series, study_rows).where(*_due(now)).order_by(series.c.assemble_at)
    while True:
        found = tx.connection.execute(
            waiting.limit(1).with_for_update(of=study_rows, skip_locked=True, key_share=True)
        ).scalar_one_or_none()
        if found is None:
            return None
        # Another clock may have moved it between the search and the lock; what is read now stays true.
        row = tx.connection.execute(select(series).where(series.c.id == found, *_due(now))).one_or_none()
        if row is not None:
            return _record(row)


def next_unreported(tx: Transaction, now: datetime) -> SeriesRecord | None:
    """The series whose refusal has waited longest to be reported; nothing is locked."""
    waiting = select(series).where(series.c.report_at <= now).order_by(series.c.report_at).limit(1)
    row = tx.connection.execute(waiting).one_or_none()
    return None if row is None else _record(row)


def reported(tx: Transaction, record: SeriesRecord, *, again_at: datetime | None = None) -> None:
    """The refusal is reported, or need not be; or is to be looked at again later. The caller holds the study's lock.

    Raises
    ------
    StaleState
        Somebody else reported it, or another revision has begun.
    """
    mine = series.c.id == record.id, series.c.revision == record.revision, series.c.report_at.is_not(None)
    done = update(series).where(*mine).values(report_at=again_at).returning(series.c.id)
    if tx.connection.execute(done).one_or_none() is None:
        raise StaleState(f"Series {record.id} needs no report any more.")


def report_speaker(tx: Transaction, study_instance_uid: str, at: datetime) -> None:
    """Have the refusal that the worklist shows of a study reported, unless it is due already or on record.

    The caller holds the study's lock.
    """
    speaker = select(worklist.c.series_instance_uid).where(worklist.c.study_instance_uid == study_instance_uid)
    on_record = select(results.c.id).where(
        results.c.series_id == series.c.id, results.c.revision == series.c.revision, results.c.reason.is_not(None)
    )
    tx.connection.execute(
        update(series)
        .where(
            series.c.study_instance_uid == study_instance_uid,
            series.c.series_instance_uid == speaker.scalar_subquery(),
            series.c.state == SeriesState.UNUSABLE,
            series.c.report_at.is_(None),
            ~on_record.exists(),
        )
        .values(report_at=at)
    )


def look_again(tx: Transaction, series_id: int, at: datetime) -> None:
    """Have the clock look at a receiving series at this instant."""
    statement = update(series).where(series.c.id == series_id, series.c.state == SeriesState.RECEIVING)
    tx.connection.execute(statement.values(assemble_at=at))


def pull_deadline(tx: Transaction, series_ids: Sequence[int], at: datetime) -> None:
    """Have the clock look at receiving series at this instant, if it would look later. Locks their studies."""
    if not series_ids:
        return
    mine = series.c.id.in_(series_ids)
    studies.lock_known(tx, tx.connection.execute(select(series.c.study_instance_uid).where(mine)).scalars())
    tx.connection.execute(
        update(series)
        .where(mine, series.c.state == SeriesState.RECEIVING, series.c.assemble_at > at)
        .values(assemble_at=at)
    )


def arrival(tx: Transaction, record: SeriesRecord) -> Arrival:
    """When the current revision came in, and whether its senders have hung up cleanly."""
    carried = (
        select(instances.c.association_id)
        .join_from(instances, series)
        .where(
            series.c.study_instance_uid == record.study_instance_uid,
            or_(
                instances.c.received_at >= record.first_received_at,
                and_(instances.c.series_id == record.id, instances.c.revision == record.revision),
            ),
        )
    )
    counted = tx.connection.execute(
        select(
            func.count().label("carriers"),
            func.count().filter(associations.c.ended_how == AssociationEnd.RELEASED).label("released"),
            func.max(associations.c.ended_at).label("ended_at"),
        ).where(associations.c.id.in_(carried))
    ).one()
    clean = counted.carriers > 0 and counted.carriers == counted.released
    return Arrival(record.first_received_at, record.last_received_at, counted.ended_at if clean else None)


def get(tx: Transaction, series_id: int) -> SeriesRecord:
    """The series as it stands.

    Raises
    ------
    NotFound
    """
    row = tx.connection.execute(select(series).where(series.c.id == series_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no series with number {series_id}.")
    return _record(row)


def of_study(tx: Transaction, study_instance_uid: str) -> list[SeriesRecord]:
    """Every series of a study, in the order in which they began to arrive."""
    mine = select(series).where(series.c.study_instance_uid == study_instance_uid).order_by(series.c.id)
    return [_record(row) for row in tx.connection.execute(mine)]


def move(
    tx: Transaction,
    record: SeriesRecord,
    to: SeriesState,
    *,
    now: datetime,
    actor: str,
    reason: ReasonCode | None = None,
    detail: str | None = None,
) -> SeriesRecord:
    """Move a series on from where ``record`` saw it. The caller holds the study's lock.

    Raises
    ------
    ValueError
        The lifecycle does not allow the move; ``UNUSABLE`` without a reason; or to ``RECEIVING``, where only
        a new instance brings a series back (`receive`).
    StaleState
        Its state or its revision has changed since.
    """
    if to is SeriesState.RECEIVING:
        raise ValueError("only a new instance brings a series back to receiving")
    if (reason is not None) is not (to is SeriesState.UNUSABLE):
        raise ValueError("an unusable series has a reason, and no other has one")
    report_at = now + REPORT_AFTER if to is SeriesState.UNUSABLE else None
    return _move(
        tx, record, to, now=now, actor=actor, reason=reason, detail=detail, assemble_at=None, report_at=report_at
    )


def retry_failed(tx: Transaction, study_instance_uid: str, *, actor: str, now: datetime) -> int:
    """A person's hand: queue the failed jobs of a study again and make their series stable.

    Only jobs of the current revision count. One that something was sent or told of, such as a report that says
    Undetermined, is tried again as the next revision, which supersedes that. The caller holds the study's lock, and
    refreshes the worklist.
    """
    queued, why = 0, "Queued again by a person."
    for record in of_study(tx, study_instance_uid):
        spoken_of = result_objects.any_of(tx, record.id, record.revision)
        revision = record.revision + 1 if spoken_of else record.revision
        if record.state is not SeriesState.UNUSABLE or not jobs.retry_failed(
            tx, record.id, record.revision, as_revision=revision, actor=actor, now=now
        ):
            continue
        if spoken_of:
            begin_again(tx, record, why=why, now=now, actor=actor)
        else:
            move(tx, record, SeriesState.STABLE, now=now, actor=actor, detail=why)
        queued += 1
    return queued


def begin_again(tx: Transaction, record: SeriesRecord, *, why: str, now: datetime, actor: str) -> SeriesRecord:
    """A person's hand: the same instances as the next revision, stable, to be analysed anew.

    A new revision, so that what it says supersedes what was said before, wherever that was sent or told. The caller
    holds the study's lock, queues the job, and refreshes the worklist.

    Raises
    ------
    StaleState
        Its state or its revision has changed since.
    """
    if record.state not in (SeriesState.ANALYSED, SeriesState.UNUSABLE):
        raise StaleState(f"Series {record.series_instance_uid} is {record.state}: it has not come to an end.")
    revision = record.revision + 1
    return _move(
        tx,
        record,
        SeriesState.STABLE,
        now=now,
        actor=actor,
        revision=revision,
        reason=None,
        detail=why,
        report_at=None,
    )


def _create(tx: Transaction, header: InstanceHeader, candidate: bool, now: datetime, timings: Timings) -> SeriesRecord:
    series_id = tx.insert_new(
        series,
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        state=SeriesState.RECEIVING,
        revision=1,
        candidate=candidate,
        received_at=now,
        first_received_at=now,
        last_received_at=now,
        assemble_at=complete_at(Arrival(now, now, released_at=None), gap_free=False, timings=timings),
    )
    if series_id is None:
        raise StaleState("The series appeared meanwhile: the study must be locked before an instance is filed.")
    return get(tx, series_id)


def _reopen(
    tx: Transaction, record: SeriesRecord, candidate: bool, now: datetime, timings: Timings, actor: str
) -> SeriesRecord:
    reopened = _move(
        tx,
        record,
        SeriesState.RECEIVING,
        now=now,
        actor=actor,
        revision=record.revision + 1,
        reason=None,
        detail=None,
        report_at=None,
        candidate=candidate or record.candidate,
        first_received_at=now,
        last_received_at=now,
        assemble_at=complete_at(Arrival(now, now, released_at=None), gap_free=False, timings=timings),
    )
    jobs.cancel_live(tx, record.id, why=f"Revision {reopened.revision} has begun to arrive.", now=now, actor=actor)
    return reopened


def _changed(tx: Transaction, record: SeriesRecord, **values: Any) -> SeriesRecord:
    row = tx.connection.execute(
        update(series)
        .where(series.c.id == record.id, series.c.state == record.state, series.c.revision == record.revision)
        .values(**values)
        .returning(*series.columns)
    ).one_or_none()
    if row is None:
        raise StaleState("The series was moved meanwhile: the study must be locked before an instance is filed.")
    return _record(row)


def _due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return series.c.state == SeriesState.RECEIVING, series.c.assemble_at <= now


def _record(row: Row[Any]) -> SeriesRecord:
    return SeriesRecord(**{name: getattr(row, name) for name in SeriesRecord.__dataclass_fields__})


def _move(
    tx: Transaction, record: SeriesRecord, to: SeriesState, *, now: datetime, actor: str, **values: Any
) -> SeriesRecord:
    same_revision = series.c.revision == record.revision
    moved = _record(moves.move(tx, series, record.id, record.state, to, SERIES_MOVES, same_revision, **values))
    tx.audit(
        AuditEvent(
            at=now,
            actor=actor,
            action=AuditAction.SERIES_MOVED,
            outcome=Outcome.MINOR_FAILURE if to is SeriesState.UNUSABLE else Outcome.SUCCESS,
            study_instance_uid=record.study_instance_uid,
            series_instance_uid=record.series_instance_uid,
            detail={
                "from": record.state.value,
                "to": to.value,
                "revision": moved.revision,
                "reason": moved.reason.value if moved.reason else None,
                "detail": moved.detail,
            },
        )
    )
    return moved
