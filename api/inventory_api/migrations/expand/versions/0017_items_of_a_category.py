"""Lists the items of a category in the order in which they were added."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    create_index_concurrently("items_category_id_id_idx", "items", "(category_id, id) WHERE archived_at IS NULL")


def downgrade() -> None:
    op.drop_index("items_category_id_id_idx")
