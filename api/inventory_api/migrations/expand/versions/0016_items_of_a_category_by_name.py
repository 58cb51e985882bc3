"""Lists the items of a category by name."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    create_index_concurrently(
        "items_category_id_name_idx", "items", "(category_id, name, id) WHERE archived_at IS NULL"
    )


def downgrade() -> None:
    op.drop_index("items_category_id_name_idx")
