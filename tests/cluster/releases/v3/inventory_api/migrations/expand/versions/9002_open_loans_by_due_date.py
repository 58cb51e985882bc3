"""Finds the loans that are overdue without reading all of them."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "9002"
down_revision = "9001"


def upgrade() -> None:
    create_index_concurrently("loans_due_at_idx", "loans", "(due_at) WHERE returned_at IS NULL")


def downgrade() -> None:
    op.drop_index("loans_due_at_idx")
