from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus

from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.items import repository as items
from inventory_api.loans import repository
from inventory_api.loans.models import Loan
from inventory_api.loans.schemas import CheckOut, LoanQuery
from inventory_api.problems import Problem, conflict, not_found
from inventory_api.users import repository as users
from inventory_api.users.permissions import Permission, Principal, demand, may


async def check_out(session: AsyncSession, caller: Principal, wanted: CheckOut) -> Loan:
    borrower_id = await _borrower(session, caller, wanted.user_id)
    if wanted.due_at <= datetime.now(UTC):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "due-in-the-past", "A loan must be due in the future.")
    if not await items.take(session, wanted.item_id, wanted.quantity):
        if await items.get(session, wanted.item_id) is None:
            raise not_found("item")
        raise conflict("out-of-stock", "Fewer than that are available.")
    return await repository.add(
        session,
        item_id=wanted.item_id,
        user_id=borrower_id,
        quantity=wanted.quantity,
        lent_by=caller.id,
        due_at=wanted.due_at,
    )


async def take_back(session: AsyncSession, caller: Principal, loan_id: int) -> Loan:
    """Closes a loan. Closing a closed one changes nothing and gives the same answer, so it may be sent again."""
    known = await get(session, caller, loan_id)
    if known.user_id != caller.id:
        demand(caller, Permission.RETURN_FOR_OTHERS)
    closed = await repository.close(session, loan_id)
    if closed is None:
        await session.refresh(known)
        return known
    await items.put_back(session, closed.item_id, closed.quantity)
    return closed


async def page(session: AsyncSession, caller: Principal, query: LoanQuery) -> Sequence[Loan]:
    user_id = query.user_id
    if not may(caller, Permission.SEE_ALL_LOANS):
        if user_id not in (None, caller.id):
            demand(caller, Permission.SEE_ALL_LOANS)
        user_id = caller.id
    return await repository.after(
        session, query.after, query.limit + 1, item_id=query.item_id, user_id=user_id, is_open=query.open
    )


async def get(session: AsyncSession, caller: Principal, loan_id: int) -> Loan:
    loan = await repository.get(session, loan_id)
    # A loan that isn't the caller's business looks like one that isn't there.
    if loan is None or (loan.user_id != caller.id and not may(caller, Permission.SEE_ALL_LOANS)):
        raise not_found("loan")
    return loan


async def _borrower(session: AsyncSession, caller: Principal, user_id: int | None) -> int:
    if user_id is None or user_id == caller.id:
        return caller.id
    demand(caller, Permission.LEND_TO_OTHERS)
    borrower = await users.get(session, user_id)
    if borrower is None or not borrower.active:
        raise not_found("user")
    return borrower.id
