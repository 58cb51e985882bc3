from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.database import Base


class AuditEvent(Base):
    """Who changed what, from what to what; the database never changes it, and removes nothing of the last 30 days.

    `before` and `after` have the fields that changed; one of them is empty for what is new or gone. Nobody is the actor
    of what a command did, or the service by itself, as when a reservation expires.
    """

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("audit_events_at_id_idx", "at", "id"),
        Index("audit_events_subject_idx", "subject", "subject_id", "at", "id"),
        Index("audit_events_actor_idx", "actor_id", "at", "id"),
        Index("audit_events_action_idx", "action", "at", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    request_id: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[int] = mapped_column(BigInteger)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
