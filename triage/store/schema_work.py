"""What is made of it: jobs, results and their objects, deliveries, and the worklist."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    false,
    literal_column,
)

from triage.domain.encoded import ObjectKind
from triage.domain.finding import ReasonCode, Urgency, WorklistStatus
from triage.domain.lifecycle import DeliveryState, JobState
from triage.domain.reading import Verdict
from triage.store.schema_base import metadata, one_of, partial
from triage.store.types import CleanText, Identifier, Named, UtcDateTime

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
    one_of("state", JobState),
)
Index("ix_jobs_series_id", jobs.c.series_id)
partial(
    "uq_jobs_live",
    jobs.c.series_id,
    where=jobs.c.state.in_([literal_column("'queued'"), literal_column("'running'")]),
    unique=True,
)
partial(
    "ix_jobs_queued",
    jobs.c.priority,
    jobs.c.deadline_at,
    jobs.c.id,
    where=jobs.c.state == literal_column("'queued'"),
)
partial("ix_jobs_lease_until", jobs.c.lease_until, where=jobs.c.state == literal_column("'running'"))

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
    one_of("state", DeliveryState),
)
partial(
    "ix_deliveries_pending",
    deliveries.c.destination,
    deliveries.c.next_attempt_at,
    where=deliveries.c.state == literal_column("'pending'"),
)
partial("ix_deliveries_lease_until", deliveries.c.lease_until, where=deliveries.c.state == literal_column("'sending'"))
partial(
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
