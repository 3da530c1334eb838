"""How the daemon is doing: what waits, how long things took, and what was refused."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, func, select

from triage.domain.audit import AuditAction
from triage.domain.finding import WorklistStatus
from triage.domain.lifecycle import DeliveryState, JobState
from triage.store.instants import epoch_seconds
from triage.store.jobs import FAILED
from triage.store.results import spoken
from triage.store.schema import audit, conflicts, deliveries, instances, jobs, results, series, worklist
from triage.store.transaction import Transaction

REFUSALS = (AuditAction.ASSOCIATION_REFUSED, AuditAction.INSTANCE_REFUSED, AuditAction.INSTANCE_IGNORED)


class Queued(NamedTuple):
    """Jobs of one state, and since when the oldest of them is in the queue."""

    state: JobState
    total: int
    oldest_at: datetime


class Sent(NamedTuple):
    """Deliveries of one state to one destination. ``oldest_at`` is when the longest untouched was touched last."""

    destination: str
    state: DeliveryState
    total: int
    oldest_at: datetime


class Refused(NamedTuple):
    """The last thing that went wrong with a destination."""

    destination: str
    error: str
    at: datetime


class Flagged(NamedTuple):
    """Seconds from the last instance of a series to its result, and when the study came in."""

    seconds: float
    suspected: bool
    received_seconds: float


class Origin(NamedTuple):
    """Where studies came from."""

    scanner: str | None
    slice_thickness_mm: float | None
    total: int


def oldest_queued_at(tx: Transaction) -> datetime | None:
    """Since when the series that has waited longest for a worker is in the queue."""
    queued = select(func.min(jobs.c.created_at)).where(jobs.c.state == JobState.QUEUED)
    oldest: datetime | None = tx.connection.execute(queued).scalar_one()
    return oldest


def queue(tx: Transaction, since: datetime) -> list[Queued]:
    """Jobs that wait, run or failed, whatever their age, and those that ended since then; none is left out as 0.

    One that failed counts while it waits for a person, and not when a later revision overtook it.
    """
    unfinished = jobs.c.state.in_((JobState.QUEUED, JobState.RUNNING))
    ended = (jobs.c.state != JobState.FAILED) & (jobs.c.finished_at >= since)
    counted = (
        select(jobs.c.state, func.count(), func.min(jobs.c.created_at))
        .join_from(jobs, series)
        .where(unfinished | ended | and_(*FAILED))
        .group_by(jobs.c.state)
    )
    found = {row[0]: Queued(*row) for row in tx.connection.execute(counted)}
    return [found[state] for state in JobState if state in found]


def sent(tx: Transaction) -> list[Sent]:
    """Deliveries by destination and state."""
    counted = (
        select(deliveries.c.destination, deliveries.c.state, func.count(), func.min(deliveries.c.updated_at))
        .group_by(deliveries.c.destination, deliveries.c.state)
        .order_by(deliveries.c.destination)
    )
    found = [Sent(*row) for row in tx.connection.execute(counted)]
    order = list(DeliveryState)
    return sorted(found, key=lambda row: (row.destination, order.index(row.state)))


def last_errors(tx: Transaction) -> dict[str, Refused]:
    """By destination, the error that was written last to a delivery that has not arrived."""
    unsent = deliveries.c.state.in_((DeliveryState.PENDING, DeliveryState.FAILED)), deliveries.c.error.is_not(None)
    newest = (
        select(func.max(deliveries.c.updated_at).label("at"), deliveries.c.destination)
        .where(*unsent)
        .group_by(deliveries.c.destination)
        .subquery()
    )
    same = (deliveries.c.destination == newest.c.destination) & (deliveries.c.updated_at == newest.c.at)
    found = select(deliveries.c.destination, deliveries.c.error, deliveries.c.updated_at).join(newest, same)
    return {row.destination: Refused(*row) for row in tx.connection.execute(found.where(*unsent))}


def flag_times(tx: Transaction, since: datetime) -> list[Flagged]:
    """How long results took, of the studies that came in since then.

    A study counts once, by the series that its row speaks of, and from the last instance of the revision that
    the result is of. A result that is older than a late instance does not count, nor does one of a revision that
    began without any: a person had the series analysed anew, long after it came in.
    """
    took = epoch_seconds(tx, results.c.created_at) - epoch_seconds(tx, series.c.last_received_at)
    same = (series.c.study_instance_uid == worklist.c.study_instance_uid) & (
        series.c.series_instance_uid == worklist.c.series_instance_uid
    )
    mine = (results.c.series_id == series.c.id) & (results.c.revision == series.c.revision)
    came = select(instances.c.id).where(instances.c.series_id == series.c.id, instances.c.revision == series.c.revision)
    found = (
        select(took, worklist.c.status == WorklistStatus.SUSPECTED, epoch_seconds(tx, worklist.c.received_at))
        .select_from(worklist.join(series, same).join(results, mine))
        .where(
            worklist.c.received_at >= since,
            worklist.c.status.in_((WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED)),
            spoken(),
            came.exists(),
        )
    )
    return [Flagged(*row) for row in tx.connection.execute(found)]


def intake_mix(tx: Transaction, since: datetime, most: int) -> list[Origin]:
    """Scanner and slice thickness of the studies that came in since then, the most frequent first."""
    counted = (
        select(worklist.c.scanner, worklist.c.slice_thickness_mm, func.count())
        .where(worklist.c.received_at >= since)
        .group_by(worklist.c.scanner, worklist.c.slice_thickness_mm)
        .order_by(func.count().desc(), worklist.c.scanner, worklist.c.slice_thickness_mm)
        .limit(most)
    )
    return [Origin(*row) for row in tx.connection.execute(counted)]


def status_counts(tx: Transaction, since: datetime) -> dict[WorklistStatus, int]:
    """Studies that came in since then, by what the list says of them."""
    counted = select(worklist.c.status, func.count()).where(worklist.c.received_at >= since)
    return {row[0]: row[1] for row in tx.connection.execute(counted.group_by(worklist.c.status))}


def bytes_received(tx: Transaction, since: datetime) -> int:
    """How much the instances that came in since then take up."""
    recent = select(series.c.id).where(series.c.last_received_at >= since)
    taken = select(func.coalesce(func.sum(instances.c.size_bytes), 0))
    return int(
        tx.connection.execute(
            taken.where(instances.c.series_id.in_(recent), instances.c.received_at >= since)
        ).scalar_one()
    )


def refusals(tx: Transaction, since: datetime) -> dict[str, int]:
    """What was not taken in since then, by kind; ``conflict`` is another content under a known UID."""
    counted = (
        select(audit.c.action, func.count())
        .where(audit.c.at >= since, audit.c.action.in_(REFUSALS))
        .group_by(audit.c.action)
    )
    found = {action.value: count for action, count in tx.connection.execute(counted)}
    differing = select(func.count()).select_from(conflicts).where(conflicts.c.received_at >= since)
    return {**found, "instance_conflict": int(tx.connection.execute(differing).scalar_one())}
