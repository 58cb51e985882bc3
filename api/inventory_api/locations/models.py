from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Index, Integer, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.database import Base


class Location(Base):
    """A place for things, such as a building, a room or a shelf; its name is unique among its siblings."""

    __tablename__ = "locations"
    __table_args__ = (
        Index("locations_place_idx", text("coalesce(parent_id, 0)"), "name", unique=True),
        CheckConstraint("count_every_days between 1 and 3650", name="count_every_days"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("locations.id"), index=True)
    name: Mapped[str] = mapped_column(Text)
    barcode: Mapped[str | None] = mapped_column(Text, unique=True)
    count_every_days: Mapped[int | None] = mapped_column(Integer)
    counted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    archived_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
