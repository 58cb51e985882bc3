from datetime import timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from inventory_api.dependencies import Caller, Session, Shared
from inventory_api.fields import PathId
from inventory_api.idempotency.header import IdempotencyKey, OptionalIdempotencyKey, response_of
from inventory_api.idempotency.service import Answer, answer_once, answer_with
from inventory_api.loans import service
from inventory_api.loans.models import Loan
from inventory_api.loans.schemas import CheckOut, LoanQuery, LoanShown, Loss, Renewal, Return
from inventory_api.pages import Page, page_of
from inventory_api.problems import Problem

router = APIRouter(prefix="/loans", tags=["loans"])


async def _policy(shared: Shared) -> service.Policy:
    days = shared.settings.loan_max_days
    return service.Policy(timedelta(days=days) if days else None, shared.settings.loan_max_renewals)


Policy = Annotated[service.Policy, Depends(_policy)]


@router.post("", status_code=201, response_model=LoanShown)
async def check_out(
    wanted: CheckOut, key: IdempotencyKey, caller: Caller, session: Session, policy: Policy
) -> Response:
    async def work() -> Answer:
        return _answer(await service.check_out(session, caller, wanted, policy), 201)

    return response_of(await answer_once(session, caller.id, "check-out", key, wanted, work))


@router.post("/{loan_id}/return", response_model=LoanShown)
async def return_loan(
    loan_id: PathId, caller: Caller, session: Session, wanted: Return | None = None, key: OptionalIdempotencyKey = None
) -> Response:
    """All of it, or a part; a part given as a quantity needs an Idempotency-Key, or it might come back twice."""
    given = wanted or Return()
    _demand_key(key, given)

    async def work() -> Answer:
        return _answer(await service.take_back(session, caller, loan_id, given))

    return response_of(await answer_with(session, caller.id, f"return:{loan_id}", key, given, work))


@router.post("/{loan_id}/lost", response_model=LoanShown)
async def report_lost(
    loan_id: PathId, caller: Caller, session: Session, wanted: Loss | None = None, key: OptionalIdempotencyKey = None
) -> Response:
    """All that is still out, or a part; a part given as a quantity needs an Idempotency-Key."""
    given = wanted or Loss()
    _demand_key(key, given)

    async def work() -> Answer:
        return _answer(await service.lose(session, caller, loan_id, given))

    return response_of(await answer_with(session, caller.id, f"lost:{loan_id}", key, given, work))


@router.post("/{loan_id}/renew", response_model=LoanShown)
async def renew_loan(loan_id: PathId, wanted: Renewal, caller: Caller, session: Session, policy: Policy) -> Loan:
    return await service.renew(session, caller, loan_id, wanted, policy)


@router.get("")
async def list_loans(query: Annotated[LoanQuery, Query()], caller: Caller, session: Session) -> Page[LoanShown]:
    return page_of(await service.page(session, caller, query), query, LoanShown, lambda loan: loan.id)


@router.get("/{loan_id}", response_model=LoanShown)
async def get_loan(loan_id: PathId, caller: Caller, session: Session) -> Loan:
    return await service.get(session, caller, loan_id)


def _answer(loan: Loan, status: int = 200) -> Answer:
    return Answer(status, LoanShown.model_validate(loan).model_dump(mode="json"))


def _demand_key(key: str | None, given: Return | Loss) -> None:
    if given.quantity is not None and key is None:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "idempotency-key-needed",
            "A part of a loan needs an Idempotency-Key: sent again without one, it would be counted twice.",
        )
