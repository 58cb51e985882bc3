from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import column as sql_column
from sqlalchemy import delete, func, insert, literal, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit.models import AuditEvent

_when = tuple_(AuditEvent.at, AuditEvent.id)


async def add(session: AsyncSession, **values: Any) -> None:
    await session.execute(insert(AuditEvent).values(**values))


async def add_many(session: AsyncSession, events: Sequence[Mapping[str, Any]]) -> None:
    """The events, all with the same fields, in one statement."""
    table = AuditEvent.__table__
    columns = [sql_column(name, table.c[name].type) for name in events[0]]
    given = func.jsonb_to_recordset(literal(events, JSONB)).table_valued(*columns)
    given = given.render_derived("given", with_types=True)
    await session.execute(insert(AuditEvent).from_select([each.name for each in columns], select(given)))


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


async def forget(session: AsyncSession, age: timedelta, limit: int) -> int:
    """Removes the oldest of those that are older than `age`, which is 30 days at least, and returns how many.

    Until the transaction ends, the database lets more of them be removed.
    """
    await session.execute(select(func.set_config("inventory.audit_forgets", "on", True)))
    old = (
        select(AuditEvent.id)
        .where(AuditEvent.at < func.now() - age)
        .order_by(AuditEvent.at, AuditEvent.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    removed = delete(AuditEvent).where(AuditEvent.id.in_(old)).returning(AuditEvent.id)
    return len((await session.scalars(removed)).all())
