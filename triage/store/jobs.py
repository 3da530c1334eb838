"""Jobs: one analysis of one revision of a series, leased to one worker at a time."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Row, Select, or_, select, update

from triage.domain.audit import AuditAction, AuditEvent, Outcome
from triage.domain.errors import StaleState
from triage.domain.lifecycle import JOB_MOVES, JobState, SeriesState
from triage.domain.work import ClaimedJob
from triage.domain.worklist import PENDING_RISES_AFTER
from triage.store import moves
from triage.store.schema import jobs, series
from triage.store.transaction import Transaction

if TYPE_CHECKING:
    from triage.store.series import SeriesRecord


OLDEST_FIRST_SECONDS = 6
"""For so long at the beginning of each minute the job that has waited longest goes first, late or not.

A tenth of the time: while more comes in than can be analysed no job waits for ever, and no new one long for an old.
"""


FAILED = (jobs.c.state == JobState.FAILED, jobs.c.revision == series.c.revision, series.c.state == SeriesState.UNUSABLE)
"""Of jobs beside their series: those that wait for a person. What a later revision overtook does not."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it stands. ``attempt`` counts the times it was claimed, ``lease_owner`` is who had it last."""

    job_id: int
    series_id: int
    series_instance_uid: str
    study_instance_uid: str
    revision: int
    state: JobState
    priority: int
    deadline_at: datetime
    attempt: int
    lease_owner: str | None
    lease_until: datetime | None
    not_before: datetime | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def add(tx: Transaction, record: SeriesRecord, *, priority: int, deadline_at: datetime, now: datetime) -> int:
    """Queue the analysis of the current revision of a series; lower ``priority`` is claimed first.

    Raises
    ------
    StaleState
        The series has a job that is queued or running.
    """
    job_id = tx.insert_new(
        jobs,
        series_id=record.id,
        revision=record.revision,
        state=JobState.QUEUED,
        priority=priority,
        deadline_at=deadline_at,
        attempt=0,
        created_at=now,
    )
    if job_id is None:
        raise StaleState(f"Series {record.series_instance_uid} has a job in work already.")
    return int(job_id)


def any_due(tx: Transaction, now: datetime) -> bool:
    """Whether there is anything to claim; asked without locking before each claim."""
    return tx.connection.execute(select(jobs.c.id).where(*_due(now)).limit(1)).first() is not None


def claim(tx: Transaction, *, owner: str, now: datetime, lease_seconds: float) -> ClaimedJob | None:
    """Lease the most urgent job that is due: by priority, then what is not late by deadline, then the newest."""
    found = _most_urgent(tx, now)
    if found is None:
        return None
    lease, lease_until = uuid.uuid4().hex, now + timedelta(seconds=lease_seconds)
    moved = _move(
        tx,
        _record(found),
        JobState.RUNNING,
        now=now,
        actor=owner,
        attempt=found.attempt + 1,
        lease=lease,
        lease_owner=owner,
        lease_until=lease_until,
        started_at=now,
    )
    return ClaimedJob(
        job_id=moved.job_id,
        lease=lease,
        lease_until=lease_until,
        attempt=moved.attempt,
        series_id=moved.series_id,
        series_instance_uid=moved.series_instance_uid,
        study_instance_uid=moved.study_instance_uid,
        revision=moved.revision,
    )


def renew(tx: Transaction, job: ClaimedJob, until: datetime) -> ClaimedJob:
    """Keep a lease longer.

    Raises
    ------
    StaleState
        The lease is lost.
    """
    held = update(jobs).where(jobs.c.id == job.job_id, *_held(job))
    if tx.connection.execute(held.values(lease_until=until).returning(jobs.c.id)).one_or_none() is None:
        raise StaleState(f"The lease of job {job.job_id} is lost.")
    return replace(job, lease_until=until)


def succeed(tx: Transaction, job: ClaimedJob, now: datetime) -> None:
    """Finish a job. Its lease stays on the row: it is the proof that ``results.record`` asks for.

    Raises
    ------
    StaleState
        The lease is lost; nothing of this transaction may be kept.
    """
    record = _claimed(tx, job)
    _move(
        tx,
        record,
        JobState.SUCCEEDED,
        *_held(job),
        now=now,
        actor=record.lease_owner or "worker",
        lease_until=None,
        finished_at=now,
        error=None,
    )


