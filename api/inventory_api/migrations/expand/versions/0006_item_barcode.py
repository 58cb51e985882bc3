"""One barcode leads to one item."""

from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = "0006"
down_revision = "0005"
running_code_is_unharmed = "running code writes no barcode"


def upgrade() -> None:
    create_index_concurrently("items_barcode_key", "items", "(barcode)", unique=True)


def downgrade() -> None:
    op.drop_index("items_barcode_key")
