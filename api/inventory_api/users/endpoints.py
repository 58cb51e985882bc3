from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Query, Request, Response

from inventory_api.concurrency import IfMatch, with_etag
from inventory_api.dependencies import Caller, Session, Shared, report_after
from inventory_api.fields import PathId
from inventory_api.pages import Page, page_of
from inventory_api.security import SecurityEvent, SecurityEventKind
from inventory_api.users import service
from inventory_api.users.models import User
from inventory_api.users.schemas import PasswordChange, PasswordReset, UserChange, UserCreate, UserQuery, UserShown

router = APIRouter(prefix="/users", tags=["users"])


@router.post("", status_code=201, response_model=UserShown)
async def create_user(wanted: UserCreate, caller: Caller, session: Session, shared: Shared, response: Response) -> User:
    return with_etag(response, await service.create(session, shared.passwords, caller, wanted))


@router.get("")
async def list_users(query: Annotated[UserQuery, Query()], caller: Caller, session: Session) -> Page[UserShown]:
    return page_of(await service.page(session, caller, query), query, UserShown, lambda user: user.id)


@router.get("/me", response_model=UserShown)
async def get_me(caller: Caller, session: Session, response: Response) -> User:
    return with_etag(response, await service.get(session, caller, caller.id))


@router.put("/me/password", status_code=204)
async def change_my_password(
    wanted: PasswordChange, caller: Caller, session: Session, shared: Shared, request: Request, tasks: BackgroundTasks
) -> None:
    """Ends all of the caller's other sessions, at once."""
    reads, passwords, throttle = shared.database.reads, shared.passwords, shared.throttle
    await service.change_password(session, reads, passwords, throttle, caller, wanted)
    report_after(tasks, request, SecurityEvent(SecurityEventKind.PASSWORD_CHANGED, caller.id, "by themselves"))


@router.get("/{user_id}", response_model=UserShown)
async def get_user(user_id: PathId, caller: Caller, session: Session, response: Response) -> User:
    return with_etag(response, await service.get(session, caller, user_id))


@router.patch("/{user_id}", response_model=UserShown)
async def change_user(
    user_id: PathId, wanted: UserChange, if_match: IfMatch, caller: Caller, session: Session, response: Response
) -> User:
    """Admins change everybody, others their own name. Users are never removed, but deactivated: `active: false`."""
    return with_etag(response, await service.change(session, caller, user_id, wanted, if_match))


@router.put("/{user_id}/password", status_code=204)
async def reset_password(
    user_id: PathId,
    wanted: PasswordReset,
    caller: Caller,
    session: Session,
    shared: Shared,
    request: Request,
    tasks: BackgroundTasks,
) -> None:
    """Ends all of that user's sessions, at once."""
    await service.reset_password(session, shared.passwords, caller, user_id, wanted)
    report_after(tasks, request, SecurityEvent(SecurityEventKind.PASSWORD_CHANGED, user_id, f"by user {caller.id}"))
