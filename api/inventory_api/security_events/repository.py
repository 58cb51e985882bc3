from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.security_events.models import SecurityEventRow

_when = tuple_(SecurityEventRow.at, SecurityEventRow.id)


async def add(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    await session.execute(insert(SecurityEventRow), rows)


async def before(
    session: AsyncSession,
    identifier: int | None,
    limit: int,
    filters: Mapping[str, Any],
    since: datetime | None,
    until: datetime | None,
) -> Sequence[SecurityEventRow]:
    """The newest first, and before the one with this id if one is given. `filters` has the wanted values of columns."""
    statement = select(SecurityEventRow).order_by(SecurityEventRow.at.desc(), SecurityEventRow.id.desc()).limit(limit)
    if identifier is not None:
        place = select(SecurityEventRow.at, SecurityEventRow.id).where(SecurityEventRow.id == identifier)
        statement = statement.where(_when < place.scalar_subquery())
    for column, value in filters.items():
        statement = statement.where(getattr(SecurityEventRow, column) == value)
    if since is not None:
        statement = statement.where(SecurityEventRow.at >= since)
    if until is not None:
        statement = statement.where(SecurityEventRow.at < until)
    return (await session.scalars(statement)).all()


async def forget(session: AsyncSession, age: timedelta, limit: int) -> int:
    """Removes the oldest of those that are older than `age`, and returns how many."""
    old = (
        select(SecurityEventRow.id)
        .where(SecurityEventRow.at < func.now() - age)
        .order_by(SecurityEventRow.at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    removed = delete(SecurityEventRow).where(SecurityEventRow.id.in_(old)).returning(SecurityEventRow.id)
    return len((await session.scalars(removed)).all())
