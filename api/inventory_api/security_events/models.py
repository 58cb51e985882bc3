from datetime import datetime

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.database import Base


class SecurityEventRow(Base):
    """Something that security wants to see; it is written after the answer, and removed when it is old."""

    __tablename__ = "security_events"
    __table_args__ = (
        Index("security_events_at_id_idx", "at", "id"),
        Index("security_events_kind_idx", "kind", "at", "id"),
        Index("security_events_user_idx", "user_id", "at", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    kind: Mapped[str] = mapped_column(Text)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    request_id: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text)
