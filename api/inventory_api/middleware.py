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
from inventory_api.traffic.request import class_of, first_headers
from inventory_api.traffic.routes import RouteClass
from inventory_api.traffic.security_headers import missing_security_headers

if TYPE_CHECKING:
    from inventory_api.error_reports import ErrorReports

log = structlog.get_logger()

PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
# https://www.w3.org/TR/trace-context/#traceparent-header; the last bit says whether the trace is kept.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
UNMATCHED: Final = "unmatched"
_PATH_LOGGED = 200
_TOLD = "told"
# What nginx writes down for a caller who did not wait for the answer.
_CALLER_GONE = 499


class RequestRecord:
    """Names, counts and times every request, tells the caller which release answered and what a browser must know, and
    writes one line. A caller's own request id is kept, and whatever goes wrong inside becomes a 500.

    What is further in has the answer tell more with `tell`. Each that had a `send` of its own would cost every message.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, release: str, errors: "ErrorReports | None" = None) -> None:
        self._app = app
        self._metrics = metrics
        self._release = (b"x-inventory-release", release.encode())
        self._errors = errors
        # Bound once, or each line would bind it anew.
        self._log = log.bind()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.perf_counter()
        state = scope.setdefault("state", {})
        request_id = identify(scope)
        told = state[_TOLD] = [(b"x-request-id", request_id.encode()), self._release]
        failure: Exception | None = None

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
                headers = [*message.get("headers", ()), *told]
                message["headers"] = [*headers, *missing_security_headers(scope, headers)]
            await send(message)

        begin_request(state)
        self._metrics.in_progress += 1
        try:
            await self._app(scope, receive, send_told)
        except Exception as error:
            failure = error
            if "status" not in state:
                detail = "Something went wrong here. The request id finds it in the log."
                await problem_response(request_id, 500, "internal-error", detail)(scope, receive, send_told)
        finally:
            self._metrics.in_progress -= 1
            self._record(scope, time.perf_counter() - started, failure)

    def _record(self, scope: Scope, seconds: float, failure: Exception | None) -> None:
        state = scope["state"]
        route = state["route"] = route_template(scope)
        status: int = state.setdefault("status", _CALLER_GONE)
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
        limit = self._larger.get(class_of(scope), self._limit)

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


def tell(scope: Scope, *headers: tuple[bytes, bytes]) -> None:
    """Has the answer to this request tell that, too."""
    scope["state"].setdefault(_TOLD, []).extend(headers)


def is_answering(scope: Scope) -> bool:
    """Whether the caller has been sent the beginning of an answer."""
    return "status" in scope["state"]


def identify(scope: Scope) -> str:
    """Notes the request's id, and the trace that it is a part of unless one was begun here."""
    state, headers = scope["state"], first_headers(scope)
    request_id = headers.get(b"x-request-id", b"").decode("latin-1")
    if not _REQUEST_ID.fullmatch(request_id):
        request_id = f"{random.getrandbits(128):032x}"
    if b"traceparent" in headers and "trace_id" not in state:
        _note_trace(state, headers[b"traceparent"].decode("latin-1"))
    state["request_id"] = request_id
    return request_id


def _note_trace(state: dict[str, Any], traceparent: str) -> None:
    if parent := _TRACEPARENT.fullmatch(traceparent):
        state["trace_id"], state["trace_kept"] = parent[1], bool(int(parent[2], 16) & 1)
