"""Storage commitment of deliveries, and reports on series that could not be analysed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("commit_at", sa.DateTime(timezone=True)))
    op.add_column("deliveries", sa.Column("commit_transaction_uid", sa.Text()))
    op.add_column("deliveries", sa.Column("commit_attempt", sa.Integer(), nullable=False, server_default="0"))
    _partial_index("ix_deliveries_commit_at", "deliveries", ["destination", "commit_at"], "commit_at IS NOT NULL")
    op.create_index("ix_deliveries_commit_transaction_uid", "deliveries", ["commit_transaction_uid"])
    op.add_column("results", sa.Column("reason", sa.Text()))
    op.add_column("series", sa.Column("report_at", sa.DateTime(timezone=True)))
    _partial_index("ix_series_report_at", "series", ["report_at"], "report_at IS NOT NULL")


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
