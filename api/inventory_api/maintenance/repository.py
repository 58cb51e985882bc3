from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, insert, not_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.items.models import Item
from inventory_api.maintenance.models import MaintenanceEntry
from inventory_api.units.models import Unit, UnitState

_OUT_OF_USE = (UnitState.RETIRED, UnitState.LOST)


async def add(session: AsyncSession, *, unit_id: int, kind: str, done_at: datetime, **values: Any) -> MaintenanceEntry:
    """The new entry. If nothing of its kind was done later, it takes the place of what was done last."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"maintenance:{unit_id}", 0))))
    latest = (MaintenanceEntry.unit_id == unit_id, MaintenanceEntry.kind == kind, MaintenanceEntry.is_latest)
    await session.execute(
        update(MaintenanceEntry)
        .where(*latest, MaintenanceEntry.done_at <= done_at)
        .values(is_latest=False)
        .execution_options(synchronize_session=False)
    )
    statement = insert(MaintenanceEntry).values(
        unit_id=unit_id, kind=kind, done_at=done_at, is_latest=not_(exists().where(*latest)), **values
    )
    return (await session.scalars(statement.returning(MaintenanceEntry))).one()


async def before(
    session: AsyncSession, unit_id: int, kind: str | None, identifier: int | None, limit: int
) -> Sequence[MaintenanceEntry]:
    """What was entered for a unit, the newest first."""
    statement = select(MaintenanceEntry).where(MaintenanceEntry.unit_id == unit_id)
    if kind is not None:
        statement = statement.where(MaintenanceEntry.kind == kind)
    if identifier is not None:
        statement = statement.where(MaintenanceEntry.id < identifier)
    return (await session.scalars(statement.order_by(MaintenanceEntry.id.desc()).limit(limit))).all()


async def due(
    session: AsyncSession, until: datetime | None, kind: str | None, after: tuple[datetime, int] | None, limit: int
) -> Sequence[Any]:
    """What is to be done again by then, or by now, to units that are in use; what is due longest first."""
    place = tuple_(MaintenanceEntry.next_due_at, MaintenanceEntry.id)
    statement = (
        select(
            MaintenanceEntry.id.label("entry_id"),
            MaintenanceEntry.kind,
            MaintenanceEntry.done_at,
            MaintenanceEntry.next_due_at,
            Unit.id.label("unit_id"),
            Unit.serial,
            Unit.state,
            Unit.location_id,
            Unit.loan_id,
            Item.id.label("item_id"),
            Item.sku,
            Item.name,
        )
        .join(Unit, Unit.id == MaintenanceEntry.unit_id)
        .join(Item, Item.id == Unit.item_id)
        .where(
            MaintenanceEntry.is_latest,
            MaintenanceEntry.next_due_at <= (func.now() if until is None else until),
            Unit.state.not_in(_OUT_OF_USE),
        )
        .order_by(MaintenanceEntry.next_due_at, MaintenanceEntry.id)
        .limit(limit)
    )
    if kind is not None:
        statement = statement.where(MaintenanceEntry.kind == kind)
    if after is not None:
        statement = statement.where(place > after)
    return (await session.execute(statement)).all()
