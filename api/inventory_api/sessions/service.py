"""Sessions live on by refresh tokens, of which each is good for one use.

A token that is used again after its successor was, or later than the grace, is in two hands: the session ends. Within
the grace, the same successor is given out again. So two tabs that refresh at once, and a client whose answer was lost,
go on with one and the same token, and there are never two that would do. The successor follows from the token itself
and a salt: it can be given out again although only digests are kept.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api import opaque_tokens
from inventory_api.database import Database
from inventory_api.pages import PageQuery
from inventory_api.problems import Problem, not_found
from inventory_api.security import SecurityEvent, SecurityEventKind
from inventory_api.sessions import repository
from inventory_api.sessions.models import RefreshToken
from inventory_api.sessions.repository import Held
from inventory_api.users.permissions import Permission, Principal, demand

_PREFIX = "invr_"
_DEVICE_LENGTH = 200


class EndReason(enum.StrEnum):
    SIGNED_OUT = "signed-out"
    SIGNED_OUT_EVERYWHERE = "signed-out-everywhere"
    PASSWORD_CHANGED = "password-changed"  # noqa: S105 - a reason
    DEACTIVATED = "deactivated"
    TOKEN_REUSED = "token-reused"  # noqa: S105 - a reason


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Of a refresh token, of a session however often it is refreshed, and of the grace for a token just used."""

    refresh: timedelta
    longest: timedelta
    grace: timedelta


@dataclass(frozen=True, slots=True)
class Grant:
    """What whoever signs in or refreshes is given."""

    user_id: int
    session_id: int
    refresh_token: str
    remaining: timedelta


async def begin(
    session: AsyncSession, user_id: int, password_hash: str, device: str | None, lifetimes: Lifetimes
) -> Grant | None:
    """A session of a user who has just shown to know the password; None if it isn't theirs any more."""
    remaining = min(lifetimes.refresh, lifetimes.longest)
    begun = await repository.begin(session, user_id, password_hash, _shown(device), remaining)
    if begun is None:
        return None
    token = opaque_tokens.issue(_PREFIX)
    await repository.add_token(session, begun.id, opaque_tokens.digest(token), begun.expires_at)
    return Grant(user_id, begun.id, token, remaining)


async def refresh(database: Database, token: str, lifetimes: Lifetimes) -> Grant:
    """The session's next token. Raises a 401 Problem where the session is over, or ends with this."""
    async with database.transaction() as session:
        outcome = await _use(session, token, lifetimes)
    # Not before it is kept: a refusal must not undo the end of the session.
    if isinstance(outcome, Grant):
        return outcome
    raise Problem(
        HTTPStatus.UNAUTHORIZED,
        "session-over",
        "This refresh token is not good any more. Sign in again.",
        {"WWW-Authenticate": "Bearer"},
        event=outcome,
    )


async def sign_out(session: AsyncSession, caller: Principal) -> None:
    """Ends the session that is calling."""
    demand(caller, Permission.OWN_ACCOUNT)
    if caller.session_id is None:
        await repository.sign_out_before_sessions(session, caller.id)
    else:
        await repository.end(session, caller.id, EndReason.SIGNED_OUT, caller.session_id)


async def sign_out_everywhere(session: AsyncSession, caller: Principal) -> None:
    demand(caller, Permission.OWN_ACCOUNT)
    await repository.end_all(session, caller.id, EndReason.SIGNED_OUT_EVERYWHERE)


async def end(session: AsyncSession, caller: Principal, session_id: int) -> None:
    """Ends one of the caller's own sessions; one that is over stays so."""
    demand(caller, Permission.OWN_ACCOUNT)
    if not await repository.end(session, caller.id, EndReason.SIGNED_OUT, session_id):
        raise not_found("session of yours")


async def end_all_of(session: AsyncSession, user_id: int, reason: EndReason, but: int | None = None) -> None:
    """On behalf of another service, which has changed the user's row before."""
    await repository.end_all(session, user_id, reason, but)


async def page(session: AsyncSession, caller: Principal, query: PageQuery) -> Sequence[Any]:
    demand(caller, Permission.OWN_ACCOUNT)
    return await repository.page(session, caller.id, caller.session_id, query.after, query.limit + 1)


async def _use(session: AsyncSession, token: str, lifetimes: Lifetimes) -> Grant | SecurityEvent | None:
    """The grant; what security wants to see, where the token is in two hands; None where it is good no more."""
    held = await repository.hold(session, opaque_tokens.digest(token))
    if held is None:
        return None
    if held.token.rotated_at is not None:
        return await _use_again(session, token, held, lifetimes)
    if not _is_live(held, held.token):
        return None
    expires_at = min(held.now + lifetimes.refresh, held.session.created_at + lifetimes.longest)
    salt = opaque_tokens.new_salt()
    successor = opaque_tokens.successor(_PREFIX, token, salt)
    await repository.rotate(session, held, salt, expires_at)
    await repository.add_token(session, held.session.id, opaque_tokens.digest(successor), expires_at)
    return _grant(held, successor, expires_at)


async def _use_again(
    session: AsyncSession, token: str, held: Held, lifetimes: Lifetimes
) -> Grant | SecurityEvent | None:
    assert held.token.rotated_at is not None  # noqa: S101 - the caller has looked
    assert held.token.salt is not None  # noqa: S101 - it is set with the other
    successor = opaque_tokens.successor(_PREFIX, token, held.token.salt)
    known = await repository.token(session, opaque_tokens.digest(successor))
    # Seen from a request that began before the other, the other is in the future.
    age = max(held.now - held.token.rotated_at, timedelta(0))
    if known is not None and known.rotated_at is None and age < lifetimes.grace:
        return _grant(held, successor, known.expires_at) if _is_live(held, known) else None
    await repository.end(session, held.session.user_id, EndReason.TOKEN_REUSED, held.session.id)
    return SecurityEvent(
        SecurityEventKind.REFRESH_TOKEN_REUSED, held.session.user_id, f"session {held.session.id} is ended"
    )


def _is_live(held: Held, token: RefreshToken) -> bool:
    return held.active and held.session.ended_at is None and held.now < token.expires_at


def _grant(held: Held, token: str, expires_at: datetime) -> Grant:
    return Grant(held.session.user_id, held.session.id, token, expires_at - held.now)


def _shown(device: str | None) -> str:
    return "".join(character for character in device or "" if character.isprintable())[:_DEVICE_LENGTH]
