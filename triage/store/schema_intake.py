"""What came in: studies, associations, series, instances, and those that came twice with other content."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint, literal_column

from triage.domain.finding import ReasonCode
from triage.domain.lifecycle import SeriesState
from triage.store.schema_base import metadata, one_of, partial
from triage.store.types import CleanText, Identifier, Named, UtcDateTime


class AssociationEnd(StrEnum):
    """How an association ended: cleanly, broken off, or with the listener that held it."""

    RELEASED = "released"
    ABORTED = "aborted"
    LOST = "lost"


studies = Table(
    "studies",
    metadata,
    Column("study_instance_uid", Text, primary_key=True),
    Column("accession_number", CleanText, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("flagged_at", UtcDateTime),
    Column("files_removed_at", UtcDateTime),  # for their age, the last time
    Column("files_restored_at", UtcDateTime),  # when a file that was gone came again, the last time
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
    one_of("ended_how", AssociationEnd),
)
partial("ix_associations_open", associations.c.listener, where=associations.c.ended_at.is_(None))

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
    one_of("state", SeriesState),
)
partial("ix_series_assemble_at", series.c.assemble_at, where=series.c.state == literal_column("'receiving'"))
partial("ix_series_report_at", series.c.report_at, where=series.c.report_at.is_not(None))

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
