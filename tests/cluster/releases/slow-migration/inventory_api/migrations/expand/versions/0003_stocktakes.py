"""Takes long enough to be killed while it runs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table("stocktakes", sa.Column("taken_at", sa.DateTime(timezone=True), primary_key=True))
    op.execute("SELECT pg_sleep(8)")


def downgrade() -> None:
    op.drop_table("stocktakes")
