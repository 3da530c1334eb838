"""The audit log: its chain, signed checkpoints, and how far it was told."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, Table, Text

from triage.domain.audit import AuditAction, Outcome
from triage.store.schema_base import metadata
from triage.store.types import CleanText, Identifier, Named, UtcDateTime

audit = Table(
    "audit",
    metadata,
    Column("sequence", Identifier, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Named(AuditAction), nullable=False),
    Column("outcome", Named(Outcome), nullable=False),
    Column("study_instance_uid", Text),
    Column("series_instance_uid", Text),
    Column("sop_instance_uid", Text),
    Column("detail", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
)
Index("ix_audit_study_instance_uid", audit.c.study_instance_uid)
Index("ix_audit_at", audit.c.at)
Index("ix_audit_action", audit.c.action, audit.c.sequence)
Index("ix_audit_actor", audit.c.actor, audit.c.sequence)
Index("ix_audit_outcome", audit.c.outcome, audit.c.sequence)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", Identifier, nullable=False),
    Column("digest", Text, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# How far each receiver of audit messages has been sent the log.
audit_forward = Table(
    "audit_forward",
    metadata,
    Column("receiver", Text, primary_key=True),
    Column("sequence", Identifier, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("error", CleanText),
    Column("lease_owner", CleanText),  # of several senders one forwards: two would say everything twice
    Column("lease_until", UtcDateTime),
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("sequence", Identifier, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("signature", Text, nullable=False),
)
