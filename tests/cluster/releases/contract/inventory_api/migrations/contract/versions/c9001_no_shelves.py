"""Takes away the shelf, which this release no longer uses."""

import sqlalchemy as sa
from alembic import op

revision = "c9001"
down_revision = "HEAD"
requires_expand = "9002"
lossless_downgrade = False


def upgrade() -> None:
    op.drop_column("items", "shelf")


def downgrade() -> None:
    op.add_column("items", sa.Column("shelf", sa.Text))
