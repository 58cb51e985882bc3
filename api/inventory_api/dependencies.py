"""What endpoints ask for: the shared resources, a transaction, and who is calling."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.problems import Problem, unavailable
from inventory_api.resources import Resources
from inventory_api.users import repository as users
from inventory_api.users.models import Role
from inventory_api.users.permissions import Principal

_bearer = HTTPBearer(auto_error=False, description="The access token from `POST /api/v1/auth/token`")


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
    user_id = resources.tokens.user_id(credentials.credentials) if credentials else None
    user = await users.get(session, user_id) if user_id else None
    if user is None or not user.active:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "not-signed-in",
            "Sign in with POST /api/v1/auth/token and send its access token.",
            {"WWW-Authenticate": "Bearer"},
        )
    request.state.user_id = user.id
    return Principal(user.id, Role(user.role))


Caller = Annotated[Principal, Depends(_caller, scope="function")]
