"""Lists the few among many: archived items, kits, and those below their minimum."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0021"
down_revision = "0020"

_APART = (
    "(CASE WHEN archived_at IS NOT NULL THEN 'archived' WHEN tracking = 'kit' THEN 'kit' "
    "WHEN quantity < minimum_stock THEN 'low' END)"
)


def upgrade() -> None:
    create_index_concurrently("items_apart_idx", "items", f"({_APART}, id) WHERE {_APART} IS NOT NULL")


def downgrade() -> None:
    op.drop_index("items_apart_idx")
