"""First schema: everything that the main job needs."""

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
GENESIS = "0" * 64


def upgrade() -> None:
    _intake()
    _work()
    _record()


def _instant(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _number(name: str) -> sa.Column:
    return sa.Column(name, NUMBER, nullable=False)


def _primary(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=f"uq_{table}_{'_'.join(columns)}")


def _foreign(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")


def _one_of(table: str, column: str, values: Iterable[str]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(f"ck_{table}_{column}"))


def _index(name: str, table: str, *columns: str, where: str | None = None, unique: bool = False) -> None:
    partial = {"sqlite_where": sa.text(where), "postgresql_where": sa.text(where)} if where else {}
    op.create_index(name, table, list(columns), unique=unique, **partial)


def _intake() -> None:
    op.create_table(
        "studies",
        _text("study_instance_uid"),
        _text("accession_number"),
        _instant("received_at"),
        _instant("flagged_at", nullable=True),
        _primary("studies", "study_instance_uid"),
    )
    op.create_table(
        "associations",
        _text("id"),
        _text("listener"),
        _text("calling_ae_title"),
        _text("called_ae_title"),
        _text("address"),
        _instant("opened_at"),
        _instant("ended_at", nullable=True),
        _text("ended_how", nullable=True),
        _primary("associations", "id"),
        _one_of("associations", "ended_how", ("released", "aborted", "lost")),
    )
    _index("ix_associations_open", "associations", "listener", where="ended_at IS NULL")
    op.create_table(
        "series",
        _number("id"),
        _text("study_instance_uid"),
        _text("series_instance_uid"),
        _text("state"),
        sa.Column("revision", sa.Integer(), nullable=False),
        _text("reason", nullable=True),
        _text("detail", nullable=True),
        sa.Column("candidate", sa.Boolean(), nullable=False),
        _instant("received_at"),
        _instant("first_received_at"),
        _instant("last_received_at"),
        _instant("assemble_at", nullable=True),
        _primary("series", "id"),
        _unique("series", "study_instance_uid", "series_instance_uid"),
        _foreign("series", "study_instance_uid", "studies.study_instance_uid"),
        _one_of("series", "state", ("receiving", "stable", "passed_over", "unusable", "analysed")),
    )
    _index("ix_series_assemble_at", "series", "assemble_at", where="state = 'receiving'")
    op.create_table(
        "instances",
        _number("id"),
        _text("sop_instance_uid"),
        _number("series_id"),
        sa.Column("revision", sa.Integer(), nullable=False),
        _text("digest"),
        _text("blob_key"),
        _number("size_bytes"),
        sa.Column("header", sa.JSON(), nullable=False),
        _text("association_id"),
        _instant("received_at"),
        _primary("instances", "id"),
        _unique("instances", "sop_instance_uid"),
        _foreign("instances", "series_id", "series.id"),
        _foreign("instances", "association_id", "associations.id"),
    )
    for column in ("series_id", "association_id", "blob_key"):
        _index(f"ix_instances_{column}", "instances", column)
    op.create_table(
        "conflicts",
        _number("id"),
        _text("sop_instance_uid"),
        _text("digest"),
        _text("blob_key"),
        _text("association_id"),
        _instant("received_at"),
        _primary("conflicts", "id"),
        _unique("conflicts", "sop_instance_uid", "digest"),
        _foreign("conflicts", "association_id", "associations.id"),
    )
    _index("ix_conflicts_blob_key", "conflicts", "blob_key")


def _work() -> None:
    op.create_table(
        "jobs",
        _number("id"),
        _number("series_id"),
        sa.Column("revision", sa.Integer(), nullable=False),
        _text("state"),
        sa.Column("priority", sa.Integer(), nullable=False),
        _instant("deadline_at"),
        sa.Column("attempt", sa.Integer(), nullable=False),
        _text("lease", nullable=True),
        _text("lease_owner", nullable=True),
        _instant("lease_until", nullable=True),
        _instant("not_before", nullable=True),
        _text("error", nullable=True),
        _instant("created_at"),
        _instant("started_at", nullable=True),
        _instant("finished_at", nullable=True),
        _primary("jobs", "id"),
        _foreign("jobs", "series_id", "series.id"),
        _one_of("jobs", "state", ("queued", "running", "succeeded", "failed", "cancelled")),
    )
    _index("ix_jobs_series_id", "jobs", "series_id")
    _index("uq_jobs_live", "jobs", "series_id", where="state IN ('queued', 'running')", unique=True)
    _index("ix_jobs_queued", "jobs", "priority", "deadline_at", "id", where="state = 'queued'")
    _index("ix_jobs_lease_until", "jobs", "lease_until", where="state = 'running'")
    op.create_table(
        "results",
        _number("id"),
        _number("series_id"),
        sa.Column("revision", sa.Integer(), nullable=False),
        _text("bundle_digest"),
        _text("bundle"),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        _text("status"),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("rule", sa.JSON(), nullable=False),
        sa.Column("subtypes", sa.JSON(), nullable=False),
        sa.Column("total_volume_ml", sa.Float(), nullable=False),
        sa.Column("key_slice", sa.JSON(), nullable=True),
        _instant("created_at"),
        _instant("finished_at", nullable=True),
        _primary("results", "id"),
        _unique("results", "series_id", "revision", "bundle_digest"),
        _foreign("results", "series_id", "series.id"),
    )
    op.create_table(
        "result_objects",
        _number("id"),
        _number("result_id"),
        _text("kind"),
        _text("sop_class_uid"),
        _text("sop_instance_uid"),
        _text("series_instance_uid"),
        _text("transfer_syntax_uid"),
        _text("blob_key"),
        _text("digest"),
        _instant("created_at"),
        _primary("result_objects", "id"),
        _unique("result_objects", "sop_instance_uid"),
        _foreign("result_objects", "result_id", "results.id"),
    )
    _index("ix_result_objects_result_id", "result_objects", "result_id")
    _index("ix_result_objects_blob_key", "result_objects", "blob_key")
    op.create_table(
        "deliveries",
        _number("id"),
        _number("object_id"),
        _text("destination"),
        _text("state"),
        sa.Column("attempt", sa.Integer(), nullable=False),
        _instant("next_attempt_at"),
        _text("lease", nullable=True),
        _text("lease_owner", nullable=True),
        _instant("lease_until", nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        _text("error", nullable=True),
        _instant("updated_at"),
        _primary("deliveries", "id"),
        _unique("deliveries", "object_id", "destination"),
        _foreign("deliveries", "object_id", "result_objects.id"),
        _one_of("deliveries", "state", ("pending", "sending", "delivered", "committed", "failed")),
    )
    _index("ix_deliveries_pending", "deliveries", "destination", "next_attempt_at", where="state = 'pending'")
    _index("ix_deliveries_lease_until", "deliveries", "lease_until", where="state = 'sending'")


def _record() -> None:
    op.create_table(
        "worklist",
        _text("study_instance_uid"),
        _text("series_instance_uid"),
        _text("accession_number"),
        _text("status"),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        _text("reason", nullable=True),
        _text("urgency"),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("subtypes", sa.JSON(), nullable=False),
        sa.Column("total_volume_ml", sa.Float(), nullable=True),
        sa.Column("key_slice", sa.JSON(), nullable=True),
        _instant("received_at"),
        _instant("flagged_at", nullable=True),
        _text("bundle", nullable=True),
        _instant("updated_at"),
        _primary("worklist", "study_instance_uid"),
        _foreign("worklist", "study_instance_uid", "studies.study_instance_uid"),
    )
    op.create_table(
        "audit",
        sa.Column("sequence", NUMBER, nullable=False, autoincrement=False),
        _instant("at"),
        _text("actor"),
        _text("action"),
        _text("outcome"),
        _text("study_instance_uid", nullable=True),
        _text("series_instance_uid", nullable=True),
        _text("sop_instance_uid", nullable=True),
        _text("detail"),
        _text("previous"),
        _text("digest"),
        _primary("audit", "sequence"),
    )
    _index("ix_audit_study_instance_uid", "audit", "study_instance_uid")
    _index("ix_audit_at", "audit", "at")
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        _number("sequence"),
        _text("digest"),
        _primary("audit_head", "id"),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_one_row")),
    )
    op.bulk_insert(head, [{"id": 1, "sequence": 0, "digest": GENESIS}])
    op.create_table(
        "bundles",
        _text("digest"),
        _text("name"),
        _text("version"),
        sa.Column("manifest", sa.JSON(), nullable=False),
        _instant("recorded_at"),
        _primary("bundles", "digest"),
    )
    op.create_table(
        "settings_of_record",
        _text("digest"),
        sa.Column("settings", sa.JSON(), nullable=False),
        _instant("recorded_at"),
        _primary("settings_of_record", "digest"),
    )