def give_back(
    tx: Transaction, job: ClaimedJob, *, error: str, now: datetime, not_before: datetime, max_attempts: int
) -> JobState:
    """Return a job that could not be finished: queued again from ``not_before`` on, or failed for good.

    Raises
    ------
    StaleState
        The lease is lost.
    """
    record = _claimed(tx, job)
    actor = record.lease_owner or "worker"
    return _return(
        tx, record, *_held(job), error=error, now=now, not_before=not_before, max_attempts=max_attempts, actor=actor
    ).state


def put_back(tx: Transaction, job: ClaimedJob, *, why: str, now: datetime) -> None:
    """Return a job that could not be done because a store did not answer: queued again, the attempt not counted.

    It is due again after a tenth of its time in the queue so far, at least a second and at most a minute: soon
    after a short trouble, and when its own file alone cannot be read the others get their turn.

    Raises
    ------
    StaleState
        The lease is lost.
    """
    record = _claimed(tx, job)
    pause = min(max((now - record.created_at) / 10, timedelta(seconds=1)), timedelta(minutes=1))
    _move(
        tx,
        record,
        JobState.QUEUED,
        *_held(job),
        now=now,
        actor=record.lease_owner or "worker",
        attempt=record.attempt - 1,
        error=why,
        lease=None,
        lease_until=None,
        not_before=now + pause,
    )


def cancel_live(tx: Transaction, series_id: int, *, why: str, now: datetime, actor: str) -> int:
    """Cancel the job of a series that is queued or running; a worker that has it will find its lease lost."""
    return _cancel(tx, series_id, (JobState.QUEUED, JobState.RUNNING), why=why, now=now, actor=actor)


def cancel_queued(tx: Transaction, series_id: int, *, why: str, now: datetime, actor: str) -> int:
    """Cancel the job of a series unless a worker has it already."""
    return _cancel(tx, series_id, (JobState.QUEUED,), why=why, now=now, actor=actor)


def lapsed(tx: Transaction, now: datetime) -> list[JobRecord]:
    """Running jobs whose worker has stopped renewing."""
    return [_record(row) for row in tx.connection.execute(_with_uids().where(*_lapsed(now)).order_by(jobs.c.id))]


def requeue_lapsed(
    tx: Transaction, study_instance_uid: str, *, now: datetime, max_attempts: int, actor: str = "clock"
) -> list[JobRecord]:
    """Take lapsed jobs of a study from their workers: queued again, or failed after ``max_attempts``.

    The caller holds the study's lock.
    """
    mine = _with_uids().where(*_lapsed(now), series.c.study_instance_uid == study_instance_uid).order_by(jobs.c.id)
    rows = tx.connection.execute(mine.with_for_update(of=jobs, skip_locked=True)).all()
    error = "The worker that had this job stopped without a word."
    return [
        _return(tx, _record(row), error=error, now=now, not_before=now, max_attempts=max_attempts, actor=actor)
        for row in rows
    ]


def retry_failed(
    tx: Transaction, series_id: int, revision: int, *, as_revision: int, actor: str, now: datetime
) -> bool:
    """Queue the failed job of this revision again, its attempts counted anew; False when it has none.

    ``as_revision`` is the revision that it analyses then. ``series.retry_failed`` does this for a study and makes the
    series stable again.
    """
    statement = _with_uids().where(
        jobs.c.series_id == series_id, jobs.c.revision == revision, jobs.c.state == JobState.FAILED
    )
    row = tx.connection.execute(statement.order_by(jobs.c.id.desc()).limit(1).with_for_update(of=jobs)).one_or_none()
    if row is None:
        return False
    anew = {"revision": as_revision, "attempt": 0, "not_before": None, "finished_at": None}
    _move(tx, _record(row), JobState.QUEUED, now=now, actor=actor, **anew)
    return True


def any_failed(tx: Transaction, study_instance_uid: str) -> bool:
    """Whether a job of a study waits for a person, as `retry_failed` finds it."""
    mine = select(jobs.c.id).join_from(jobs, series).where(series.c.study_instance_uid == study_instance_uid, *FAILED)
    return tx.connection.execute(mine.limit(1)).first() is not None


def of_study(tx: Transaction, study_instance_uid: str) -> list[JobRecord]:
    """Every job of a study, oldest first."""
    mine = _with_uids().where(series.c.study_instance_uid == study_instance_uid).order_by(jobs.c.id)
    return [_record(row) for row in tx.connection.execute(mine)]


def _due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return jobs.c.state == JobState.QUEUED, or_(jobs.c.not_before.is_(None), jobs.c.not_before <= now)


