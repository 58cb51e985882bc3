"""What happens past saturation: a quick 503 for some, instead of a long wait for all."""

import asyncio
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from inventory_api.middleware import PROBES
from inventory_api.problems import RETRY_AFTER, problem_response
from inventory_api.traffic.refusals import Refusals

_SAMPLE_SECONDS = 0.1
# One late moment is a garbage collection or a large answer; only a delay that stands is a queue.
_STANDING_SECONDS = 1.0
_LEAST = 8


class Saturation:
    """How many requests may be in flight: all that are allowed while the event loop keeps up, fewer while it is late.

    The delay that a callback meets is the queue that every request stands in. While it stands above what is put up
    with, the number falls by a quarter with each look, and it rises again by a twentieth of the whole.
    """

    def __init__(self, most: int, delay_seconds: float) -> None:
        self._most = most
        self._delay_seconds = delay_seconds
        self._late_since: float | None = None
        self.limit = most

    def drained(self) -> None:
        """Nothing is in flight, so there is no queue."""
        self._late_since = None
        self.limit = self._most

    def observe(self, lateness: float, now: float) -> None:
        if lateness <= self._delay_seconds:
            self._late_since = None
            self.limit = min(self._most, self.limit + max(1, self._most // 20))
        elif self._late_since is None:
            self._late_since = now
        elif now - self._late_since >= _STANDING_SECONDS:
            self.limit = max(min(_LEAST, self._most), self.limit * 3 // 4)


class LoadShedding:
    """Answers at once what it can't take in. Probes and metrics always get in: a busy pod lives, and is to be seen."""

    def __init__(self, app: ASGIApp, saturation: Saturation, refusals: Refusals) -> None:
        self._app = app
        self._saturation = saturation
        self._refusals = refusals
        self._in_flight = 0
        self._is_watching = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            return await self._app(scope, receive, send)
        if self._in_flight >= self._saturation.limit:
            self._refusals.count("overload")
            response = problem_response(
                scope["state"]["request_id"],
                HTTPStatus.SERVICE_UNAVAILABLE,
                "unavailable",
                "The service has more requests than it can work on. This one did nothing; send it again.",
                RETRY_AFTER,
            )
            return await response(scope, receive, send)
        self._in_flight += 1
        if not self._is_watching:
            self._watch()
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1

    def _watch(self) -> None:
        """Looks at the event loop's delay as long as there is anything in flight."""
        self._is_watching = True
        loop = asyncio.get_running_loop()
        due = loop.time() + _SAMPLE_SECONDS
        loop.call_at(due, self._look, loop, due)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        self._is_watching = False
        if self._in_flight:
            self._saturation.observe(now - due, now)
            self._watch()
        else:
            self._saturation.drained()
