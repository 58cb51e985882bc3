from datetime import UTC, datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, DateTime, ForeignKey, Identity, Index, Integer, Text, func
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column, relationship

from inventory_api.database import Base


class Loan(Base):
    """A quantity of one item in one person's hands; it is over once `returned_at` is set.

    A loan of the first release has no location: it is one of the first location. A kit's loan has one loan for each
    part, which name it as `kit_loan_id`; the parts' loans hold the stock, the kit's own holds them together.
    """

    __tablename__ = "loans"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity"),
        Index("loans_open_due_at_idx", "due_at", "id", postgresql_where=sql("returned_at IS NULL")),
        Index("loans_open_item_id_due_at_idx", "item_id", "due_at", postgresql_where=sql("returned_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    quantity: Mapped[int] = mapped_column(Integer)
    lent_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    lent_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    returned_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    location_id: Mapped[int | None] = mapped_column(ForeignKey("locations.id"))
    returned: Mapped[int] = mapped_column(Integer, server_default="0")
    lost: Mapped[int] = mapped_column(Integer, server_default="0")
    renewals: Mapped[int] = mapped_column(Integer, server_default="0")
    kit_loan_id: Mapped[int | None] = mapped_column(BigInteger)
    note: Mapped[str] = mapped_column(Text, server_default="")

    units: Mapped[list["LoanUnit"]] = relationship(order_by="LoanUnit.unit_id", lazy="raise", viewonly=True)

    @property
    def outstanding(self) -> int:
        return 0 if self.returned_at else self.quantity - self.returned - self.lost

    @property
    def overdue(self) -> bool:
        return self.returned_at is None and self.due_at < datetime.now(UTC)


class LoanUnit(Base):
    """A unit that a loan took; it is still out while `returned_at` is empty and it isn't lost."""

    __tablename__ = "loan_units"

    loan_id: Mapped[int] = mapped_column(ForeignKey("loans.id"), primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"), primary_key=True, index=True)
    returned_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    lost: Mapped[bool] = mapped_column(Boolean, server_default="false")
    condition: Mapped[str] = mapped_column(Text, server_default="")
