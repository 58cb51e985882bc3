from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.api_tokens import service as api_tokens
from inventory_api.audit import service as audit
from inventory_api.cache import outdate
from inventory_api.concurrency import demand_version
from inventory_api.passwords import Passwords
from inventory_api.problems import Problem, conflict, not_found, too_many_attempts
from inventory_api.reads import Reads
from inventory_api.security import SecurityEvent, SecurityEventKind
from inventory_api.sessions import service as sessions
from inventory_api.sessions.service import EndReason
from inventory_api.throttle import SignInThrottle
from inventory_api.users import repository
from inventory_api.users.models import Role, User
from inventory_api.users.permissions import Permission, Principal, demand
from inventory_api.users.schemas import PasswordChange, PasswordReset, UserChange, UserCreate, UserQuery

log = structlog.get_logger()


async def create(session: AsyncSession, passwords: Passwords, caller: Principal, wanted: UserCreate) -> User:
    demand(caller, Permission.EDIT_USERS)
    return await register(session, passwords, wanted, caller)


async def register(
    session: AsyncSession, passwords: Passwords, wanted: UserCreate, caller: Principal | None = None
) -> User:
    """Adds a user; without a caller, on the operator's own authority."""
    with passwords.place_in_line():
        password_hash = await passwords.hash(wanted.password)
    user = await repository.add(
        session, email=wanted.email, name=wanted.name, role=wanted.role, password_hash=password_hash
    )
    if user is None:
        raise _taken()
    outdate(session, "catalogue")
    await audit.record(session, caller, "create", "user", user.id, None, wanted.model_dump(exclude={"password"}))
    return user


async def ensure_first_admin(session: AsyncSession, passwords: Passwords, email: str, password: str) -> None:
    """Adds an admin to a service that has no user at all, however many pods start at once."""
    if await repository.is_empty(session):
        wanted = UserCreate(email=email, name="Administrator", role=Role.ADMIN, password=password)
        await register(session, passwords, wanted)
        log.info("first admin created", email=email)


async def page(session: AsyncSession, caller: Principal, query: UserQuery) -> Sequence[User]:
    demand(caller, Permission.SEE_USERS)
    filters = query.model_dump(include={"role", "active"}, exclude_none=True)
    return await repository.after(session, query.after, query.limit + 1, filters, query.q)


async def get(session: AsyncSession, caller: Principal, user_id: int) -> User:
    if user_id != caller.id:
        demand(caller, Permission.SEE_USERS)
    user = await repository.get(session, user_id)
    if user is None:
        raise not_found("user")
    return user


async def change(
    session: AsyncSession, caller: Principal, user_id: int, wanted: UserChange, if_match: str | None
) -> User:
    """People may change their own name, admins everything of everybody; what is so already changes nothing.

    Who is deactivated has nothing left to call with. Raises a 409 Problem where no active admin would be left.
    """
    given = wanted.model_dump(exclude_unset=True)
    only_own_name = user_id == caller.id and given.keys() <= {"name"}
    demand(caller, Permission.OWN_ACCOUNT if only_own_name else Permission.EDIT_USERS)
    if given.keys() & {"role", "active"}:
        await repository.hold_admins(session)
    user = await repository.lock(session, user_id)
    if user is None:
        raise not_found("user")
    demand_version(if_match, user.version)
    before = {name: getattr(user, name) for name in given}
    if before == given:
        return user
    await _demand_admin_left(session, user, given)
    try:
        changed = await repository.change(session, user_id, given)
    except IntegrityError as error:
        raise _taken() from error
    if given.get("active") is False:
        await sessions.end_all_of(session, user_id, EndReason.DEACTIVATED)
        await api_tokens.revoke_all_of(session, user_id)
    outdate(session, "catalogue")
    await audit.record(session, caller, "change", "user", user_id, before, given)
    return changed


async def change_password(
    session: AsyncSession,
    reads: Reads,
    passwords: Passwords,
    throttle: SignInThrottle,
    caller: Principal,
    wanted: PasswordChange,
) -> None:
    """Sets the caller's own password, and ends all their sessions but the one that calls."""
    demand(caller, Permission.OWN_ACCOUNT)
    with passwords.place_in_line():
        known = await repository.credentials(reads, caller.id)
        if known is None:
            raise not_found("user")
        # Whoever has got hold of a session must not find the password by it.
        if not await throttle.admit(known["email"]):
            raise too_many_attempts(caller.id)
        if not await passwords.verify(wanted.current_password, known["password_hash"]):
            raise _wrong_password(caller.id)
        password_hash = await passwords.hash(wanted.new_password)
    user = await repository.lock(session, caller.id)
    # Somebody else who knew it may have changed it meanwhile.
    if user is None or user.password_hash != known["password_hash"]:
        raise _wrong_password(caller.id)
    await _set_password(session, caller, caller.id, password_hash, keep_session=caller.session_id)
    await throttle.forget(known["email"])


async def reset_password(
    session: AsyncSession, passwords: Passwords, caller: Principal, user_id: int, wanted: PasswordReset
) -> None:
    """Sets somebody else's password, and ends all their sessions."""
    demand(caller, Permission.EDIT_USERS)
    if user_id == caller.id:
        raise conflict("own-password", "Your own password is changed with PUT /api/v1/users/me/password.")
    with passwords.place_in_line():
        password_hash = await passwords.hash(wanted.new_password)
    if await repository.lock(session, user_id) is None:
        raise not_found("user")
    await _set_password(session, caller, user_id, password_hash, keep_session=None)


async def _set_password(
    session: AsyncSession, caller: Principal, user_id: int, password_hash: str, keep_session: int | None
) -> None:
    await repository.set_password(session, user_id, password_hash)
    await sessions.end_all_of(session, user_id, EndReason.PASSWORD_CHANGED, but=keep_session)
    await audit.record(session, caller, "change-password", "user", user_id, None, None)


async def _demand_admin_left(session: AsyncSession, user: User, given: Mapping[str, Any]) -> None:
    stays = given.get("role", user.role) == Role.ADMIN and given.get("active", user.active)
    if user.role == Role.ADMIN and user.active and not stays and not await repository.is_other_admin(session, user.id):
        raise conflict("last-admin", "This is the last active admin: make somebody else one first.")


def _taken() -> Problem:
    return conflict("email-taken", "There is a user with this email address already.")


def _wrong_password(user_id: int) -> Problem:
    event = SecurityEvent(SecurityEventKind.SIGN_IN_FAILED, user_id, "wrong current password")
    return Problem(HTTPStatus.FORBIDDEN, "wrong-password", "The current password is wrong.", event=event)
