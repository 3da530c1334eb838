"""When the files of a study were removed because of their age, and when some of them came again."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("studies", sa.Column("files_removed_at", INSTANT))
    op.add_column("studies", sa.Column("files_restored_at", INSTANT))
