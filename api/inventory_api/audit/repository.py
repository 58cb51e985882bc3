from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit.models import AuditEvent

_when = tuple_(AuditEvent.at, AuditEvent.id)


async def add(session: AsyncSession, **values: Any) -> None:
    await session.execute(insert(AuditEvent).values(**values))


async def before(
    session: AsyncSession,
    identifier: int | None,
    limit: int,
    filters: Mapping[str, Any],
    since: datetime | None,
    until: datetime | None,
) -> Sequence[AuditEvent]:
    """The newest first, and before the one with this id if one is given. `filters` has the wanted values of columns."""
    statement = select(AuditEvent).order_by(AuditEvent.at.desc(), AuditEvent.id.desc()).limit(limit)
    if identifier is not None:
        place = select(AuditEvent.at, AuditEvent.id).where(AuditEvent.id == identifier).scalar_subquery()
        statement = statement.where(_when < place)
    for column, value in filters.items():
        statement = statement.where(getattr(AuditEvent, column) == value)
    if since is not None:
        statement = statement.where(AuditEvent.at >= since)
    if until is not None:
        statement = statement.where(AuditEvent.at < until)
    return (await session.scalars(statement)).all()
