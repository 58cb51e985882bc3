"""Lists items by how many are owned."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    create_index_concurrently("items_quantity_idx", "items", "(quantity, id) WHERE archived_at IS NULL")


def downgrade() -> None:
    op.drop_index("items_quantity_idx")
