"""Finds who has an item now, however long its history is: each check-out of something reserved counts them."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    create_index_concurrently("loans_open_item_id_due_at_idx", "loans", "(item_id, due_at) WHERE returned_at IS NULL")


def downgrade() -> None:
    op.drop_index("loans_open_item_id_due_at_idx")
