"""How far each receiver of audit messages has been told the log. The log itself is the spool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update

from triage.domain.errors import NotFound, StaleState
from triage.store.schema import audit_forward, audit_head
from triage.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class ForwardState:
    """What one receiver has: every row up to ``sequence``; ``waiting`` are still to come. ``error`` is the trouble."""

    receiver: str
    sequence: int
    waiting: int
    updated_at: datetime
    error: str | None


def claim(tx: Transaction, receiver: str, *, owner: str, now: datetime, lease_seconds: float) -> int | None:
    """Be the one who tells a receiver; the last row that it has, or None while somebody else tells it.

    A receiver that nobody has told anything begins at the first row. Claiming again keeps the lease longer.
    """
    tx.insert_new(audit_forward, receiver=receiver, sequence=0, updated_at=now)
    free = or_(
        audit_forward.c.lease_owner.is_(None),
        audit_forward.c.lease_owner == owner,
        audit_forward.c.lease_until < now,
    )
    claimed = tx.connection.execute(
        update(audit_forward)
        .where(audit_forward.c.receiver == receiver, free)
        .values(lease_owner=owner, lease_until=now + timedelta(seconds=lease_seconds))
        .returning(audit_forward.c.sequence)
    ).scalar_one_or_none()
    return None if claimed is None else int(claimed)


def advance(tx: Transaction, receiver: str, *, owner: str, start: int, to: int, now: datetime) -> None:
    """The receiver has the rows up to ``to``.

    Raises
    ------
    StaleState
        Somebody else tells this receiver now, or a person moved its place.
    """
    moved = tx.connection.execute(
        update(audit_forward)
        .where(
            audit_forward.c.receiver == receiver,
            audit_forward.c.lease_owner == owner,
            audit_forward.c.sequence == start,
        )
        .values(sequence=to, updated_at=now, error=None)
    )
    if moved.rowcount != 1:
        raise StaleState("Somebody else forwards the audit log to this receiver now.")


def failed(tx: Transaction, receiver: str, *, owner: str, error: str | None, now: datetime) -> None:
    """Keep what is wrong with the way to a receiver, or that nothing is."""
    tx.connection.execute(
        update(audit_forward)
        .where(audit_forward.c.receiver == receiver, audit_forward.c.lease_owner == owner)
        .values(error=error, updated_at=now)
    )


def release(tx: Transaction, receiver: str, *, owner: str) -> None:
    """Let another sender go on at once."""
    tx.connection.execute(
        update(audit_forward)
        .where(audit_forward.c.receiver == receiver, audit_forward.c.lease_owner == owner)
        .values(lease_owner=None, lease_until=None)
    )


def rewind(tx: Transaction, receiver: str, to: int, now: datetime) -> None:
    """Have the rows after ``to`` told again, as when the receiver lost them.

    Raises
    ------
    NotFound
        Nothing has been told to this receiver yet.
    """
    moved = tx.connection.execute(
        update(audit_forward)
        .where(audit_forward.c.receiver == receiver, audit_forward.c.sequence > to)
        .values(sequence=to, updated_at=now)
    )
    if moved.rowcount != 1:
        raise NotFound(f"{receiver} has not been told of the rows after {to} yet; there is nothing to send again.")


def states(tx: Transaction) -> Sequence[ForwardState]:
    """Every receiver that was ever told anything."""
    head = select(audit_head.c.sequence).scalar_subquery()
    found = tx.connection.execute(
        select(audit_forward, (head - audit_forward.c.sequence).label("waiting")).order_by(audit_forward.c.receiver)
    )
    return [ForwardState(row.receiver, row.sequence, row.waiting, row.updated_at, row.error) for row in found]
