"""Heartbeats: each process of the daemon says that it lives, and with its last one that it ends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_, select, update

from triage.domain.downtime import Heartbeat
from triage.store.schema import heartbeats
from triage.store.transaction import Transaction

FORGOTTEN_AFTER = timedelta(days=2)
"""So long a process that is gone is remembered while another of its role runs."""

_STOPPED = "stopped"


def beat(tx: Transaction, heartbeat: Heartbeat) -> None:
    """Put down a sign of life in the place of the last one of the same owner."""
    values: dict[str, Any] = {
        "role": heartbeat.role,
        "started_at": heartbeat.started_at,
        "at": heartbeat.at,
        "detail": {**heartbeat.detail, _STOPPED: heartbeat.stopped},
    }
    mine = heartbeats.c.owner == heartbeat.owner
    written = tx.connection.execute(update(heartbeats).where(mine).values(**values).returning(heartbeats.c.owner))
    if written.first() is None:
        tx.insert_new(heartbeats, owner=heartbeat.owner, **values)


def forget(tx: Transaction, *, role: str, host: str, silent_since: datetime, now: datetime) -> None:
    """Remove what a role left behind, now that it runs again: on this host, and what is long gone anywhere."""
    gone = or_(
        heartbeats.c.owner.startswith(f"{host}/", autoescape=True) & (heartbeats.c.at < silent_since),
        heartbeats.c.at < now - FORGOTTEN_AFTER,
    )
    tx.connection.execute(delete(heartbeats).where(heartbeats.c.role == role, gone))


def seen(tx: Transaction) -> list[Heartbeat]:
    """The last sign of life of every process that is remembered, by role and owner."""
    found = tx.connection.execute(select(heartbeats).order_by(heartbeats.c.role, heartbeats.c.owner))
    return [_heartbeat(row.owner, row.role, row.started_at, row.at, row.detail) for row in found]


def _heartbeat(owner: str, role: str, started_at: datetime, at: datetime, detail: Mapping[str, object]) -> Heartbeat:
    rest = {key: value for key, value in detail.items() if key != _STOPPED}
    return Heartbeat(owner, role, started_at, at, bool(detail.get(_STOPPED, False)), rest)
