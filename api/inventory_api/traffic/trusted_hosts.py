"""Which host names the service answers to."""

from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from inventory_api.metrics import Metrics
from inventory_api.middleware import PROBES
from inventory_api.problems import problem_response
from inventory_api.traffic.request import first_headers

_ANY = "*"


class TrustedHosts:
    """Refuses a request for another host; probes and metrics come by a pod's address and are let through."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str], metrics: Metrics) -> None:
        self._app = app
        self._names = frozenset(host for host in allowed if not host.startswith("*."))
        self._domains = tuple(host[1:] for host in allowed if host.startswith("*."))
        self._metrics = metrics
        self._is_allowed = lru_cache(256)(self._look_up)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _ANY in self._names or scope["path"] in PROBES:
            return await self._app(scope, receive, send)
        if self._is_allowed(first_headers(scope).get(b"host", b"")):
            return await self._app(scope, receive, send)
        self._metrics.refused("host")
        response = problem_response(
            scope["state"]["request_id"],
            HTTPStatus.BAD_REQUEST,
            "unknown-host",
            "This service does not answer to that host name. Its operator sets the names in INVENTORY_ALLOWED_HOSTS.",
        )
        await response(scope, receive, send)

    def _look_up(self, given: bytes) -> bool:
        host = given.decode("latin-1").lower()
        name, colon, port = host.rpartition(":")
        if colon and port.isdigit():
            host = name
        return host in self._names or host.endswith(self._domains)
