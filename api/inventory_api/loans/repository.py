from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.loans.models import Loan


async def get(session: AsyncSession, loan_id: int) -> Loan | None:
    return await session.get(Loan, loan_id)


async def after(
    session: AsyncSession,
    identifier: int,
    limit: int,
    *,
    item_id: int | None,
    user_id: int | None,
    is_open: bool | None,
) -> Sequence[Loan]:
    statement = select(Loan).where(Loan.id > identifier).order_by(Loan.id).limit(limit)
    if item_id is not None:
        statement = statement.where(Loan.item_id == item_id)
    if user_id is not None:
        statement = statement.where(Loan.user_id == user_id)
    if is_open is not None:
        statement = statement.where(Loan.returned_at.is_(None) if is_open else Loan.returned_at.is_not(None))
    return (await session.scalars(statement)).all()


async def add(
    session: AsyncSession, *, item_id: int, user_id: int, quantity: int, lent_by: int, due_at: datetime
) -> Loan:
    statement = (
        insert(Loan)
        .values(item_id=item_id, user_id=user_id, quantity=quantity, lent_by=lent_by, due_at=due_at)
        .returning(Loan)
    )
    return (await session.scalars(statement)).one()


async def close(session: AsyncSession, loan_id: int) -> Loan | None:
    """The loan, closed now; None if it was closed before."""
    statement = (
        update(Loan)
        .where(Loan.id == loan_id, Loan.returned_at.is_(None))
        .values(returned_at=func.now())
        .returning(Loan)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(statement)).one_or_none()
