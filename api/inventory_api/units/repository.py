from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.units.models import Unit


async def get(session: AsyncSession, unit_id: int) -> Unit | None:
    return await session.get(Unit, unit_id)


async def page(
    session: AsyncSession, after: int, limit: int, filters: Mapping[str, Any], on_loan: bool | None
) -> Sequence[Unit]:
    """In the order of their ids. `filters` has the wanted values of columns."""
    statement = select(Unit).where(Unit.id > after).order_by(Unit.id).limit(limit)
    for column, value in filters.items():
        statement = statement.where(getattr(Unit, column) == value)
    if on_loan is not None:
        statement = statement.where(Unit.loan_id.is_not(None) if on_loan else Unit.loan_id.is_(None))
    return (await session.scalars(statement)).all()


async def of_item(session: AsyncSession, item_id: int, unit_ids: Sequence[int]) -> dict[int, Unit]:
    """Those of the units that belong to the item, by id, as they are under the item's lock."""
    statement = select(Unit).where(Unit.item_id == item_id, Unit.id.in_(unit_ids))
    found = await session.scalars(statement.execution_options(populate_existing=True))
    return {unit.id: unit for unit in found}


async def add(session: AsyncSession, **values: Any) -> Unit | None:
    """The new unit, or None if its serial number or barcode is taken."""
    statement = insert(Unit).values(**values).on_conflict_do_nothing().returning(Unit)
    return (await session.scalars(statement)).one_or_none()


async def change(session: AsyncSession, unit_ids: Sequence[int], values: Mapping[str, Any]) -> Sequence[Unit]:
    """The units after the change. Raises IntegrityError where a serial number or barcode is taken."""
    statement = (
        update(Unit)
        .where(Unit.id.in_(unit_ids))
        .values(**values, version=Unit.version + 1, updated_at=func.now())
        .returning(Unit)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    return (await session.scalars(statement)).all()
