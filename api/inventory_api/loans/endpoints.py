from typing import Annotated

from fastapi import APIRouter, Query, Response

from inventory_api.dependencies import Caller, Session
from inventory_api.fields import PathId
from inventory_api.idempotency.header import IdempotencyKey, response_of
from inventory_api.idempotency.service import Answer, answer_once
from inventory_api.loans import service
from inventory_api.loans.models import Loan
from inventory_api.loans.schemas import CheckOut, LoanQuery, LoanShown
from inventory_api.pages import Page, page_of

router = APIRouter(prefix="/loans", tags=["loans"])


@router.post("", status_code=201, response_model=LoanShown)
async def check_out(wanted: CheckOut, key: IdempotencyKey, caller: Caller, session: Session) -> Response:
    async def work() -> Answer:
        loan = await service.check_out(session, caller, wanted)
        return Answer(201, LoanShown.model_validate(loan).model_dump(mode="json"))

    return response_of(await answer_once(session, caller.id, "check-out", key, wanted, work))


@router.post("/{loan_id}/return", response_model=LoanShown)
async def return_loan(loan_id: PathId, caller: Caller, session: Session) -> Loan:
    return await service.take_back(session, caller, loan_id)


@router.get("")
async def list_loans(query: Annotated[LoanQuery, Query()], caller: Caller, session: Session) -> Page[LoanShown]:
    return page_of(await service.page(session, caller, query), query, LoanShown, lambda loan: loan.id)


@router.get("/{loan_id}", response_model=LoanShown)
async def get_loan(loan_id: PathId, caller: Caller, session: Session) -> Loan:
    return await service.get(session, caller, loan_id)
