"""Deliveries: one result object on its way to one destination. This table is the outbox."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, Select, delete, select, update

from triage.domain.audit import AuditAction, AuditEvent, Outcome
from triage.domain.encoded import ObjectKind
from triage.domain.errors import StaleState
from triage.domain.lifecycle import DELIVERY_MOVES, DeliveryState
from triage.domain.told import FINDING_KINDS, Told
from triage.domain.work import ClaimedBatch, OutboundObject
from triage.store import moves
from triage.store.schema import deliveries, result_objects, results, series
from triage.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """A delivery as it stands. ``status`` is the last DIMSE status, ``error`` the last reason it did not arrive."""

    delivery_id: int
    object_id: int
    kind: ObjectKind
    sop_instance_uid: str
    destination: str
    state: DeliveryState
    attempt: int
    next_attempt_at: datetime
    status: int | None
    error: str | None
    updated_at: datetime


def add(tx: Transaction, object_id: int, destinations: Iterable[str], now: datetime) -> int:
    """Put an object into the outbox for each destination; return how many were not there before."""
    added = [
        tx.insert_new(
            deliveries,
            object_id=object_id,
            destination=destination,
            state=DeliveryState.PENDING,
            attempt=0,
            next_attempt_at=now,
            updated_at=now,
        )
        for destination in destinations
    ]
    return sum(delivery_id is not None for delivery_id in added)


def any_due(tx: Transaction, *, destination: str, now: datetime, after: str | None = None) -> bool:
    """Whether there is anything to claim; asked without locking before each claim."""
    due = select(deliveries.c.id).select_from(deliveries.join(result_objects).join(results))
    found = due.where(*_due(destination, now), *_ready(after)).limit(1)
    return tx.connection.execute(found).first() is not None


def claim(
    tx: Transaction,
    *,
    destination: str,
    owner: str,
    now: datetime,
    lease_seconds: float,
    after: str | None = None,
) -> ClaimedBatch | None:
    """Lease all objects of one result that are due for this destination; the longest waiting result first.

    With ``after`` only results count whose every object for that other destination has been delivered. A message that
    a newer one overtook, however it came to wait, leaves the outbox here.
    """
    due = *_due(destination, now), *_ready(after)
    rows: Sequence[Row[Any]] = []
    while not rows:
        found = lock_result_set(tx, deliveries.c.next_attempt_at, *due)
        if not found:
            return None
        rows = _without_overtaken(tx, found, now=now, actor=owner)
    lease, lease_until = uuid.uuid4().hex, now + timedelta(seconds=lease_seconds)
    for row in rows:
        leased = {"lease": lease, "lease_owner": owner, "lease_until": lease_until, "attempt": row.attempt + 1}
        move(tx, row, DeliveryState.SENDING, now=now, actor=owner, **leased)
    return ClaimedBatch(
        lease=lease,
        lease_until=lease_until,
        attempt=max(row.attempt for row in rows) + 1,
        destination=destination,
        study_instance_uid=rows[0].study_instance_uid,
        series_instance_uid=rows[0].series_instance_uid,
        objects=tuple(
            OutboundObject(
                delivery_id=row.id,
                kind=row.kind,
                sop_instance_uid=row.sop_instance_uid,
                sop_class_uid=row.sop_class_uid,
                transfer_syntax_uid=row.transfer_syntax_uid,
                blob_key=row.blob_key,
            )
            for row in rows
        ),
    )


def _without_overtaken(tx: Transaction, rows: Sequence[Row[Any]], *, now: datetime, actor: str) -> list[Row[Any]]:
    """Those of one locked result set that are still to be sent; the others are taken out of the outbox."""
    messages = [row for row in rows if row.kind in FINDING_KINDS]
    if not messages:
        return list(rows)
    told = _told(tx, messages[0].study_instance_uid, messages[0].destination)
    overtaken = [row for row in messages if any(other.overtakes(told[row.id]) for other in told.values())]
    for row in overtaken:
        tx.connection.execute(delete(deliveries).where(deliveries.c.id == row.id))
        tx.audit(
            AuditEvent(
                at=now,
                actor=actor,
                action=AuditAction.MESSAGE_SUPERSEDED,
                study_instance_uid=row.study_instance_uid,
                series_instance_uid=row.series_instance_uid,
                sop_instance_uid=row.sop_instance_uid,
                detail={"destination": row.destination, "kind": row.kind.value, "attempt": row.attempt},
            )
        )
    return [row for row in rows if row not in overtaken]


def _told(tx: Transaction, study_instance_uid: str, destination: str) -> dict[int, Told]:
    """What a list was told of the finding of a study, or is to be told, by the number of the delivery."""
    made = (result_objects.c.created_at, results.c.finished_at, results.c.series_id, results.c.status)
    messages = (
        select(deliveries.c.id, deliveries.c.state, *made)
        .select_from(deliveries.join(result_objects).join(results).join(series))
        .where(
            series.c.study_instance_uid == study_instance_uid,
            deliveries.c.destination == destination,
            result_objects.c.kind.in_(FINDING_KINDS),
        )
    )
    return {
        row.id: Told(
            number=row.id,
            series_id=row.series_id,
            status=row.status,
            reminder=row.created_at != row.finished_at,
            arrived=row.state is DeliveryState.DELIVERED,
        )
        for row in tx.connection.execute(messages)
    }


def lock_result_set(tx: Transaction, since: Column[Any], *due: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """Rows (of `joined`) of the one result whose deliveries have been due longest, locked; none when there is none.

    The result's own row is locked meanwhile, so that two senders never share one result set.
    """
    longest = select(results.c.id).select_from(deliveries.join(result_objects).join(results))
    result_id = tx.connection.execute(
        longest.where(*due)
        .order_by(since, deliveries.c.id)
        .limit(1)
        .with_for_update(of=results, skip_locked=True, key_share=True)
    ).scalar_one_or_none()
    if result_id is None:
        return []
    mine = joined().where(results.c.id == result_id, *due).order_by(deliveries.c.id)
    return tx.connection.execute(mine.with_for_update(of=deliveries, skip_locked=True)).all()


def renew(tx: Transaction, batch: ClaimedBatch, until: datetime) -> None:
    """Keep the lease of a batch longer.

    Raises
    ------
    StaleState
        The lease is lost, or every object of the batch has been settled.
    """
    held = update(deliveries).where(deliveries.c.lease == batch.lease, deliveries.c.state == DeliveryState.SENDING)
    if not tx.connection.execute(held.values(lease_until=until).returning(deliveries.c.id)).all():
        raise StaleState(f"The lease of a batch for {batch.destination} is lost.")


def delivered(
    tx: Transaction,
    batch: ClaimedBatch,
    delivery_id: int,
    *,
    status: int | None,
    now: datetime,
    commit_at: datetime | None = None,
) -> None:
    """The archive answered success, or a warning that still stores. With ``commit_at`` it is then asked to commit.

    Raises
    ------
    StaleState
        The lease is lost: somebody else settles this delivery. So for `later` and `refused`.
    """
    _settle(tx, batch, delivery_id, DeliveryState.DELIVERED, status=status, error=None, now=now, commit_at=commit_at)


def later(
    tx: Transaction,
    batch: ClaimedBatch,
    delivery_id: int,
    *,
    error: str,
    status: int | None,
    at: datetime,
    now: datetime,
) -> None:
    """No answer, or one that leaves hope: try again at ``at``."""
    _settle(tx, batch, delivery_id, DeliveryState.PENDING, status=status, error=error, now=now, next_attempt_at=at)


def refused(
    tx: Transaction, batch: ClaimedBatch, delivery_id: int, *, error: str, status: int | None, now: datetime
) -> None:
    """The archive refused for good, or patience has ended: a person must look."""
    _settle(tx, batch, delivery_id, DeliveryState.FAILED, status=status, error=error, now=now)


def any_lapsed(tx: Transaction, now: datetime) -> bool:
    """Whether a sender has stopped renewing."""
    return tx.connection.execute(select(deliveries.c.id).where(*_lapsed(now)).limit(1)).first() is not None


def requeue_lapsed(tx: Transaction, now: datetime, *, actor: str = "clock") -> int:
    """Take deliveries from senders that stopped renewing; they are due at once. Sending twice does no harm."""
    rows = tx.connection.execute(
        joined().where(*_lapsed(now)).order_by(deliveries.c.id).with_for_update(of=deliveries, skip_locked=True)
    ).all()
    error = "The sender that had this delivery stopped without a word."
    for row in rows:
        move(tx, row, DeliveryState.PENDING, now=now, actor=actor, error=error, next_attempt_at=now, **_FREE)
    return len(rows)


def hasten(tx: Transaction, destination: str, now: datetime) -> int:
    """Make everything due that waits for a destination: it is known to answer again; return how many."""
    waiting = update(deliveries).where(
        deliveries.c.state == DeliveryState.PENDING,
        deliveries.c.destination == destination,
        deliveries.c.next_attempt_at > now,
    )
    return len(tx.connection.execute(waiting.values(next_attempt_at=now).returning(deliveries.c.id)).all())


def retry_failed(
    tx: Transaction, study_instance_uid: str, *, destination: str | None = None, actor: str, now: datetime
) -> int:
    """A person's hand: send what was refused again, its attempts counted anew; return how many."""
    failed = joined().where(
        series.c.study_instance_uid == study_instance_uid, deliveries.c.state == DeliveryState.FAILED
    )
    if destination is not None:
        failed = failed.where(deliveries.c.destination == destination)
    rows = tx.connection.execute(failed.order_by(deliveries.c.id).with_for_update(of=deliveries)).all()
    for row in rows:
        move(tx, row, DeliveryState.PENDING, now=now, actor=actor, attempt=0, next_attempt_at=now)
    return len(rows)


