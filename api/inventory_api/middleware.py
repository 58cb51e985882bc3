"""What happens around every request, as pure ASGI."""

import re
import time
import uuid
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inventory_api.metrics import Metrics
from inventory_api.problems import problem_response

log = structlog.get_logger()

PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_UNMATCHED = "unmatched"


class RequestIdentity:
    """Names every request, and tells the caller which release answered. A caller's own request id is kept."""

    def __init__(self, app: ASGIApp, release: str) -> None:
        self._app = app
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Inventory-Release"] = self._release
            await send(message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        await self._app(scope, receive, send_named)


class RequestRecord:
    """Counts and times every request and writes one line about it; whatever goes wrong inside becomes a 500."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.perf_counter()
        status = 0

        async def send_watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._metrics.in_progress():
            try:
                await self._app(scope, receive, send_watched)
            except Exception:
                log.exception("request failed", path=scope["path"])
                if not status:
                    detail = "Something went wrong here. The request id finds it in the log."
                    response = problem_response(scope["state"]["request_id"], 500, "internal-error", detail)
                    await response(scope, receive, send_watched)
        seconds = time.perf_counter() - started
        route = _route_template(scope)
        self._metrics.answered(scope["method"], route, status, seconds)
        if scope["path"] not in PROBES:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                route=route,
                status=status,
                milliseconds=round(seconds * 1000, 2),
                user=scope["state"].get("user_id"),
            )


class BodyLimit:
    """Refuses a body that is too large, by the bytes that come and not only by the length that is announced."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise HTTPException(413, f"A request may have {self._limit} bytes at most")
            return message

        await self._app(scope, receive_counted, send)


def _route_template(scope: Scope) -> str:
    """The whole template. Since FastAPI 0.137 `scope["route"].path` lacks the prefixes of including routers."""
    context = scope.get("fastapi", {}).get("effective_route_context")
    path = getattr(context, "path", None) or getattr(scope.get("route"), "path", None)
    return str(path) if path else _UNMATCHED
