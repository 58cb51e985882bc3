"""Where an item stands."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("items", sa.Column("shelf", sa.Text))


def downgrade() -> None:
    op.drop_column("items", "shelf")