def of_study(tx: Transaction, study_instance_uid: str) -> list[DeliveryRecord]:
    """Every delivery of a study, in the order in which they were put into the outbox."""
    mine = joined().where(series.c.study_instance_uid == study_instance_uid).order_by(deliveries.c.id)
    return [
        DeliveryRecord(
            delivery_id=row.id,
            object_id=row.object_id,
            kind=row.kind,
            sop_instance_uid=row.sop_instance_uid,
            destination=row.destination,
            state=row.state,
            attempt=row.attempt,
            next_attempt_at=row.next_attempt_at,
            status=row.status,
            error=row.error,
            updated_at=row.updated_at,
        )
        for row in tx.connection.execute(mine)
    ]


_FREE = {"lease": None, "lease_until": None}


def _due(destination: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    pending = deliveries.c.state == DeliveryState.PENDING
    return pending, deliveries.c.destination == destination, deliveries.c.next_attempt_at <= now


def _lapsed(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return deliveries.c.state == DeliveryState.SENDING, deliveries.c.lease_until < now


def _ready(after: str | None) -> tuple[ColumnElement[bool], ...]:
    """Of the result at hand: at least one object went to the destination ``after``, and all of them have arrived."""
    if after is None:
        return ()
    others, objects = deliveries.alias(), result_objects.alias()
    there = others.c.destination == after, objects.c.result_id == results.c.id
    sent = select(others.c.id).join_from(others, objects, objects.c.id == others.c.object_id).where(*there)
    arrived = others.c.state.in_((DeliveryState.DELIVERED, DeliveryState.COMMITTED))
    return sent.exists(), ~sent.where(~arrived).exists()


def joined() -> Select[Any]:
    """Deliveries with the objects they carry and the series those are about."""
    described = ("kind", "sop_instance_uid", "sop_class_uid", "transfer_syntax_uid", "blob_key")
    return select(
        *deliveries.columns,
        *(result_objects.columns[name] for name in described),
        series.c.study_instance_uid,
        series.c.series_instance_uid,
    ).select_from(deliveries.join(result_objects).join(results).join(series))


def _settle(
    tx: Transaction, batch: ClaimedBatch, delivery_id: int, to: DeliveryState, *, now: datetime, **values: Any
) -> None:
    held = (deliveries.c.state == DeliveryState.SENDING, deliveries.c.lease == batch.lease)
    row = tx.connection.execute(
        joined().where(deliveries.c.id == delivery_id, *held).with_for_update(of=deliveries)
    ).one_or_none()
    if row is None:
        raise StaleState(f"The lease of delivery {delivery_id} to {batch.destination} is lost.")
    move(tx, row, to, *held, now=now, actor=row.lease_owner, **_FREE, **values)


def move(
    tx: Transaction,
    row: Row[Any],
    to: DeliveryState,
    *guards: ColumnElement[bool],
    now: datetime,
    actor: str,
    **values: Any,
) -> None:
    """Move a delivery on from where ``row`` (of `joined`) saw it, with its audit row."""
    moved = moves.move(tx, deliveries, row.id, row.state, to, DELIVERY_MOVES, *guards, updated_at=now, **values)
    tx.audit(
        AuditEvent(
            at=now,
            actor=actor,
            action=AuditAction.DELIVERY_MOVED,
            outcome=_outcome(row.state, to),
            study_instance_uid=row.study_instance_uid,
            series_instance_uid=row.series_instance_uid,
            sop_instance_uid=row.sop_instance_uid,
            detail={
                "destination": row.destination,
                "kind": row.kind.value,
                "from": row.state.value,
                "to": to.value,
                "attempt": moved.attempt,
                "status": values.get("status"),
                "reason": values.get("error"),
            },
        )
    )


def _outcome(start: DeliveryState, to: DeliveryState) -> Outcome:
    if to is DeliveryState.FAILED:
        return Outcome.SERIOUS_FAILURE
    given_back = start is not DeliveryState.FAILED and to is DeliveryState.PENDING
    return Outcome.MINOR_FAILURE if given_back else Outcome.SUCCESS
