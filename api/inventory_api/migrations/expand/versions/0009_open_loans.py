"""Finds what is overdue, and who has what, among the few loans that are open."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    create_index_concurrently("loans_open_due_at_idx", "loans", "(due_at, id) WHERE returned_at IS NULL")


def downgrade() -> None:
    op.drop_index("loans_open_due_at_idx")
