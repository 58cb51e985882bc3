from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api import opaque_tokens
from inventory_api.api_tokens import repository
from inventory_api.api_tokens.models import ApiToken
from inventory_api.api_tokens.schemas import ApiTokenCreate, ApiTokenQuery
from inventory_api.audit import service as audit
from inventory_api.problems import Problem, conflict, not_found
from inventory_api.users import repository as users
from inventory_api.users.permissions import Permission, Principal, demand, may, useless

PREFIX = "inv_"
_START_LENGTH = len(PREFIX) + 4
_USUAL_AGE = timedelta(days=90)
_LIVE_AT_MOST = 50


async def create(
    session: AsyncSession, caller: Principal, wanted: ApiTokenCreate, longest: timedelta
) -> tuple[ApiToken, str]:
    """The new token and its text, which is kept nowhere.

    Raises a Problem where a scope gives the caller nothing, where it would live longer than `longest`, or where the
    caller has very many already.
    """
    demand(caller, Permission.OWN_ACCOUNT)
    now = datetime.now(UTC)
    expires_at = wanted.expires_at or now + min(_USUAL_AGE, longest)
    _demand_sensible(caller, wanted, expires_at, now, longest)
    # Whoever deactivates the user, or makes a token at the same time, comes before or after this.
    await users.lock(session, caller.id)
    if await repository.count_live(session, caller.id) >= _LIVE_AT_MOST:
        raise conflict("too-many-tokens", f"You have {_LIVE_AT_MOST} API tokens, and no more may be: revoke some.")
    text = opaque_tokens.issue(PREFIX)
    token = await repository.add(
        session,
        user_id=caller.id,
        name=wanted.name,
        start=text[:_START_LENGTH],
        digest=opaque_tokens.digest(text),
        scopes=wanted.scopes,
        expires_at=expires_at,
    )
    made = {"name": token.name, "scopes": token.scopes, "expires_at": token.expires_at}
    await audit.record(session, caller, "create", "api-token", token.id, None, made)
    return token, text


async def page(session: AsyncSession, caller: Principal, query: ApiTokenQuery) -> Sequence[ApiToken]:
    whose = query.user_id or caller.id
    demand(caller, Permission.EDIT_USERS if query.everybodys or whose != caller.id else Permission.OWN_ACCOUNT)
    filters = {} if query.everybodys and query.user_id is None else {"user_id": whose}
    return await repository.after(session, query.after, query.limit + 1, filters)


async def revoke(session: AsyncSession, caller: Principal, token_id: int) -> None:
    """Ends an API token at once; one that is revoked stays so."""
    token = await repository.get(session, token_id)
    # A token that isn't the caller's business looks like one that isn't there.
    if token is None or not (token.user_id == caller.id or may(caller, Permission.EDIT_USERS)):
        raise not_found("API token")
    demand(caller, Permission.OWN_ACCOUNT if token.user_id == caller.id else Permission.EDIT_USERS)
    for revoked in await repository.revoke(session, id=token_id):
        await audit.record(session, caller, "revoke", "api-token", revoked, None, None)


async def revoke_all_of(session: AsyncSession, user_id: int) -> None:
    """On behalf of another service, which has changed the user's row before."""
    await repository.revoke(session, user_id=user_id)


def _demand_sensible(
    caller: Principal, wanted: ApiTokenCreate, expires_at: datetime, now: datetime, longest: timedelta
) -> None:
    nothing = useless(caller.role, wanted.scopes)
    if nothing:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "useless-scope",
            f"The scope {nothing[0]} would give a token nothing: the role {caller.role} may do none of it.",
        )
    if not now < expires_at <= now + longest:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "wrong-expiry",
            f"An API token must expire in the future, and within {longest.days} days.",
        )
