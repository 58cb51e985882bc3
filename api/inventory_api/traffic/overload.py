"""What happens past saturation: a quick 503 for some, instead of a long wait for all."""

import asyncio
from collections.abc import Iterator, Sequence
from http import HTTPStatus

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from inventory_api.metrics import Metrics
from inventory_api.middleware import PROBES, UNMATCHED, identify
from inventory_api.problems import RETRY_AFTER, problem_response
from inventory_api.traffic.security_headers import missing_security_headers

log = structlog.get_logger()

_SAMPLE_SECONDS = 0.1
_TELL_SECONDS = 10.0
_PLACE_OF_ID = "the-id-goes-here"
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
    """Answers at once what it can't take in. Probes and metrics always get in: a busy pod lives, and is to be seen.

    It stands before all that a request costs, its line in the log included: what is refused must leave the time to what
    is not. The figures count it, and a line tells from time to time how many there were.
    """

    def __init__(
        self,
        app: ASGIApp,
        saturation: Saturation,
        metrics: Metrics,
        release: str,
        origins: Sequence[str],
    ) -> None:
        self._app = app
        self._saturation = saturation
        self._metrics = metrics
        self._release = (b"x-inventory-release", release.encode())
        self._origins = frozenset(origin.encode() for origin in origins)
        response = problem_response(
            _PLACE_OF_ID,
            HTTPStatus.SERVICE_UNAVAILABLE,
            "unavailable",
            "The service has more requests than it can work on. This one did nothing; send it again.",
            RETRY_AFTER,
        )
        self._body = bytes(response.body).split(_PLACE_OF_ID.encode())
        self._headers = [header for header in response.raw_headers if header[0] != b"content-length"]
        self._in_flight = 0
        self._is_watching = False
        self._refused = 0
        self._told_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            return await self._app(scope, receive, send)
        if self._in_flight >= self._saturation.limit:
            return await self._refuse(scope, send)
        self._in_flight += 1
        if not self._is_watching:
            self._watch()
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1

    async def _refuse(self, scope: Scope, send: Send) -> None:
        self._refused += 1
        self._metrics.refused("overload")
        self._metrics.answered(scope["method"], UNMATCHED, HTTPStatus.SERVICE_UNAVAILABLE, 0)
        scope.setdefault("state", {})
        request_id = identify(scope).encode()
        body = request_id.join(self._body)
        named = [(b"x-request-id", request_id), self._release, (b"content-length", str(len(body)).encode())]
        headers = [*self._headers, *named, *self._for_a_page(scope)]
        headers += missing_security_headers(scope, headers)
        await send({"type": "http.response.start", "status": HTTPStatus.SERVICE_UNAVAILABLE, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _for_a_page(self, scope: Scope) -> Iterator[tuple[bytes, bytes]]:
        """CORS comes only further in; without these, a page that may call could not read that it should come again."""
        if self._origins:
            for name, value in scope["headers"]:
                if name == b"origin" and value in self._origins:
                    yield b"access-control-allow-origin", value
                    yield b"access-control-expose-headers", b"Retry-After, X-Request-ID"
                    yield b"vary", b"Origin"

    def _watch(self) -> None:
        """Looks at the event loop's delay as long as there is anything in flight."""
        self._is_watching = True
        loop = asyncio.get_running_loop()
        due = loop.time() + _SAMPLE_SECONDS
        loop.call_at(due, self._look, loop, due)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        self._is_watching = False
        if self._refused and now - self._told_at >= _TELL_SECONDS:
            log.warning("requests refused past saturation", count=self._refused, limit=self._saturation.limit)
            self._refused, self._told_at = 0, now
        if self._in_flight:
            self._saturation.observe(now - due, now)
            self._watch()
        else:
            self._saturation.drained()
