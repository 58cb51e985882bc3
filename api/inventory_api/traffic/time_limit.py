"""How long a request may take."""

import asyncio
from collections.abc import Mapping
from contextvars import Context
from http import HTTPStatus

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from inventory_api.metrics import Metrics
from inventory_api.middleware import is_answering
from inventory_api.problems import RETRY_AFTER, problem_response
from inventory_api.traffic.request import class_of
from inventory_api.traffic.routes import RouteClass

log = structlog.get_logger()

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class _Deadlines:
    """Of requests that may all take so many seconds: who came first is over first, so one timer is enough for all.

    One for each request would take longer than to count it against its caller's rate.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends: dict[asyncio.Timeout, float] = {}
        self._is_watching = False

    def begin(self, limit: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        end = self._ends[limit] = loop.time() + self.seconds
        if not self._is_watching:
            self._watch(loop, end)

    def end(self, limit: asyncio.Timeout) -> None:
        self._ends.pop(limit, None)

    def _watch(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        self._is_watching = True
        loop.call_at(until, self._look, loop, context=Context())

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_watching = False
        now = loop.time()
        while self._ends:
            limit, end = next(iter(self._ends.items()))
            if end > now:
                return self._watch(loop, end)
            del self._ends[limit]
            limit.reschedule(now)


class TimeLimit:
    """Ends a request whose time is over: its transaction is undone, its connection goes back, its caller is told.

    Where the answer has begun, the connection is broken off, so that no caller takes a part for the whole.
    """

    def __init__(self, app: ASGIApp, seconds: Mapping[RouteClass, float], metrics: Metrics) -> None:
        self._app = app
        self._deadlines = {kind: _Deadlines(allowed) for kind, allowed in seconds.items()}
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        deadlines = self._deadlines[class_of(scope)]
        try:
            async with asyncio.timeout(None) as limit:
                deadlines.begin(limit)
                try:
                    await self._app(scope, receive, send)
                finally:
                    deadlines.end(limit)
        except TimeoutError:
            if not limit.expired() or is_answering(scope):
                raise
            self._metrics.refused("time")
            log.warning("request took too long", path=scope["path"], seconds=deadlines.seconds)
            await _too_slow(scope, deadlines.seconds)(scope, receive, send)


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
