"""Takes long enough to be killed while it runs."""

import sqlalchemy as sa
from alembic import op

revision = "9002"
down_revision = "9001"


def upgrade() -> None:
    op.create_table("shelf_labels", sa.Column("printed_at", sa.DateTime(timezone=True), primary_key=True))
    op.execute("SELECT pg_sleep(8)")


def downgrade() -> None:
    op.drop_table("shelf_labels")
