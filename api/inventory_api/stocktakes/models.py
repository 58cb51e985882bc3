import enum
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.database import Base


class StocktakeStatus(enum.StrEnum):
    OPEN = "open"
    BOOKED = "booked"
    CANCELLED = "cancelled"


class Stocktake(Base):
    """The count of all that is on hand at one location, of which only one is open at a time.

    `start_entry_id` is the newest entry of the ledger at its start: what has a later one moved while it was counted.
    """

    __tablename__ = "stocktakes"
    __table_args__ = (
        CheckConstraint("status in ('open', 'booked', 'cancelled')", name="status"),
        CheckConstraint("(status = 'open') = (ended_at is null)", name="ended"),
        Index("stocktakes_open_idx", "location_id", unique=True, postgresql_where=text("status = 'open'")),
        Index("stocktakes_location_id_id_idx", "location_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    location_id: Mapped[int] = mapped_column(ForeignKey("locations.id"))
    status: Mapped[str] = mapped_column(Text, server_default="open")
    note: Mapped[str] = mapped_column(Text, server_default="")
    start_entry_id: Mapped[int] = mapped_column(BigInteger)
    started_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    ended_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    pieces_found: Mapped[int] = mapped_column(BigInteger, server_default="0")
    pieces_missing: Mapped[int] = mapped_column(BigInteger, server_default="0")
    units_moved: Mapped[int] = mapped_column(Integer, server_default="0")
    left_uncounted: Mapped[int] = mapped_column(Integer, server_default="0")


class StocktakeScan(Base):
    """What somebody counted at a moment, beside what was on hand then and the entry that had changed it last.

    A quantity adds to the scans before it, or is the total of all until then; of a unit it is whether it was there.
    Rows are only added, so that any number of people count at once; one that is undone counts no more.
    """

    __tablename__ = "stocktake_scans"
    __table_args__ = (
        CheckConstraint("quantity >= 0", name="quantity"),
        CheckConstraint("unit_id is null or quantity <= 1", name="unit"),
        Index("stocktake_scans_stocktake_id_id_idx", "stocktake_id", "id"),
        Index("stocktake_scans_stocktake_id_item_id_id_idx", "stocktake_id", "item_id", "id"),
        Index(
            "stocktake_scans_stocktake_id_unit_id_id_idx",
            "stocktake_id",
            "unit_id",
            "id",
            postgresql_where=text("unit_id IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    stocktake_id: Mapped[int] = mapped_column(ForeignKey("stocktakes.id"))
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    unit_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"))
    quantity: Mapped[int] = mapped_column(Integer)
    is_total: Mapped[bool] = mapped_column(Boolean)
    code: Mapped[str] = mapped_column(Text, server_default="")
    on_hand: Mapped[int] = mapped_column(Integer)
    entry_id: Mapped[int] = mapped_column(BigInteger)
    scanned_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    scanned_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    undone_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    undone_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class StocktakeLine(Base):
    """What a stocktake found that differed, as it was booked."""

    __tablename__ = "stocktake_lines"
    __table_args__ = (
        Index(
            "stocktake_lines_stocktake_id_item_id_idx",
            "stocktake_id",
            "item_id",
            postgresql_where=text("unit_id IS NULL"),
        ),
        Index(
            "stocktake_lines_stocktake_id_unit_id_idx",
            "stocktake_id",
            "unit_id",
            postgresql_where=text("unit_id IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    stocktake_id: Mapped[int] = mapped_column(ForeignKey("stocktakes.id"))
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    unit_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"))
    expected: Mapped[int] = mapped_column(Integer)
    counted: Mapped[int | None] = mapped_column(Integer)
    finding: Mapped[str] = mapped_column(Text)
