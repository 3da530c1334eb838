"""Every table, once, for SQLite and PostgreSQL. The DDL that makes them stands in ``migrations/``.

No column holds a patient's name or identifier: ``instances.header`` is an ``InstanceHeader``, which has neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    literal_column,
)

from triage.domain.account import Role
from triage.domain.audit import AuditAction, Outcome
from triage.domain.encoded import ObjectKind
from triage.domain.finding import ReasonCode, Urgency, WorklistStatus
from triage.domain.lifecycle import DeliveryState, JobState, SeriesState
from triage.domain.reading import Verdict
from triage.store.types import CleanText, Identifier, Named, UtcDateTime


class AssociationEnd(StrEnum):
    """How an association ended: cleanly, broken off, or with the listener that held it."""

    RELEASED = "released"
    ABORTED = "aborted"
    LOST = "lost"


def _one_of(column: str, members: Iterable[StrEnum]) -> CheckConstraint:
    values = ", ".join(f"'{member.value}'" for member in members)
    return CheckConstraint(f"{column} IN ({values})", name=column)


def _partial(name: str, *columns: Column[Any], where: ColumnElement[bool], unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

studies = Table(
    "studies",
    metadata,
    Column("study_instance_uid", Text, primary_key=True),
    Column("accession_number", CleanText, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("flagged_at", UtcDateTime),
)

associations = Table(
    "associations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("listener", Text, nullable=False),
    Column("calling_ae_title", CleanText, nullable=False),
    Column("called_ae_title", CleanText, nullable=False),
    Column("address", Text, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("ended_how", Named(AssociationEnd)),
    _one_of("ended_how", AssociationEnd),
)
_partial("ix_associations_open", associations.c.listener, where=associations.c.ended_at.is_(None))

series = Table(
    "series",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("study_instance_uid", Text, ForeignKey("studies.study_instance_uid"), nullable=False),
    Column("series_instance_uid", Text, nullable=False),
    Column("state", Named(SeriesState), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("reason", Named(ReasonCode)),
    Column("detail", CleanText),
    Column("candidate", Boolean, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("first_received_at", UtcDateTime, nullable=False),
    Column("last_received_at", UtcDateTime, nullable=False),
    Column("assemble_at", UtcDateTime),
    Column("report_at", UtcDateTime),  # when to look whether this refusal is to be reported as undetermined
    UniqueConstraint("study_instance_uid", "series_instance_uid"),
    _one_of("state", SeriesState),
)
_partial("ix_series_assemble_at", series.c.assemble_at, where=series.c.state == literal_column("'receiving'"))
_partial("ix_series_report_at", series.c.report_at, where=series.c.report_at.is_not(None))

instances = Table(
    "instances",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("sop_instance_uid", Text, nullable=False, unique=True),
    Column("series_id", Identifier, ForeignKey("series.id"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("blob_key", Text, nullable=False),
    Column("size_bytes", Identifier, nullable=False),
    Column("header", JSON, nullable=False),
    Column("association_id", Text, ForeignKey("associations.id"), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
)
Index("ix_instances_series_id", instances.c.series_id)
Index("ix_instances_association_id", instances.c.association_id)
Index("ix_instances_blob_key", instances.c.blob_key)

conflicts = Table(
    "conflicts",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("sop_instance_uid", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("blob_key", Text, nullable=False),
    Column("association_id", Text, ForeignKey("associations.id"), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    UniqueConstraint("sop_instance_uid", "digest"),
)
Index("ix_conflicts_blob_key", conflicts.c.blob_key)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("series_id", Identifier, ForeignKey("series.id"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("state", Named(JobState), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("deadline_at", UtcDateTime, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("lease", Text),
    Column("lease_owner", CleanText),
    Column("lease_until", UtcDateTime),
    Column("not_before", UtcDateTime),
    Column("error", CleanText),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    _one_of("state", JobState),
)
Index("ix_jobs_series_id", jobs.c.series_id)
_partial(
    "uq_jobs_live",
    jobs.c.series_id,
    where=jobs.c.state.in_([literal_column("'queued'"), literal_column("'running'")]),
    unique=True,
)
_partial(
    "ix_jobs_queued",
    jobs.c.priority,
    jobs.c.deadline_at,
    jobs.c.id,
    where=jobs.c.state == literal_column("'queued'"),
)
_partial("ix_jobs_lease_until", jobs.c.lease_until, where=jobs.c.state == literal_column("'running'"))

# A row of status not_analysed has a reason; its score, rule and volumes mean nothing.
results = Table(
    "results",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("series_id", Identifier, ForeignKey("series.id"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("bundle_digest", Text, nullable=False),
    Column("bundle", Text, nullable=False),
    Column("provisional", Boolean, nullable=False),
    Column("status", Named(WorklistStatus), nullable=False),
    Column("reason", Named(ReasonCode)),
    Column("score", Float, nullable=False),
    Column("rule", JSON, nullable=False),
    Column("subtypes", JSON, nullable=False),
    Column("total_volume_ml", Float, nullable=False),
    Column("key_slice", JSON(none_as_null=True)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("slice_scores", JSON(none_as_null=True)),  # the gate's probability of each slice of the sorted volume
    Column("shadow", Boolean, nullable=False, server_default=false()),  # made beside the result that counts
    UniqueConstraint("series_id", "revision", "bundle_digest"),
)

result_objects = Table(
    "result_objects",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("result_id", Identifier, ForeignKey("results.id"), nullable=False),
    Column("kind", Named(ObjectKind), nullable=False),
    Column("sop_class_uid", Text, nullable=False),
    Column("sop_instance_uid", Text, nullable=False, unique=True),
    Column("series_instance_uid", Text, nullable=False),
    Column("transfer_syntax_uid", Text, nullable=False),
    Column("blob_key", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
Index("ix_result_objects_result_id", result_objects.c.result_id)
Index("ix_result_objects_blob_key", result_objects.c.blob_key)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("object_id", Identifier, ForeignKey("result_objects.id"), nullable=False),
    Column("destination", Text, nullable=False),
    Column("state", Named(DeliveryState), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("lease", Text),
    Column("lease_owner", CleanText),
    Column("lease_until", UtcDateTime),
    Column("status", Integer),
    Column("error", CleanText),
    Column("commit_at", UtcDateTime),  # of a delivered object: when to ask next whether the archive keeps it
    Column("commit_transaction_uid", Text),
    Column("commit_attempt", Integer, nullable=False, server_default="0"),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("object_id", "destination"),
    _one_of("state", DeliveryState),
)
_partial(
    "ix_deliveries_pending",
    deliveries.c.destination,
    deliveries.c.next_attempt_at,
    where=deliveries.c.state == literal_column("'pending'"),
)
_partial("ix_deliveries_lease_until", deliveries.c.lease_until, where=deliveries.c.state == literal_column("'sending'"))
_partial(
    "ix_deliveries_commit_at",
    deliveries.c.destination,
    deliveries.c.commit_at,
    where=deliveries.c.commit_at.is_not(None),
)
Index("ix_deliveries_commit_transaction_uid", deliveries.c.commit_transaction_uid)
Index("ix_deliveries_state", deliveries.c.state, deliveries.c.destination, deliveries.c.updated_at)

worklist = Table(
    "worklist",
    metadata,
    Column("study_instance_uid", Text, ForeignKey("studies.study_instance_uid"), primary_key=True),
    Column("series_instance_uid", Text, nullable=False),
    Column("accession_number", CleanText, nullable=False),
    Column("status", Named(WorklistStatus), nullable=False),
    Column("provisional", Boolean, nullable=False),
    Column("reason", Named(ReasonCode)),
    Column("urgency", Named(Urgency), nullable=False),
    Column("score", Float),
    Column("subtypes", JSON, nullable=False),
    Column("total_volume_ml", Float),
    Column("key_slice", JSON(none_as_null=True)),
    Column("received_at", UtcDateTime, nullable=False),
    Column("flagged_at", UtcDateTime),
    Column("bundle", Text),
    Column("updated_at", UtcDateTime, nullable=False),
    # Where the images came from, and who looked.
    Column("scanner", CleanText),
    Column("slice_thickness_mm", Float),
    Column("opened_at", UtcDateTime),
    Column("opened_by", CleanText),
    Column("verdict", Named(Verdict)),
    Column("escalated_at", UtcDateTime),
)
Index(
    "ix_worklist_reading_order",
    worklist.c.status,
    worklist.c.urgency,
    worklist.c.received_at,
    worklist.c.study_instance_uid,
)
Index("ix_worklist_accession_number", worklist.c.accession_number)
Index("ix_worklist_received_at", worklist.c.received_at)
Index("ix_worklist_updated_at", worklist.c.updated_at)

readings = Table(
    "readings",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("study_instance_uid", Text, ForeignKey("studies.study_instance_uid"), nullable=False),
    Column("verdict", Named(Verdict), nullable=False),
    Column("note", CleanText, nullable=False),
    Column("reader", CleanText, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
Index("ix_readings_study_instance_uid", readings.c.study_instance_uid)
Index("ix_readings_at", readings.c.at)

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

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", Identifier, nullable=False),
    Column("digest", Text, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

bundles = Table(
    "bundles",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)

settings_of_record = Table(
    "settings_of_record",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("settings", JSON, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)

# Which bundle is to be used: "active" makes the results that count, "shadow" is run beside it and only recorded.
bundle_slots = Table(
    "bundle_slots",
    metadata,
    Column("slot", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("chosen_at", UtcDateTime, nullable=False),
    Column("chosen_by", CleanText, nullable=False),
)

# A process that lives says so every few seconds; its last row says when it ended, and whether cleanly.
heartbeats = Table(
    "heartbeats",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("detail", JSON, nullable=False),
)

# Destinations and lists as the senders last found them.
links = Table(
    "links",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("up", Boolean, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("error", CleanText),
)

users = Table(
    "users",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("name", CleanText, nullable=False, unique=True),
    Column("role", Named(Role), nullable=False),
    Column("password_hash", Text),  # none: signs in by OpenID Connect only
    Column("subject", Text, unique=True),  # issuer and subject of OpenID Connect
    Column("created_at", UtcDateTime, nullable=False),
    Column("disabled_at", UtcDateTime),
    _one_of("role", Role),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", Text, primary_key=True),  # SHA-256 of the cookie, which is nowhere kept
    Column("user_id", Identifier, ForeignKey("users.id"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)
Index("ix_sessions_user_id", sessions.c.user_id)

tokens = Table(
    "tokens",
    metadata,
    Column("digest", Text, primary_key=True),  # SHA-256 of the token, which is nowhere kept
    Column("name", CleanText, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)

# Failed logins by name and by address; also of names that no user has.
login_failures = Table(
    "login_failures",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("locked_until", UtcDateTime),
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
