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
    Text,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.database import Base


class MaintenanceKind(enum.StrEnum):
    INSPECTION = "inspection"
    REPAIR = "repair"
    CALIBRATION = "calibration"
    CLEANING = "cleaning"
    NOTE = "note"


class MaintenanceEntry(Base):
    """Something that was done to a unit, and when it is due again.

    `is_latest` marks what was done last of its kind: an earlier one's date to do it again is over.
    """

    __tablename__ = "maintenance_entries"
    __table_args__ = (
        CheckConstraint("kind in ('inspection', 'repair', 'calibration', 'cleaning', 'note')", name="kind"),
        CheckConstraint("cost_cents >= 0", name="cost_cents"),
        CheckConstraint("next_due_at > done_at", name="next_due_at"),
        Index("maintenance_entries_unit_id_id_idx", "unit_id", "id"),
        Index("maintenance_entries_latest_idx", "unit_id", "kind", unique=True, postgresql_where=text("is_latest")),
        Index(
            "maintenance_entries_due_idx",
            "next_due_at",
            "id",
            postgresql_where=text("is_latest AND next_due_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    kind: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text, server_default="")
    cost_cents: Mapped[int | None] = mapped_column(BigInteger)
    done_by: Mapped[str] = mapped_column(Text, server_default="")
    done_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    next_due_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    is_latest: Mapped[bool] = mapped_column(Boolean)
    state: Mapped[str | None] = mapped_column(Text)
    entered_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    entered_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
