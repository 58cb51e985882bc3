import enum
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Index, Integer, Text, func, text
from sqlalchemy.dialects.postgresql import TSTZRANGE, ExcludeConstraint, Range
from sqlalchemy.orm import Mapped, mapped_column, query_expression

from inventory_api.database import Base


class Status(enum.StrEnum):
    BOOKED = "booked"
    WAITING = "waiting"
    READY = "ready"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


ACTIVE = (Status.BOOKED, Status.WAITING, Status.READY)


class Reservation(Base):
    """A quantity of one item for one person: booked for a time, in the waiting line, or set aside for them.

    What is booked is set aside from `set_aside_at` on, as soon as it is there; what is set aside is kept for
    `hold_seconds`, until `expires_at`. A person who waits has no dates before that. `unit_id` is the one unit that will
    do, and null where any will.
    """

    __tablename__ = "reservations"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("status in ('booked', 'waiting', 'ready', 'fulfilled', 'cancelled', 'expired')", name="status"),
        CheckConstraint("hold_seconds > 0", name="hold_seconds"),
        CheckConstraint(
            "(starts_at is null) = (ends_at is null) and starts_at < ends_at "
            "and isfinite(starts_at) and isfinite(ends_at)",
            name="dates",
        ),
        CheckConstraint("status <> 'booked' or (starts_at is not null and set_aside_at is not null)", name="booked"),
        CheckConstraint("status <> 'waiting' or (starts_at is null and unit_id is null)", name="waiting"),
        CheckConstraint(
            "status <> 'ready' or (starts_at is not null and expires_at is not null and location_id is not null)",
            name="ready",
        ),
        CheckConstraint("unit_id is null or quantity = 1", name="unit"),
        CheckConstraint("loan_id is null or status = 'fulfilled'", name="loan"),
        CheckConstraint(
            "(closed_at is not null) = (status in ('fulfilled', 'cancelled', 'expired'))",
            name="closed",
        ),
        Index("reservations_item_id_id_idx", "item_id", "id"),
        Index("reservations_user_id_id_idx", "user_id", "id"),
        Index("reservations_claims_idx", "item_id", "ends_at", postgresql_where=text("status IN ('booked', 'ready')")),
        Index("reservations_waiting_idx", "item_id", "id", postgresql_where=text("status = 'waiting'")),
        Index("reservations_booked_idx", "set_aside_at", postgresql_where=text("status = 'booked'")),
        Index("reservations_ready_idx", "expires_at", postgresql_where=text("status = 'ready'")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    unit_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"))
    location_id: Mapped[int | None] = mapped_column(ForeignKey("locations.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    quantity: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(Text)
    starts_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    set_aside_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    hold_seconds: Mapped[int] = mapped_column(Integer)
    loan_id: Mapped[int | None] = mapped_column(ForeignKey("loans.id"))
    created_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    # What its reader is told beside, where the query asks for it.
    position: Mapped[int | None] = query_expression()
    unit_ids: Mapped[list[int]] = query_expression()


class UnitBooking(Base):
    """From when until when a unit is a reservation's or a loan's; the database lets no two of a unit overlap.

    The database keeps it with what it belongs to: it goes with the end of the reservation or with the unit's return,
    and a loan's comes and grows with the loan.
    """

    __tablename__ = "unit_bookings"
    __table_args__ = (
        CheckConstraint("num_nonnulls(reservation_id, loan_id) = 1", name="owner"),
        CheckConstraint(
            "not isempty(during) and lower_inc(during) and not upper_inc(during) and not upper_inf(during)",
            name="during",
        ),
        ExcludeConstraint(
            (text("int8range(unit_id, unit_id, '[]')"), "&&"), ("during", "&&"), name="unit_bookings_overlap_excl"
        ),
        Index(
            "unit_bookings_reservation_id_idx", "reservation_id", postgresql_where=text("reservation_id IS NOT NULL")
        ),
        Index("unit_bookings_loan_id_idx", "loan_id", postgresql_where=text("loan_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    during: Mapped[Range[datetime]] = mapped_column(TSTZRANGE)
    reservation_id: Mapped[int | None] = mapped_column(ForeignKey("reservations.id"))
    loan_id: Mapped[int | None] = mapped_column(ForeignKey("loans.id"))
