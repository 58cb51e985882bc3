from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response

from inventory_api.api_tokens import service
from inventory_api.api_tokens.schemas import ApiTokenCreate, ApiTokenQuery, ApiTokenShown, NewApiToken
from inventory_api.dependencies import Caller, Session, Shared
from inventory_api.fields import PathId
from inventory_api.pages import Page, page_of

router = APIRouter(prefix="/tokens", tags=["API tokens"])


@router.post("", status_code=201)
async def create_api_token(
    wanted: ApiTokenCreate, caller: Caller, session: Session, shared: Shared, response: Response
) -> NewApiToken:
    """The token is in this answer and nowhere else. If the answer is lost, revoke it and make another."""
    longest = timedelta(days=shared.settings.api_token_max_days)
    token, text = await service.create(session, caller, wanted, longest)
    response.headers["Cache-Control"] = "no-store"
    return NewApiToken(**ApiTokenShown.model_validate(token).model_dump(), token=text)


@router.get("")
async def list_api_tokens(
    query: Annotated[ApiTokenQuery, Query()], caller: Caller, session: Session
) -> Page[ApiTokenShown]:
    """Expired and revoked ones too, for a while."""
    return page_of(await service.page(session, caller, query), query, ApiTokenShown, lambda token: token.id)


@router.delete("/{token_id}", status_code=204)
async def revoke_api_token(token_id: PathId, caller: Caller, session: Session) -> None:
    """Ends a token at once: one's own, or as an admin anybody's."""
    await service.revoke(session, caller, token_id)
