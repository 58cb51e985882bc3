from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, func, insert, not_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.attributes import set_committed_value

from inventory_api.loans.models import Loan, LoanUnit
from inventory_api.reads import Statement, rows_within

_with_units = selectinload(Loan.units)
_COLUMNS = ("item_id", "user_id", "quantity", "lent_by", "due_at", "location_id", "kit_loan_id", "note")
# Made once: a check-out has little else to do.
_ADD = Statement(insert(Loan).values({name: bindparam(name) for name in _COLUMNS}).returning(Loan))


async def get(session: AsyncSession, loan_id: int) -> Loan | None:
    """The loan as it is now, with its units."""
    return await session.get(Loan, loan_id, options=[_with_units], populate_existing=True)


async def after(
    session: AsyncSession,
    identifier: int,
    limit: int,
    filters: Mapping[str, Any],
    *,
    is_open: bool | None,
    overdue: bool | None,
) -> Sequence[Loan]:
    """In the order of their ids. `filters` has the wanted values of columns."""
    statement = select(Loan).where(Loan.id > identifier).order_by(Loan.id).limit(limit).options(_with_units)
    for column, value in filters.items():
        statement = statement.where(getattr(Loan, column) == value)
    if is_open is not None:
        statement = statement.where(Loan.returned_at.is_(None) if is_open else Loan.returned_at.is_not(None))
    if overdue is not None:
        late = and_(Loan.returned_at.is_(None), Loan.due_at < func.now())
        statement = statement.where(late if overdue else not_(late))
    return (await session.scalars(statement)).all()


async def add(session: AsyncSession, unit_ids: Sequence[int], **values: Any) -> Loan:
    """The new loan, with its units; the item's lock is held. Raises asyncpg's errors."""
    loan = Loan(**(await rows_within(session, _ADD, **values))[0])
    units: Sequence[LoanUnit] = ()
    if unit_ids:
        rows = [{"loan_id": loan.id, "unit_id": unit_id} for unit_id in unit_ids]
        units = (await session.scalars(insert(LoanUnit).returning(LoanUnit), rows)).all()
    set_committed_value(loan, "units", sorted(units, key=lambda unit: unit.unit_id))
    return loan


async def settle(session: AsyncSession, loan: Loan, *, returned: int = 0, lost: int = 0) -> None:
    """Takes what is back or lost from what is out; when nothing is out any more, the loan is over."""
    over = returned + lost == loan.outstanding
    await session.execute(
        update(Loan)
        .where(Loan.id == loan.id)
        .values(
            returned=Loan.returned + returned,
            lost=Loan.lost + lost,
            **({"returned_at": func.now()} if over else {}),
        )
        .execution_options(synchronize_session=False)
    )


async def settle_units(session: AsyncSession, loan_id: int, unit_ids: Sequence[int], *, lost: bool, note: str) -> None:
    await session.execute(
        update(LoanUnit)
        .where(LoanUnit.loan_id == loan_id, LoanUnit.unit_id.in_(unit_ids))
        .values(returned_at=None if lost else func.now(), lost=lost, condition=note)
        .execution_options(synchronize_session=False)
    )


async def renew(session: AsyncSession, loan_id: int, due_at: datetime) -> None:
    await session.execute(
        update(Loan)
        .where(Loan.id == loan_id)
        .values(due_at=due_at, renewals=Loan.renewals + 1)
        .execution_options(synchronize_session=False)
    )


async def renew_parts(session: AsyncSession, kit_loan_id: int, due_at: datetime) -> None:
    await session.execute(
        update(Loan)
        .where(Loan.kit_loan_id == kit_loan_id, Loan.returned_at.is_(None))
        .values(due_at=due_at)
        .execution_options(synchronize_session=False)
    )


async def open_parts(session: AsyncSession, kit_loan_id: int) -> Sequence[Loan]:
    """The loans of a kit's parts that are still out, as they are now."""
    statement = (
        select(Loan)
        .where(Loan.kit_loan_id == kit_loan_id, Loan.returned_at.is_(None))
        .order_by(Loan.id)
        .options(_with_units)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(statement)).all()
