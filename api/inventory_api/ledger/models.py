import enum
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Index, Integer, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.database import Base


class EntryKind(enum.StrEnum):
    RECEIVE = "receive"
    MOVE = "move"
    ADJUST = "adjust"
    LOAN = "loan"
    RETURN = "return"
    LOST = "lost"
    WRITE_OFF = "write-off"
    HOLD = "hold"
    RELEASE = "release"


class StockEntry(Base):
    """One line of the ledger: by how much it changed what is on hand, on loan and reserved at a location.

    The database refuses to change or remove an entry, and changes the levels and the item's figures with each one.
    """

    __tablename__ = "stock_entries"
    __table_args__ = (
        CheckConstraint(
            "kind in ('receive', 'move', 'adjust', 'loan', 'return', 'lost', 'write-off', 'hold', 'release')",
            name="kind",
        ),
        Index("stock_entries_item_id_id_idx", "item_id", "id"),
        Index("stock_entries_location_id_id_idx", "location_id", "id"),
        Index("stock_entries_loan_id_idx", "loan_id", postgresql_where=text("loan_id IS NOT NULL")),
        Index("stock_entries_unit_id_idx", "unit_id", postgresql_where=text("unit_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    location_id: Mapped[int] = mapped_column(ForeignKey("locations.id"))
    unit_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"))
    kind: Mapped[str] = mapped_column(Text)
    on_hand: Mapped[int] = mapped_column(Integer, server_default="0")
    on_loan: Mapped[int] = mapped_column(Integer, server_default="0")
    reserved: Mapped[int] = mapped_column(Integer, server_default="0")
    loan_id: Mapped[int | None] = mapped_column(ForeignKey("loans.id"))
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    reason: Mapped[str] = mapped_column(Text, server_default="")
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class StockLevel(Base):
    """What the ledger's entries for an item at a location add up to. Only the ledger's trigger writes it."""

    __tablename__ = "stock_levels"
    __table_args__ = (
        CheckConstraint("on_hand >= 0", name="on_hand"),
        CheckConstraint("on_loan >= 0", name="on_loan"),
        CheckConstraint("reserved between 0 and on_hand", name="reserved"),
        Index("stock_levels_location_id_item_id_idx", "location_id", "item_id"),
    )

    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), primary_key=True)
    location_id: Mapped[int] = mapped_column(ForeignKey("locations.id"), primary_key=True)
    on_hand: Mapped[int] = mapped_column(Integer)
    on_loan: Mapped[int] = mapped_column(Integer)
    reserved: Mapped[int] = mapped_column(Integer)
    on_hand_entry_id: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """The entry that changed what is on hand last."""

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved
