"""Finds items that are low in stock: no check-out changes what this index is of."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    create_index_concurrently(
        "items_minimum_stock_idx", "items", "(id) WHERE minimum_stock > 0 AND archived_at IS NULL"
    )


def downgrade() -> None:
    op.drop_index("items_minimum_stock_idx")
