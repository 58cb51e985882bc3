import enum
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.database import Base

_IN_USE = text("archived_at IS NULL")
# What sets a few items apart from the many; null for the many. It is written as PostgreSQL shows it in the index.
APART = """
CASE
    WHEN archived_at IS NOT NULL THEN 'archived'::text
    WHEN tracking = 'kit'::text THEN 'kit'::text
    WHEN quantity < minimum_stock THEN 'low'::text
    ELSE NULL::text
END"""


class Tracking(enum.StrEnum):
    QUANTITY = "quantity"
    UNITS = "units"
    KIT = "kit"


class Item(Base):
    """A kind of thing, of which `quantity` are owned, `on_loan` are lent out now and `reserved` are set aside.

    The three figures are sums of the stock ledger, whose triggers alone write them.
    """

    __tablename__ = "items"
    __table_args__ = (
        CheckConstraint("quantity >= 0", name="quantity"),
        CheckConstraint("on_loan between 0 and quantity", name="on_loan"),
        CheckConstraint("reserved between 0 and quantity - on_loan", name="reserved"),
        Index("items_barcode_key", "barcode", unique=True),
        Index(
            "items_words_idx",
            literal_column("(' ' || lower(name))").label("words"),
            postgresql_using="gin",
            postgresql_ops={"words": "gin_trgm_ops"},
            postgresql_with={"gin_pending_list_limit": "128"},
        ),
        Index("items_name_idx", "name", "id", postgresql_where=_IN_USE),
        Index("items_category_id_name_idx", "category_id", "name", "id", postgresql_where=_IN_USE),
        Index("items_category_id_id_idx", "category_id", "id", postgresql_where=_IN_USE),
        Index(
            "items_lower_sku_idx",
            literal_column("lower(sku)").label("lower_sku"),
            postgresql_ops={"lower_sku": "text_pattern_ops"},
        ),
        Index("items_quantity_idx", "quantity", "id", postgresql_where=_IN_USE),
        Index("items_minimum_stock_idx", "id", postgresql_where=text("minimum_stock > 0 AND archived_at IS NULL")),
        Index("items_apart_idx", text(f"({APART})"), "id", postgresql_where=text(f"{APART} IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    sku: Mapped[str] = mapped_column(Text, unique=True)
    quantity: Mapped[int] = mapped_column(Integer)
    on_loan: Mapped[int] = mapped_column(Integer, server_default="0")
    reserved: Mapped[int] = mapped_column(Integer, server_default="0")
    category_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"), index=True)
    tracking: Mapped[str] = mapped_column(Text, server_default="quantity")
    description: Mapped[str] = mapped_column(Text, server_default="")
    barcode: Mapped[str | None] = mapped_column(Text)
    attributes: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    photo_links: Mapped[list[str]] = mapped_column(JSONB, server_default="[]")
    minimum_stock: Mapped[int] = mapped_column(Integer, server_default="0")
    unit_value_cents: Mapped[int | None] = mapped_column(BigInteger)
    archived_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    @property
    def available(self) -> int:
        return self.quantity - self.on_loan - self.reserved


class KitPart(Base):
    """`quantity` pieces of an item that belong into each kit."""

    __tablename__ = "kit_parts"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("kit_id <> item_id", name="itself"),
    )

    kit_id: Mapped[int] = mapped_column(ForeignKey("items.id"), primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), primary_key=True, index=True)
    quantity: Mapped[int] = mapped_column(Integer)
