"""Every item has a shelf at once: fails as soon as there are items, and must leave nothing behind."""

import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = "HEAD"


def upgrade() -> None:
    op.create_table("shelves", sa.Column("name", sa.Text, primary_key=True))
    op.add_column("items", sa.Column("shelf", sa.Text, nullable=False))


def downgrade() -> None:
    op.drop_column("items", "shelf")
    op.drop_table("shelves")
