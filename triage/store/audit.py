"""Read the audit log, and prove that it is whole. Writing it is part of every transaction (``tx.audit``)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Text, select, true, type_coerce

from triage.domain.audit import GENESIS, AuditAction, AuditEvent, AuditRecord, Outcome, chain_digest
from triage.domain.errors import AuditBroken
from triage.store.schema import audit, audit_head
from triage.store.transaction import Transaction

_UNREAD: list[ColumnElement[Any]] = [
    type_coerce(column, Text).label(column.name) if column.name in ("at", "action", "outcome") else column
    for column in audit.columns
]
"""The columns as the driver gives them: what a forger wrote there must not stop the reading of the rest."""


def records(
    tx: Transaction,
    *,
    since: datetime | None = None,
    study_instance_uid: str | None = None,
    limit: int | None = None,
) -> list[AuditRecord]:
    """Rows of the log in their order; with ``limit``, the latest that many."""
    wanted = select(audit).order_by(audit.c.sequence.desc())
    if since is not None:
        wanted = wanted.where(audit.c.at >= since)
    if study_instance_uid is not None:
        wanted = wanted.where(audit.c.study_instance_uid == study_instance_uid)
    if limit is not None:
        wanted = wanted.limit(limit)
    return [_record(row) for row in tx.connection.execute(wanted)][::-1]


def verify(tx: Transaction) -> int:
    """Follow the chain from its first row to its head, and return how many rows it has.

    Finds rows that were changed, removed, inserted or put in another order, and a tail that was cut off.
    Whoever can write to the database and knows this code can forge a whole new chain; that takes a copy of
    the head's digest kept elsewhere to see.

    Raises
    ------
    AuditBroken
        Names the first row that does not follow from the one before.
    """
    # One statement sees one moment, also while others append.
    chained: Select[Any] = select(
        *_UNREAD, audit_head.c.sequence.label("head"), audit_head.c.digest.label("head_digest")
    )
    chained = chained.select_from(audit_head.outerjoin(audit, true())).order_by(audit.c.sequence)
    head, head_digest = None, ""
    sequence, previous = 0, GENESIS
    with tx.connection.execute(chained, execution_options={"yield_per": 1000}) as found:
        for row in found:
            head, head_digest = row.head, row.head_digest
            if row.sequence is None:
                break
            sequence += 1
            if row.sequence != sequence:
                raise AuditBroken(f"The audit log is broken at row {sequence}: it is missing.")
            if row.previous != previous or row.digest != _expected(row, previous):
                raise AuditBroken(f"The audit log is broken at row {sequence}: it is not the row that was written.")
            previous = row.digest
    if head is None:
        raise AuditBroken("The audit log is broken: its head is missing.")
    if (head, head_digest) != (sequence, previous):
        raise AuditBroken(
            f"The audit log is broken at row {min(head, sequence) + 1}: the chain should end with row {head}, "
            f"and it ends with row {sequence}."
        )
    return sequence


def _expected(row: Row[Any], previous: str) -> str | None:
    try:
        return chain_digest(previous, row.sequence, _event(row, at=_instant(row.at)))
    except (ValueError, TypeError, AttributeError):
        return None  # what stands there is no event


def _instant(stored: datetime | str) -> datetime:
    """SQLite gives text in UTC, PostgreSQL an aware instant."""
    return datetime.fromisoformat(stored).replace(tzinfo=UTC) if isinstance(stored, str) else stored


def _record(row: Row[Any]) -> AuditRecord:
    return AuditRecord(row.sequence, row.previous, row.digest, _event(row, at=row.at))


def _event(row: Row[Any], at: datetime) -> AuditEvent:
    return AuditEvent(
        at=at,
        actor=row.actor,
        action=AuditAction(row.action),
        outcome=Outcome(row.outcome),
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        sop_instance_uid=row.sop_instance_uid,
        detail=json.loads(row.detail),
    )
