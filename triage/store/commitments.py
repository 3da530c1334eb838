"""Whether an archive takes responsibility for what was delivered: asked for, answered, or looked up."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, select, update

from triage.domain.audit import AuditAction, AuditEvent, Outcome
from triage.domain.errors import StaleState
from triage.domain.lifecycle import DeliveryState
from triage.store.deliveries import joined, lock_result_set, move
from triage.store.schema import deliveries
from triage.store.transaction import Transaction

ACTOR = "send"


@dataclass(frozen=True, slots=True)
class DeliveredObject:
    """One delivered object whose commitment is asked for. ``attempt`` is that of its delivery."""

    delivery_id: int
    attempt: int
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class CommitmentDue:
    """The delivered objects of one result that an archive has not committed yet.

    ``attempt`` counts the times this was claimed, from 1. ``transaction_uid`` is drawn with the first and stays, also
    when asking has ended: the archive may report on the one request at any time.
    """

    transaction_uid: str
    attempt: int
    destination: str
    study_instance_uid: str
    objects: tuple[DeliveredObject, ...]


def any_due(tx: Transaction, *, destination: str, now: datetime) -> bool:
    """Whether there is anything to claim; asked without locking before each claim."""
    return tx.connection.execute(select(deliveries.c.id).where(*_due(destination, now)).limit(1)).first() is not None


def claim(tx: Transaction, *, destination: str, now: datetime, answer_by: datetime) -> CommitmentDue | None:
    """Take up one result's delivered objects; they come up again at ``answer_by`` when no report has come.

    The deadline is written before anything is asked: whoever dies in between, the question is asked again.
    """
    rows = lock_result_set(tx, deliveries.c.commit_at, *_due(destination, now))
    if not rows:
        return None
    requested: str | None = rows[0].commit_transaction_uid
    # What was sent again meanwhile is to be requested itself; it comes up by itself, as do the others.
    rows = [row for row in rows if row.commit_transaction_uid == requested]
    transaction_uid = requested or f"2.25.{uuid.uuid4().int}"
    attempt = max(row.commit_attempt for row in rows) + 1
    tx.connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_([row.id for row in rows]))
        .values(commit_transaction_uid=transaction_uid, commit_attempt=attempt, commit_at=answer_by)
    )
    return _due_of(rows, transaction_uid, attempt)


def of_transaction(tx: Transaction, transaction_uid: str) -> CommitmentDue | None:
    """What a report speaks of; None when nothing waits for it (any more)."""
    mine = (
        joined().where(deliveries.c.commit_transaction_uid == transaction_uid, _UNCOMMITTED).order_by(deliveries.c.id)
    )
    rows = tx.connection.execute(mine).all()
    return _due_of(rows, transaction_uid, rows[0].commit_attempt) if rows else None


def committed(tx: Transaction, due: CommitmentDue, delivery_id: int, *, note: str | None, now: datetime) -> None:
    """The archive keeps this object; ``note`` says how that is known when it did not report it.

    Raises
    ------
    StaleState
        Another answer came first. So for `not_kept`.
    """
    row = _row(tx, due, delivery_id)
    move(tx, row, DeliveryState.COMMITTED, *_of(due), now=now, actor=ACTOR, error=note, **_ENDED)


def not_kept(
    tx: Transaction, due: CommitmentDue, delivery_id: int, *, error: str, again_at: datetime | None, now: datetime
) -> None:
    """The archive does not have an object that it had accepted: send it again at ``again_at``, or give up (None)."""
    row = _row(tx, due, delivery_id)
    if again_at is None:
        move(tx, row, DeliveryState.FAILED, *_of(due), now=now, actor=ACTOR, error=error, **_ENDED)
    else:
        again = {"error": error, "next_attempt_at": again_at, **_ENDED}
        move(tx, row, DeliveryState.PENDING, *_of(due), now=now, actor=ACTOR, **again)


def ask_again(tx: Transaction, due: CommitmentDue, at: datetime) -> None:
    """No answer could be had: take this up again at ``at``."""
    ids = [item.delivery_id for item in due.objects]
    statement = update(deliveries).where(deliveries.c.id.in_(ids), *_of(due), *_WAITING)
    tx.connection.execute(statement.values(commit_at=at))


def given_up(tx: Transaction, due: CommitmentDue, delivery_id: int, *, why: str, now: datetime) -> None:
    """Whether the archive keeps this object cannot be learned: it stays delivered, with ``why`` beside it.

    A report that comes later still counts.

    Raises
    ------
    StaleState
        An answer came first.
    """
    row = _row(tx, due, delivery_id)
    statement = update(deliveries).where(deliveries.c.id == row.id, *_of(due), *_WAITING)
    tx.connection.execute(statement.values(error=why, updated_at=now, commit_at=None))
    detail = {"destination": due.destination, "kind": row.kind.value, "attempt": due.attempt, "reason": why}
    tx.audit(
        AuditEvent(
            at=now,
            actor=ACTOR,
            action=AuditAction.COMMITMENT_GIVEN_UP,
            outcome=Outcome.MINOR_FAILURE,
            study_instance_uid=row.study_instance_uid,
            series_instance_uid=row.series_instance_uid,
            sop_instance_uid=row.sop_instance_uid,
            detail=detail,
        )
    )


_ENDED = {"commit_at": None, "commit_transaction_uid": None, "commit_attempt": 0}
_UNCOMMITTED = deliveries.c.state == DeliveryState.DELIVERED
_WAITING = (_UNCOMMITTED, deliveries.c.commit_at.is_not(None))


def _due(destination: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (*_WAITING, deliveries.c.destination == destination, deliveries.c.commit_at <= now)


def _of(due: CommitmentDue) -> tuple[ColumnElement[bool], ...]:
    return (deliveries.c.commit_transaction_uid == due.transaction_uid,)


def _due_of(rows: Sequence[Row[Any]], transaction_uid: str, attempt: int) -> CommitmentDue:
    return CommitmentDue(
        transaction_uid=transaction_uid,
        attempt=attempt,
        destination=rows[0].destination,
        study_instance_uid=rows[0].study_instance_uid,
        objects=tuple(DeliveredObject(r.id, r.attempt, r.sop_class_uid, r.sop_instance_uid) for r in rows),
    )


def _row(tx: Transaction, due: CommitmentDue, delivery_id: int) -> Row[Any]:
    mine = joined().where(deliveries.c.id == delivery_id, *_of(due), _UNCOMMITTED).with_for_update(of=deliveries)
    row = tx.connection.execute(mine).one_or_none()
    if row is None:
        raise StaleState(f"Another answer about delivery {delivery_id} to {due.destination} came first.")
    return row
