"""What endpoints ask for: the shared resources, a transaction, and who is calling."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, Request, Security
from fastapi.security import HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Scope

from inventory_api.authentication import caller_of
from inventory_api.problems import Problem, request_id, unavailable
from inventory_api.reads import Reads
from inventory_api.resources import Resources
from inventory_api.security import SecurityEvent
from inventory_api.traffic.request import first_headers
from inventory_api.users.permissions import Principal, demand_change

_SAFE = frozenset({"GET", "HEAD"})


def _resources_of(request: Request) -> Resources:
    resources = request.app.state.resources
    assert isinstance(resources, Resources)  # noqa: S101 - create_app puts it there
    return resources


def _serving_of(request: Request) -> Resources:
    resources = _resources_of(request)
    if not resources.readiness.ready:
        raise unavailable("The service is still starting.")
    return resources


# FastAPI hands a dependency that isn't a coroutine to a thread, and a busy process waits long for each of these.
async def _resources(request: Request) -> Resources:
    return _resources_of(request)


Shared = Annotated[Resources, Depends(_resources)]


async def _serving(request: Request) -> Resources:
    return _serving_of(request)


Serving = Annotated[Resources, Depends(_serving)]


async def _transaction(request: Request, resources: Serving) -> AsyncIterator[AsyncSession]:
    async with resources.database.transaction() as session:
        yield session
    if request.method not in _SAFE:
        resources.known_callers.forget()


# Scope "function": the commit comes before the answer, so that no caller is told of work that was not kept.
Session = Annotated[AsyncSession, Depends(_transaction, scope="function")]


async def _authenticated(request: Request) -> Principal:
    state: dict[str, Any] = request.scope["state"]
    known: Principal | None = state.get("caller")
    if known is not None:
        return known  # another dependency has asked
    resources = _serving_of(request)
    token = _bearer(request.scope)
    is_safe = request.method in _SAFE
    caller = resources.known_callers.get(token) if is_safe else None
    if caller is None:
        caller = await _look_up(resources, token)
        resources.known_callers.keep(token, caller)
    state["caller"], state["user_id"] = caller, caller.id
    if not is_safe:
        demand_change(caller)
    return caller


def _bearer(scope: Scope) -> str:
    scheme, _, given = first_headers(scope).get(b"authorization", b"").decode("latin-1").partition(" ")
    return given if scheme.lower() == "bearer" else ""


async def _look_up(resources: Resources, token: str) -> Principal:
    caller = await caller_of(resources.database.reads, resources.tokens, resources.api_token_uses, token)
    if caller is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "not-signed-in",
            "Sign in with POST /api/v1/auth/token and send its access token.",
            {"WWW-Authenticate": "Bearer"},
        )
    return caller


class _Bearer(HTTPBearer):
    """The security scheme, which is also what it leads to: each dependency costs every request a little."""

    def __init__(self) -> None:
        super().__init__(
            scheme_name="HTTPBearer",
            description="The access token from `POST /api/v1/auth/token`, or an API token from `POST /api/v1/tokens`",
        )


class _Caller(_Bearer):
    async def __call__(self, request: Request) -> Principal:  # type: ignore[override]
        return await _authenticated(request)


class _Reads(_Bearer):
    async def __call__(self, request: Request) -> Reads:  # type: ignore[override]
        await _authenticated(request)
        return _resources_of(request).database.reads


Caller = Annotated[Principal, Security(_Caller())]
# For whoever is signed in, no matter who it is.
Reading = Annotated[Reads, Security(_Reads())]


def report(event: SecurityEvent, request: Request) -> None:
    """Has it counted, logged and written down, with where it came from."""
    address = request.client.host if request.client else ""
    _resources_of(request).security_events.report(event, request_id(request), address)


def report_after(tasks: BackgroundTasks, request: Request, event: SecurityEvent) -> None:
    """The same once the transaction is kept and the request is answered."""
    tasks.add_task(report, event, request)
