"""Lists items by name."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    create_index_concurrently("items_name_idx", "items", "(name, id) WHERE archived_at IS NULL")


def downgrade() -> None:
    op.drop_index("items_name_idx")
