"""Counts that stay cheap with a million items, taken once a minute by each pod.

| figure | how | with a million items and 100,000 open loans |
|---|---|---|
| items | the planner's estimate; counted below ten thousand | 1 ms |
| open and overdue loans | counted in the index of open loans | 9 ms |
| items low in stock | counted among those with a minimum: an index of what is low would slow check-outs down | 80 ms |
"""

from sqlalchemy import Select, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.items.models import Item
from inventory_api.loans.models import Loan

_ESTIMATED_FROM = 10_000
_ESTIMATE = text("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass('items')")


async def limit_time(session: AsyncSession, seconds: float) -> None:
    """Has the server end any statement of this transaction that takes longer."""
    await session.execute(select(func.set_config("statement_timeout", f"{seconds * 1000:.0f}", True)))


async def items(session: AsyncSession) -> int:
    # -1 until the table is first analyzed.
    estimate = int(await session.scalar(_ESTIMATE) or 0)
    return estimate if estimate >= _ESTIMATED_FROM else await _count(session, select(func.count()).select_from(Item))


async def open_loans(session: AsyncSession) -> int:
    return await _count(session, select(func.count()).where(Loan.returned_at.is_(None)))


async def overdue_loans(session: AsyncSession) -> int:
    return await _count(session, select(func.count()).where(Loan.returned_at.is_(None), Loan.due_at < func.now()))


async def low_stock_items(session: AsyncSession) -> int:
    return await _count(
        session,
        select(func.count()).where(
            Item.minimum_stock > 0,
            Item.archived_at.is_(None),
            Item.quantity - Item.on_loan - Item.reserved < Item.minimum_stock,
        ),
    )


async def _count(session: AsyncSession, statement: Select[int]) -> int:
    return await session.scalar(statement) or 0
