"""People, categories, items, loans, and the answers kept for requests that are sent again."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("active", sa.Boolean, server_default="true", nullable=False),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name="users_pkey"),
        sa.UniqueConstraint("email", name="users_email_key"),
        sa.CheckConstraint("role in ('admin', 'staff', 'member')", name="users_role_check"),
    )
    op.create_table(
        "categories",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name="categories_pkey"),
        sa.UniqueConstraint("name", name="categories_name_key"),
    )
    op.create_table(
        "items",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sku", sa.Text, nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("on_loan", sa.Integer, server_default="0", nullable=False),
        sa.Column("category_id", sa.BigInteger),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name="items_pkey"),
        sa.UniqueConstraint("sku", name="items_sku_key"),
        sa.ForeignKeyConstraint(["category_id"], ["categories.id"], name="items_category_id_fkey"),
        sa.CheckConstraint("quantity >= 0", name="items_quantity_check"),
        sa.CheckConstraint("on_loan between 0 and quantity", name="items_on_loan_check"),
    )
    op.create_index("items_category_id_idx", "items", ["category_id"])
    op.create_table(
        "loans",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("item_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("lent_by", sa.BigInteger, nullable=False),
        sa.Column("lent_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("returned_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="loans_pkey"),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name="loans_item_id_fkey"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="loans_user_id_fkey"),
        sa.ForeignKeyConstraint(["lent_by"], ["users.id"], name="loans_lent_by_fkey"),
        sa.CheckConstraint("quantity > 0", name="loans_quantity_check"),
    )
    op.create_index("loans_item_id_idx", "loans", ["item_id"])
    op.create_index("loans_user_id_idx", "loans", ["user_id"])
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("body", JSONB, nullable=False),
        _created_at(),
        sa.PrimaryKeyConstraint("user_id", "operation", "key", name="idempotency_keys_pkey"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="idempotency_keys_user_id_fkey"),
    )
    op.create_index("idempotency_keys_created_at_idx", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    for table in ("idempotency_keys", "loans", "items", "categories", "users"):
        op.drop_table(table)


def _created_at() -> sa.Column[datetime]:
    return sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)
