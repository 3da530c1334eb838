"""Read the audit log, and prove that it is whole. Writing it is part of every transaction (``tx.audit``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select, true

from triage.domain.audit import GENESIS, AuditAction, AuditEvent, AuditRecord, Outcome, action_named, row_digest
from triage.domain.errors import AuditBroken
from triage.store.audit_stored import Spoilt, instant, stored, stored_text
from triage.store.db import Database
from triage.store.schema import audit, audit_head
from triage.store.transaction import Transaction

_STORED = stored(audit.columns)

CHUNK_ROWS = 1000
PROGRESS_ROWS = 10_000

_NO_EVENT = (ValueError, TypeError, AttributeError, RecursionError)
"""What reading raises where the fields of a row make no event."""


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that holds no event of this release: somebody else wrote there, or a later release did."""

    sequence: int


AuditRow = AuditRecord | UnreadableRow

UNREADABLE = "this row cannot be read: it is not as it was written, or a later release wrote it; verifying tells"


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows are looked for; what is None does not matter."""

    action: AuditAction | None = None
    outcome: Outcome | None = None
    actor: str | None = None
    study_instance_uid: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The filter as SQL."""
        equal = {
            audit.c.action: self.action,
            audit.c.outcome: self.outcome,
            audit.c.actor: self.actor,
            audit.c.study_instance_uid: self.study_instance_uid,
        }
        wanted = [column == value for column, value in equal.items() if value is not None]
        if self.since is not None:
            wanted.append(audit.c.at >= self.since)
        if self.until is not None:
            wanted.append(audit.c.at < self.until)
        return wanted


def page(tx: Transaction, wanted: AuditFilter, *, before: int | None, limit: int) -> list[AuditRow]:
    """Rows that pass the filter, newest first, from below ``before`` on."""
    query = select(*_STORED).where(*wanted.conditions())
    if before is not None:
        query = query.where(audit.c.sequence < before)
    return [_row(row) for row in tx.connection.execute(query.order_by(audit.c.sequence.desc()).limit(limit))]


def rows_between(tx: Transaction, wanted: AuditFilter, *, after: int, last: int, limit: int) -> list[AuditRow]:
    """Rows that pass the filter, oldest first, after one and up to ``last``."""
    here = (audit.c.sequence > after, audit.c.sequence <= last)
    query = select(*_STORED).where(*here, *wanted.conditions()).order_by(audit.c.sequence).limit(limit)
    return [_row(row) for row in tx.connection.execute(query)]


def in_chunks(db: Database, wanted: AuditFilter, last: int) -> Iterator[list[AuditRow]]:
    """Rows that pass the filter up to ``last``, oldest first; no transaction stays open between two chunks."""
    after = 0
    while True:
        with db.read() as tx:
            rows = rows_between(tx, wanted, after=after, last=last, limit=CHUNK_ROWS)
        if rows:
            yield rows
            after = rows[-1].sequence
        if len(rows) < CHUNK_ROWS:
            return


def rows_after(tx: Transaction, sequence: int, limit: int) -> list[AuditRow]:
    """The rows that follow one, in the order of the log."""
    query = select(*_STORED).where(audit.c.sequence > sequence).order_by(audit.c.sequence).limit(limit)
    return [_row(row) for row in tx.connection.execute(query)]


def rows_before(
    tx: Transaction, sequence: int, actions: Collection[AuditAction], *, above: int = 0
) -> Iterator[AuditRow]:
    """The rows of some actions before one, the nearest first; none up to ``above``."""
    here = (audit.c.sequence < sequence, audit.c.sequence > above)
    query = select(*_STORED).where(*here, audit.c.action.in_(actions))
    nearest_first = query.order_by(audit.c.sequence.desc())
    with tx.connection.execute(nearest_first, execution_options={"yield_per": 50}) as found:
        for row in found:
            yield _row(row)


def head(tx: Transaction) -> tuple[int, str]:
    """Number and digest of the newest row.

    Raises
    ------
    AuditBroken
        The head of the chain is missing.
    """
    found = tx.connection.execute(select(audit_head.c.sequence, audit_head.c.digest)).one_or_none()
    if found is None:
        raise AuditBroken("The audit log is broken: its head is missing.")
    return found.sequence, found.digest


def digest_at(tx: Transaction, sequence: int) -> str | None:
    """The digest that stands in a row; None where there is no such row."""
    found = select(stored_text(audit.c.digest)).where(audit.c.sequence == sequence)
    return tx.connection.execute(found).scalar_one_or_none()


def records(tx: Transaction, *, study_instance_uid: str | None = None, limit: int | None = None) -> list[AuditRecord]:
    """The events of the log in their order, or those of a study; with ``limit``, the latest that many.

    A row that cannot be read is left out: one that was spoilt must not hide a study. The log itself (``page``,
    ``in_chunks``) names it.
    """
    wanted = select(*_STORED).order_by(audit.c.sequence.desc())
    if study_instance_uid is not None:
        wanted = wanted.where(audit.c.study_instance_uid == study_instance_uid)
    if limit is not None:
        wanted = wanted.limit(limit)
    rows = [_row(row) for row in tx.connection.execute(wanted)][::-1]
    return [row for row in rows if isinstance(row, AuditRecord)]


def verify(tx: Transaction, progress: Callable[[int], None] = lambda _: None) -> int:
    """Follow the chain from its first row to its head, and return the number of its last row.

    Finds rows that were changed, removed, inserted or put in another order, and a tail that was cut off.
    Whoever can write to the database and knows this code can forge a whole new chain; that takes signed
    checkpoints to see (`services.checkpoint`). ``progress`` is told the number of a row now and then.

    Raises
    ------
    AuditBroken
        Names the first row that does not follow from the one before.
    """
    # One statement sees one moment, also while others append.
    chained: Select[Any] = select(
        *_STORED, audit_head.c.sequence.label("head"), stored_text(audit_head.c.digest).label("head_digest")
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
            if sequence % PROGRESS_ROWS == 0:
                progress(sequence)
    if head is None:
        raise AuditBroken("The audit log is broken: its head is missing.")
    if (head, head_digest) != (sequence, previous):
        raise AuditBroken(
            f"The audit log is broken at row {min(head, sequence) + 1}: the chain should end with row {head}, "
            f"and it ends with row {sequence}."
        )
    return sequence


def _expected(row: Row[Any], previous: str) -> str | None:
    """The digest that belongs to what stands in a row; names that a later release gave need mean nothing here."""
    if any(isinstance(value, Spoilt) for value in row):
        return None
    try:
        return row_digest(previous, row.sequence, _fields(row))
    except _NO_EVENT:
        return None


def _row(row: Row[Any]) -> AuditRow:
    try:
        fields = _fields(row)
        event = AuditEvent(**{**fields, "action": action_named(row.action), "outcome": Outcome(row.outcome)})
    except _NO_EVENT:
        return UnreadableRow(row.sequence)
    return AuditRecord(row.sequence, row.previous, row.digest, event)


def _fields(row: Row[Any]) -> dict[str, Any]:
    """The fields of an event as they are stored."""
    return {
        "at": instant(row.at),
        "actor": row.actor,
        "action": row.action,
        "outcome": row.outcome,
        "study_instance_uid": row.study_instance_uid,
        "series_instance_uid": row.series_instance_uid,
        "sop_instance_uid": row.sop_instance_uid,
        "detail": json.loads(row.detail),
    }
