"""What endpoints ask for: the shared resources, a transaction, and who is calling."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated

from fastapi import BackgroundTasks, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.authentication import caller_of
from inventory_api.problems import Problem, request_id, unavailable
from inventory_api.resources import Resources
from inventory_api.security import SecurityEvent
from inventory_api.users.permissions import Principal, demand_change

_SAFE = frozenset({"GET", "HEAD"})
_bearer = HTTPBearer(
    auto_error=False,
    description="The access token from `POST /api/v1/auth/token`, or an API token from `POST /api/v1/tokens`",
)


def _resources(request: Request) -> Resources:
    resources = request.app.state.resources
    assert isinstance(resources, Resources)  # noqa: S101 - create_app puts it there
    return resources


Shared = Annotated[Resources, Depends(_resources)]


def _serving(resources: Shared) -> Resources:
    if not resources.readiness.ready:
        raise unavailable("The service is still starting.")
    return resources


Serving = Annotated[Resources, Depends(_serving)]


async def _transaction(resources: Serving) -> AsyncIterator[AsyncSession]:
    async with resources.database.transaction() as session:
        yield session


# Scope "function": the commit comes before the answer, so that no caller is told of work that was not kept.
Session = Annotated[AsyncSession, Depends(_transaction, scope="function")]


async def _caller(
    request: Request,
    resources: Shared,
    session: Session,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    token = credentials.credentials if credentials else ""
    caller = await caller_of(session, resources.tokens, resources.api_token_uses, token)
    if caller is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "not-signed-in",
            "Sign in with POST /api/v1/auth/token and send its access token.",
            {"WWW-Authenticate": "Bearer"},
        )
    request.state.user_id = caller.id
    if request.method not in _SAFE:
        demand_change(caller)
    return caller


Caller = Annotated[Principal, Depends(_caller, scope="function")]


def report(event: SecurityEvent, request: Request) -> None:
    """Has it counted, logged and written down, with where it came from."""
    address = request.client.host if request.client else ""
    _resources(request).security_events.report(event, request_id(request), address)


def report_after(tasks: BackgroundTasks, request: Request, event: SecurityEvent) -> None:
    """The same once the transaction is kept and the request is answered."""
    tasks.add_task(report, event, request)
