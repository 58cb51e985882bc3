"""gzip, for callers that take it."""

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from inventory_api.traffic.request import class_of, first_headers
from inventory_api.traffic.routes import RouteClass

# Below, an answer fits into a packet or two, and is not worth the time.
_MINIMUM_BYTES = 1024
# A list of 50 items takes half the time of level 6, and is a tenth larger.
_LEVEL = 3


class Compression:
    """Leaves sign-in alone: the length of what is compressed would tell how much of what is sent back was guessed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressed = GZipMiddleware(app, _MINIMUM_BYTES, _LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        compresses = (
            scope["type"] == "http"
            and b"gzip" in first_headers(scope).get(b"accept-encoding", b"")
            and class_of(scope) is not RouteClass.SIGN_IN
        )
        await (self._compressed if compresses else self._app)(scope, receive, send)
