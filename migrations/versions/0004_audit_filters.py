"""The filters of the audit page: by actor and by outcome, without reading the whole log."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_audit_actor", "audit", ["actor", "sequence"])
    op.create_index("ix_audit_outcome", "audit", ["outcome", "sequence"])
