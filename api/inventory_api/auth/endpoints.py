from typing import Annotated

from fastapi import APIRouter, Header, Response

from inventory_api.auth import service
from inventory_api.auth.schemas import SignIn
from inventory_api.dependencies import Serving
from inventory_api.sessions.endpoints import Lifetimes, answer_with
from inventory_api.sessions.schemas import AccessToken

router = APIRouter(prefix="/auth", tags=["sign-in"])


@router.post("/token")
async def sign_in(
    given: SignIn,
    shared: Serving,
    lifetimes: Lifetimes,
    response: Response,
    user_agent: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> AccessToken:
    grant = await service.sign_in(shared.database, shared.passwords, shared.throttle, given, user_agent, lifetimes)
    return answer_with(grant, shared.tokens, response)
