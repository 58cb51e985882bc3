"""No shelf without a name, which older releases may write. It can be taken back without loss."""

from alembic import op

revision = "c9002"
down_revision = "HEAD"
requires_expand = "9001"
lossless_downgrade = True
running_code_is_unharmed = "nothing relies on the check that its downgrade drops"


def upgrade() -> None:
    op.create_check_constraint("items_shelf_has_a_name", "items", "shelf <> ''")


def downgrade() -> None:
    op.drop_constraint("items_shelf_has_a_name", "items")
