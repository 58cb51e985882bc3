"""Finds an item by the beginning of its SKU."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    create_index_concurrently("items_lower_sku_idx", "items", "(lower(sku) text_pattern_ops)")


def downgrade() -> None:
    op.drop_index("items_lower_sku_idx")
