"""What every answer tells a browser. The service owns these headers; a proxy need not add any."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# An answer of the API is data: nothing in it may load, run or be framed. A page of ours says what it needs instead.
_ALWAYS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
_API = "/api/v1/"
_NOT_KEPT = (b"cache-control", b"no-store")
# Only what came by HTTPS may promise it: a proxy that we trust says so.
_HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000")


class SecurityHeaders:
    """Adds what an endpoint has not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        wanted = _ALWAYS
        if scope["path"].startswith(_API):
            wanted += (_NOT_KEPT,)
        if scope.get("scheme") == "https":
            wanted += (_HTTPS_ONLY,)

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                present = {name for name, _ in headers}
                headers.extend(header for header in wanted if header[0] not in present)
            await send(message)

        await self._app(scope, receive, send_secured)
