from datetime import datetime

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, LargeBinary, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from inventory_api.database import Base


class UserSession(Base):
    """What a person has signed in to: it lives on by its refresh tokens, and its access tokens end with it."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index("sessions_user_id_id_idx", "user_id", "id", postgresql_where=text("ended_at IS NULL")),
        Index("sessions_over_idx", text("coalesce(ended_at, expires_at)")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    device: Mapped[str] = mapped_column(Text, server_default="")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    end_reason: Mapped[str | None] = mapped_column(Text)


class RefreshToken(Base):
    """The digest of a token that was given out. Of a session's tokens, one is not rotated yet: the one to use next."""

    __tablename__ = "refresh_tokens"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    rotated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    salt: Mapped[bytes | None] = mapped_column(LargeBinary)
