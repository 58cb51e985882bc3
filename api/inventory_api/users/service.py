from collections.abc import Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.pages import PageQuery
from inventory_api.passwords import Passwords
from inventory_api.problems import conflict, not_found
from inventory_api.users import repository
from inventory_api.users.models import Role, User
from inventory_api.users.permissions import Permission, Principal, demand
from inventory_api.users.schemas import UserCreate

log = structlog.get_logger()


async def create(session: AsyncSession, passwords: Passwords, caller: Principal, wanted: UserCreate) -> User:
    demand(caller, Permission.EDIT_USERS)
    return await register(session, passwords, wanted)


async def register(session: AsyncSession, passwords: Passwords, wanted: UserCreate) -> User:
    """Adds a user on the operator's own authority."""
    with passwords.place_in_line():
        password_hash = await passwords.hash(wanted.password)
    user = await repository.add(
        session, email=wanted.email, name=wanted.name, role=wanted.role, password_hash=password_hash
    )
    if user is None:
        raise conflict("email-taken", "There is a user with this email address already.")
    return user


async def ensure_first_admin(session: AsyncSession, passwords: Passwords, email: str, password: str) -> None:
    """Adds an admin to a service that has no user at all, however many pods start at once."""
    if await repository.is_empty(session):
        wanted = UserCreate(email=email, name="Administrator", role=Role.ADMIN, password=password)
        await register(session, passwords, wanted)
        log.info("first admin created", email=email)


async def page(session: AsyncSession, caller: Principal, query: PageQuery) -> Sequence[User]:
    demand(caller, Permission.SEE_USERS)
    return await repository.after(session, query.after, query.limit + 1)


async def get(session: AsyncSession, caller: Principal, user_id: int) -> User:
    if user_id != caller.id:
        demand(caller, Permission.SEE_USERS)
    user = await repository.get(session, user_id)
    if user is None:
        raise not_found("user")
    return user
