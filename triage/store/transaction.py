"""One unit of work: a connection inside a transaction, and the audit events that are committed with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from triage.domain.audit import AuditEvent, chain_digest
from triage.domain.errors import AuditBroken
from triage.store.schema import audit, audit_head
from triage.store.types import clean


class Transaction:
    """What every store function takes first.

    Audit events are kept back until the transaction is about to commit: the head of the chain is one row that
    every audited transaction must lock, so it is locked last and for the shortest time.
    """

    def __init__(self, connection: Connection, *, writes: bool = True) -> None:
        self.connection = connection
        self._writes = writes
        self._events: list[AuditEvent] = []

    def audit(self, event: AuditEvent) -> None:
        """Have this event written in the same commit as everything else."""
        if not self._writes:
            raise ValueError("a reading transaction leaves no audit row; use Database.transaction()")
        self._events.append(_storable(event))

    def insert_new(self, table: Table, **values: Any) -> Any:
        """Insert a row; its primary key, or None where a unique constraint already holds such a row."""
        dialect = postgresql if self.connection.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(table).values(**values).on_conflict_do_nothing()
        return self.connection.execute(statement.returning(*table.primary_key.columns)).scalar_one_or_none()

    def append_audit(self) -> None:
        """Chain the events onto the log; called once, just before the commit."""
        if self._events:
            _append(self.connection, self._events)
            self._events = []


def _storable(event: AuditEvent) -> AuditEvent:
    """The event as it can be read back, for its digest is made from what is stored."""
    uids = (event.study_instance_uid, event.series_instance_uid, event.sop_instance_uid)
    study, series, sop = (None if uid is None else clean(uid) for uid in uids)
    return replace(
        event, actor=clean(event.actor), study_instance_uid=study, series_instance_uid=series, sop_instance_uid=sop
    )


def _append(connection: Connection, events: Sequence[AuditEvent]) -> None:
    head = connection.execute(select(audit_head.c.sequence, audit_head.c.digest).with_for_update()).one_or_none()
    if head is None:
        raise AuditBroken("The audit log has lost its head row; restore the database from a backup.")
    sequence, previous = int(head.sequence), str(head.digest)
    rows = []
    for event in events:
        sequence += 1
        digest = chain_digest(previous, sequence, event)
        rows.append(
            {
                "sequence": sequence,
                "at": event.at,
                "actor": event.actor,
                "action": event.action,
                "outcome": event.outcome,
                "study_instance_uid": event.study_instance_uid,
                "series_instance_uid": event.series_instance_uid,
                "sop_instance_uid": event.sop_instance_uid,
                "detail": json.dumps(dict(event.detail), sort_keys=True),
                "previous": previous,
                "digest": digest,
            }
        )
        previous = digest
    connection.execute(audit.insert(), rows)
    connection.execute(update(audit_head).values(sequence=sequence, digest=previous))
