"""Finds a unit by the beginning of its serial number."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    create_index_concurrently("units_serial_idx", "units", "(lower(serial) text_pattern_ops)")


def downgrade() -> None:
    op.drop_index("units_serial_idx")
