"""How long a request may take."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inventory_api.metrics import Metrics
from inventory_api.problems import RETRY_AFTER, problem_response
from inventory_api.traffic.routes import RouteClass, route_class

log = structlog.get_logger()

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class TimeLimit:
    """Ends a request whose time is over: its transaction is undone, its connection goes back, its caller is told.

    Where the answer has begun, the connection is broken off, so that no caller takes a part for the whole.
    """

    def __init__(self, app: ASGIApp, seconds: Mapping[RouteClass, float], metrics: Metrics) -> None:
        self._app = app
        self._seconds = seconds
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        seconds = self._seconds[route_class(scope["method"], scope["path"])]
        answering = False

        async def send_noted(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            async with asyncio.timeout(seconds) as limit:
                await self._app(scope, receive, send_noted)
        except TimeoutError:
            if not limit.expired() or answering:
                raise
            self._metrics.refused("time")
            log.warning("request took too long", path=scope["path"], seconds=seconds)
            await _too_slow(scope, seconds)(scope, receive, send)


def _too_slow(scope: Scope, seconds: float) -> ASGIApp:
    """Of what was to change something, the commit may have been under way."""
    kind, did = "unavailable", "It did nothing; send it again, or ask for less"
    if scope["method"] not in _SAFE:
        kind = "outcome-unknown"
        did = "It may have been carried out; send it again unchanged, with the same Idempotency-Key if it has one"
    return problem_response(
        scope["state"]["request_id"],
        HTTPStatus.SERVICE_UNAVAILABLE,
        kind,
        f"The request took longer than {seconds:g} s and was ended. {did}.",
        RETRY_AFTER,
    )
