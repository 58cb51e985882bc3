"""Where an item stands."""

import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = "HEAD"


def upgrade() -> None:
    op.add_column("items", sa.Column("shelf", sa.Text))


def downgrade() -> None:
    op.drop_column("items", "shelf")
