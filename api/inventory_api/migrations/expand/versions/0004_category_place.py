"""A category's name is its own among its siblings. The next migration takes the old rule away."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0004"
down_revision = "0003"
running_code_is_unharmed = "it refuses less than the uniqueness of names that running code lives with"


def upgrade() -> None:
    create_index_concurrently("categories_place_idx", "categories", "(coalesce(parent_id, 0), name)", unique=True)


def downgrade() -> None:
    op.drop_index("categories_place_idx")
