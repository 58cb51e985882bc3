from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from inventory_api.dependencies import Caller, Serving, Session, Shared
from inventory_api.fields import PathId
from inventory_api.pages import Page, PageQuery, page_of
from inventory_api.problems import Problem
from inventory_api.sessions import service
from inventory_api.sessions.schemas import AccessToken, Refresh, SessionShown
from inventory_api.tokens import Tokens

router = APIRouter(prefix="/auth", tags=["sign-in"])


async def _lifetimes(shared: Shared) -> service.Lifetimes:
    settings = shared.settings
    return service.Lifetimes(
        refresh=timedelta(seconds=settings.refresh_token_seconds),
        longest=timedelta(seconds=settings.session_max_seconds),
        grace=timedelta(seconds=settings.refresh_grace_seconds),
    )


Lifetimes = Annotated[service.Lifetimes, Depends(_lifetimes)]


def answer_with(grant: service.Grant, tokens: Tokens, response: Response) -> AccessToken:
    """The tokens, in an answer that nobody on the way may keep (RFC 6749, 5.1)."""
    response.headers["Cache-Control"] = "no-store"
    remaining = int(grant.remaining.total_seconds())
    return AccessToken(
        access_token=tokens.issue(grant.user_id, grant.session_id),
        expires_in=min(tokens.seconds, remaining),
        refresh_token=grant.refresh_token,
        refresh_expires_in=remaining,
    )


@router.post("/refresh")
async def refresh_session(given: Refresh, shared: Serving, lifetimes: Lifetimes, response: Response) -> AccessToken:
    """New tokens for a refresh token, which is good for one use.

    Sent again at once, as by two tabs or after a lost answer, it gives the same refresh token again. Used again later,
    it is taken for stolen, and the session ends.
    """
    try:
        grant = await service.refresh(shared.database, given.refresh_token, lifetimes)
    except Problem:
        # It may have ended a session whose access tokens have called just now.
        shared.known_callers.forget()
        raise
    return answer_with(grant, shared.tokens, response)


@router.post("/sign-out", status_code=204)
async def sign_out(caller: Caller, session: Session) -> None:
    """Ends this session with all its tokens, at once."""
    await service.sign_out(session, caller)


@router.post("/sign-out-everywhere", status_code=204)
async def sign_out_everywhere(caller: Caller, session: Session) -> None:
    """Ends all of the caller's sessions with all their tokens, at once. API tokens go on: revoke them one by one."""
    await service.sign_out_everywhere(session, caller)


@router.get("/sessions")
async def list_sessions(query: Annotated[PageQuery, Query()], caller: Caller, session: Session) -> Page[SessionShown]:
    """The caller's own sessions that aren't over."""
    return page_of(await service.page(session, caller, query), query, SessionShown, lambda row: row.id)


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: PathId, caller: Caller, session: Session) -> None:
    """Ends one of the caller's own sessions with all its tokens, at once."""
    await service.end(session, caller, session_id)
