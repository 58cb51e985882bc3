from typing import Annotated

from fastapi import APIRouter, Query

from inventory_api.dependencies import Caller, Session, Shared
from inventory_api.fields import PathId
from inventory_api.pages import Page, PageQuery, page_of
from inventory_api.users import service
from inventory_api.users.models import User
from inventory_api.users.schemas import UserCreate, UserShown

router = APIRouter(prefix="/users", tags=["users"])


@router.post("", status_code=201, response_model=UserShown)
async def create_user(wanted: UserCreate, caller: Caller, session: Session, shared: Shared) -> User:
    return await service.create(session, shared.passwords, caller, wanted)


@router.get("")
async def list_users(query: Annotated[PageQuery, Query()], caller: Caller, session: Session) -> Page[UserShown]:
    return page_of(await service.page(session, caller, query), query, UserShown, lambda user: user.id)


@router.get("/me", response_model=UserShown)
async def get_me(caller: Caller, session: Session) -> User:
    return await service.get(session, caller, caller.id)


@router.get("/{user_id}", response_model=UserShown)
async def get_user(user_id: PathId, caller: Caller, session: Session) -> User:
    return await service.get(session, caller, user_id)
