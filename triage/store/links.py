"""Links: which destinations answer, as the senders last found them. One that has always answered has no row."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update

from triage.domain.downtime import Link
from triage.store.schema import links
from triage.store.transaction import Transaction


def down(tx: Transaction, destination: str, error: str, now: datetime) -> None:
    """Put down that nobody answers; since when stays as it was first found."""
    mine = links.c.destination == destination
    known = tx.connection.execute(select(links.c.up).where(mine).with_for_update()).scalar_one_or_none()
    if known is None:
        tx.insert_new(links, destination=destination, up=False, since=now, error=error)
    elif known:
        tx.connection.execute(update(links).where(mine).values(up=False, since=now, error=error))
    else:
        tx.connection.execute(update(links).where(mine).values(error=error))


def up(tx: Transaction, destination: str, now: datetime) -> None:
    """Put down that a destination answers again."""
    mine = links.c.destination == destination
    tx.connection.execute(update(links).where(mine, links.c.up.is_(False)).values(up=True, since=now, error=None))


def is_down(tx: Transaction, destination: str) -> bool:
    """Whether somebody found that this destination does not answer."""
    known = tx.connection.execute(select(links.c.up).where(links.c.destination == destination)).scalar_one_or_none()
    return known is False


def known(tx: Transaction) -> list[Link]:
    """Every destination that has been down, by name."""
    found = tx.connection.execute(select(links).order_by(links.c.destination))
    return [Link(row.destination, row.up, row.since, row.error) for row in found]
