import enum
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    func,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.database import Base


class UnitState(enum.StrEnum):
    LENDABLE = "lendable"
    IN_REPAIR = "in-repair"
    RETIRED = "retired"
    LOST = "lost"


class Unit(Base):
    """One piece of an item, known by its serial number. It is on loan while `loan_id` is set."""

    __tablename__ = "units"
    __table_args__ = (
        UniqueConstraint("item_id", "serial"),
        CheckConstraint("state in ('lendable', 'in-repair', 'retired', 'lost')", name="state"),
        Index(
            "units_serial_idx",
            literal_column("lower(serial)").label("lower_serial"),
            postgresql_ops={"lower_serial": "text_pattern_ops"},
        ),
        Index("units_loan_id_idx", "loan_id", postgresql_where=text("loan_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    serial: Mapped[str] = mapped_column(Text)
    barcode: Mapped[str | None] = mapped_column(Text, unique=True)
    state: Mapped[str] = mapped_column(Text, server_default="lendable")
    condition: Mapped[str] = mapped_column(Text, server_default="")
    location_id: Mapped[int] = mapped_column(ForeignKey("locations.id"), index=True)
    loan_id: Mapped[int | None] = mapped_column(ForeignKey("loans.id"))
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
