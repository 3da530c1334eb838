"""The pages: who reads, who looked, which roles live, and how far the audit log was sent."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.add_column("results", sa.Column("slice_scores", sa.JSON()))
    op.add_column("results", sa.Column("shadow", sa.Boolean(), nullable=False, server_default=sa.false()))
    _worklist()
    op.create_index("ix_deliveries_state", "deliveries", ["state", "destination", "updated_at"])
    op.create_table(
        "readings",
        sa.Column("id", NUMBER),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_readings"),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"], ["studies.study_instance_uid"], name="fk_readings_study_instance_uid"
        ),
    )
    op.create_index("ix_readings_study_instance_uid", "readings", ["study_instance_uid"])
    op.create_index("ix_readings_at", "readings", ["at"])
    op.create_table(
        "bundle_slots",
        sa.Column("slot", sa.Text()),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("chosen_at", INSTANT, nullable=False),
        sa.Column("chosen_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("slot", name="pk_bundle_slots"),
    )
    op.create_table(
        "heartbeats",
        sa.Column("owner", sa.Text()),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_heartbeats"),
    )
    op.create_table(
        "links",
        sa.Column("destination", sa.Text()),
        sa.Column("up", sa.Boolean(), nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("destination", name="pk_links"),
    )
    _people()
    op.create_index("ix_audit_action", "audit", ["action", "sequence"])
    op.create_table(
        "audit_forward",
        sa.Column("receiver", sa.Text()),
        sa.Column("sequence", NUMBER, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("lease_until", INSTANT),
        sa.PrimaryKeyConstraint("receiver", name="pk_audit_forward"),
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("sequence", NUMBER, autoincrement=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit_checkpoints"),
    )


def _worklist() -> None:
    for name, type_ in (
        ("scanner", sa.Text()),
        ("slice_thickness_mm", sa.Float()),
        ("opened_at", INSTANT),
        ("opened_by", sa.Text()),
        ("verdict", sa.Text()),
        ("escalated_at", INSTANT),
    ):
        op.add_column("worklist", sa.Column(name, type_))
    op.create_index("ix_worklist_reading_order", "worklist", ["status", "urgency", "received_at", "study_instance_uid"])
    op.create_index("ix_worklist_accession_number", "worklist", ["accession_number"])
    op.create_index("ix_worklist_received_at", "worklist", ["received_at"])
    op.create_index("ix_worklist_updated_at", "worklist", ["updated_at"])


def _people() -> None:
    op.create_table(
        "users",
        sa.Column("id", NUMBER),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("subject", sa.Text()),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("disabled_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
        sa.UniqueConstraint("subject", name="uq_users_subject"),
        sa.CheckConstraint("role IN ('radiologist', 'administrator', 'service')", name="role"),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.Text()),
        sa.Column("user_id", NUMBER, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_table(
        "tokens",
        sa.Column("digest", sa.Text()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("revoked_at", INSTANT),
        sa.PrimaryKeyConstraint("digest", name="pk_tokens"),
        sa.UniqueConstraint("name", name="uq_tokens_name"),
    )
    op.create_table(
        "login_failures",
        sa.Column("subject", sa.Text()),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", INSTANT, nullable=False),
        sa.Column("locked_until", INSTANT),
        sa.PrimaryKeyConstraint("subject", name="pk_login_failures"),
    )
