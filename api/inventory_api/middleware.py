"""What happens around every request, as pure ASGI."""

import random
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inventory_api.logs import begin_request
from inventory_api.metrics import Metrics
from inventory_api.problems import problem_response
from inventory_api.traffic.routes import RouteClass, route_class

if TYPE_CHECKING:
    from inventory_api.error_reports import ErrorReports

log = structlog.get_logger()

PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
# https://www.w3.org/TR/trace-context/#traceparent-header; the last bit says whether the trace is kept.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
UNMATCHED: Final = "unmatched"
_PATH_LOGGED = 200
# What nginx writes down for a caller who did not wait for the answer.
_CALLER_GONE = 499


class RequestIdentity:
    """Names every request, and tells the caller which release answered. A caller's own request id is kept."""

    def __init__(self, app: ASGIApp, release: str) -> None:
        self._app = app
        self._release = (b"x-inventory-release", release.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        state = scope.setdefault("state", {})
        request_id = identify(state, scope["headers"])
        named = ((b"x-request-id", request_id.encode()), self._release)

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *named]
            await send(message)

        begin_request(state)
        await self._app(scope, receive, send_named)


class RequestRecord:
    """Counts and times every request and writes one line about it; whatever goes wrong inside becomes a 500."""

    def __init__(self, app: ASGIApp, metrics: Metrics, errors: "ErrorReports | None" = None) -> None:
        self._app = app
        self._metrics = metrics
        self._errors = errors
        # Bound once, or each line would bind it anew.
        self._log = log.bind()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.perf_counter()
        status = 0
        failure: Exception | None = None

        async def send_watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_progress += 1
        try:
            await self._app(scope, receive, send_watched)
        except Exception as error:
            failure = error
            if not status:
                detail = "Something went wrong here. The request id finds it in the log."
                response = problem_response(scope["state"]["request_id"], 500, "internal-error", detail)
                await response(scope, receive, send_watched)
        finally:
            self._metrics.in_progress -= 1
            self._record(scope, status or _CALLER_GONE, time.perf_counter() - started, failure)

    def _record(self, scope: Scope, status: int, seconds: float, failure: Exception | None) -> None:
        state = scope["state"]
        route = state["route"] = route_template(scope)
        state["status"] = status
        self._metrics.answered(
            scope["method"], route, status, seconds, state["trace_id"] if state.get("trace_kept") else None
        )
        if failure is None and scope["path"] in PROBES:
            return
        facts: dict[str, Any] = {
            "method": scope["method"],
            "path": scope["path"][:_PATH_LOGGED],
            "route": route,
            "status": status,
            "milliseconds": round(seconds * 1000, 2),
        }
        if client := scope.get("client"):
            facts["client"] = client[0]
        for name in ("problem", "cause"):
            if name in state:
                facts[name] = state[name]
        if failure is not None:
            self._log.error("request", exc_info=failure, **facts)
            if self._errors is not None:
                self._errors.report(failure, request_id=state["request_id"], method=scope["method"], route=route)
        elif status >= 500:
            self._log.warning("request", **facts)
        else:
            self._log.info("request", **facts)


class BodyLimit:
    """Refuses a body that is too large, by the bytes that come and not only by the length that is announced."""

    def __init__(self, app: ASGIApp, limit: int, larger: Mapping[RouteClass, int]) -> None:
        self._app = app
        self._limit = limit
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        received = 0
        limit = self._larger.get(route_class(scope["method"], scope["path"]), self._limit)

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, f"A request may have {limit} bytes at most")
            return message

        await self._app(scope, receive_counted, send)


def route_template(scope: Scope) -> str:
    """The whole template. Since FastAPI 0.137 `scope["route"].path` lacks the prefixes of including routers."""
    context = scope.get("fastapi", {}).get("effective_route_context")
    path = getattr(context, "path", None) or getattr(scope.get("route"), "path", None)
    return str(path) if path else UNMATCHED


def identify(state: dict[str, Any], headers: list[tuple[bytes, bytes]]) -> str:
    """Notes the request's id, and the trace that it is a part of unless one was begun here."""
    request_id = ""
    for name, value in headers:
        if name == b"x-request-id" and not request_id:
            request_id = value.decode("latin-1")
        elif name == b"traceparent" and "trace_id" not in state:
            _note_trace(state, value.decode("latin-1"))
    if not _REQUEST_ID.fullmatch(request_id):
        request_id = f"{random.getrandbits(128):032x}"
    state["request_id"] = request_id
    return request_id


def _note_trace(state: dict[str, Any], traceparent: str) -> None:
    if parent := _TRACEPARENT.fullmatch(traceparent):
        state["trace_id"], state["trace_kept"] = parent[1], bool(int(parent[2], 16) & 1)