def _most_urgent(tx: Transaction, now: datetime) -> Row[Any] | None:
    """The job to claim next, locked; None when each that is due is locked by another worker."""
    due = _due(now)
    priorities = select(jobs.c.priority).where(*due).distinct().order_by(jobs.c.priority)
    for priority in tx.connection.execute(priorities).scalars().all():
        mine = _with_uids().where(*due, jobs.c.priority == priority).limit(1)
        for part, order in _turns(now):
            found = tx.connection.execute(
                mine.where(*part).order_by(*order).with_for_update(of=jobs, skip_locked=True)
            ).one_or_none()
            if found is not None:
                return found
    return None


def _turns(now: datetime) -> list[tuple[tuple[ColumnElement[bool], ...], tuple[ColumnElement[Any], ...]]]:
    """Which jobs of a priority are looked at one after the other, and in which order. Each goes along the index."""
    longest_waiting: tuple[ColumnElement[Any], ...] = (jobs.c.deadline_at, jobs.c.id)
    if now.second < OLDEST_FIRST_SECONDS:
        return [((), longest_waiting)]
    late = jobs.c.deadline_at < now - PENDING_RISES_AFTER
    return [((~late,), longest_waiting), ((late,), (jobs.c.deadline_at.desc(), jobs.c.id.desc()))]


def _lapsed(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return jobs.c.state == JobState.RUNNING, jobs.c.lease_until < now


def _held(job: ClaimedJob) -> tuple[ColumnElement[bool], ...]:
    return jobs.c.state == JobState.RUNNING, jobs.c.lease == job.lease


def _with_uids() -> Select[Any]:
    return select(*jobs.columns, series.c.series_instance_uid, series.c.study_instance_uid).join_from(jobs, series)


def _claimed(tx: Transaction, job: ClaimedJob) -> JobRecord:
    held = _with_uids().where(jobs.c.id == job.job_id, *_held(job)).with_for_update(of=jobs)
    row = tx.connection.execute(held).one_or_none()
    if row is None:
        raise StaleState(f"The lease of job {job.job_id} is lost.")
    return _record(row)


def _record(row: Row[Any]) -> JobRecord:
    values = row._asdict()
    values["job_id"] = values.pop("id")
    del values["lease"]
    return JobRecord(**values)


def _cancel(
    tx: Transaction, series_id: int, states: tuple[JobState, ...], *, why: str, now: datetime, actor: str
) -> int:
    statement = _with_uids().where(jobs.c.series_id == series_id, jobs.c.state.in_(states)).with_for_update(of=jobs)
    rows = tx.connection.execute(statement).all()
    for row in rows:
        _move(
            tx,
            _record(row),
            JobState.CANCELLED,
            now=now,
            actor=actor,
            lease=None,
            lease_until=None,
            finished_at=now,
            error=why,
        )
    return len(rows)


def _return(
    tx: Transaction,
    record: JobRecord,
    *guards: ColumnElement[bool],
    error: str,
    now: datetime,
    not_before: datetime,
    max_attempts: int,
    actor: str,
) -> JobRecord:
    final = record.attempt >= max_attempts
    return _move(
        tx,
        record,
        JobState.FAILED if final else JobState.QUEUED,
        *guards,
        now=now,
        actor=actor,
        error=error,
        lease=None,
        lease_until=None,
        not_before=None if final else not_before,
        finished_at=now if final else None,
    )


def _outcome(start: JobState, to: JobState) -> Outcome:
    if to is JobState.FAILED:
        return Outcome.SERIOUS_FAILURE
    given_back = start is JobState.RUNNING and to is JobState.QUEUED
    return Outcome.MINOR_FAILURE if given_back else Outcome.SUCCESS


def _move(
    tx: Transaction,
    record: JobRecord,
    to: JobState,
    *guards: ColumnElement[bool],
    now: datetime,
    actor: str,
    **values: Any,
) -> JobRecord:
    row = moves.move(tx, jobs, record.job_id, record.state, to, JOB_MOVES, *guards, **values)
    tx.audit(
        AuditEvent(
            at=now,
            actor=actor,
            action=AuditAction.JOB_MOVED,
            outcome=_outcome(record.state, to),
            study_instance_uid=record.study_instance_uid,
            series_instance_uid=record.series_instance_uid,
            detail={
                "job": record.job_id,
                "from": record.state.value,
                "to": to.value,
                "revision": row.revision,
                "attempt": row.attempt,
                "reason": values.get("error"),
            },
        )
    )
    moved = {name: value for name, value in row._asdict().items() if name not in ("id", "lease")}
    return replace(record, **moved)
