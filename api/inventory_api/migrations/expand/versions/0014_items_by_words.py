"""Finds items by words and parts of words of their names. A search goes through what was added last: that is short."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    create_index_concurrently(
        "items_words_idx", "items", "USING gin ((' ' || lower(name)) gin_trgm_ops) WITH (gin_pending_list_limit = 128)"
    )


def downgrade() -> None:
    op.drop_index("items_words_idx")
