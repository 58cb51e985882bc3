"""Finds the loans that are overdue without reading all of them."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    create_index_concurrently("loans_due_at_idx", "loans", "(due_at) WHERE returned_at IS NULL")


def downgrade() -> None:
    op.drop_index("loans_due_at_idx")
