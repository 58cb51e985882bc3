"""One request through a middleware, without a server."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


async def request(
    app: ASGIApp,
    path: str = "/api/v1/items",
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    body: Iterable[bytes] = (b"",),
    **scope: Any,
) -> Answer:
    answer, parts = Answer(), list(body)

    async def receive() -> Message:
        part = parts.pop(0) if parts else b""
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message.get("body"):
            answer.chunks.append(message["body"])

    given = [(name.lower().encode(), value.encode()) for name, value in headers]
    whole: Scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": given,
        "scheme": "http",
        "client": ("192.0.2.1", 1234),
        "state": {"request_id": "r"},
        **scope,
    }
    await app(whole, receive, send)
    return answer


def answering(
    *chunks: bytes, media_type: str = "application/json", seen: Callable[[Scope], None] | None = None
) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if seen:
            seen(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", media_type.encode())]})
        for number, chunk in enumerate(chunks, 1):
            await send({"type": "http.response.body", "body": chunk, "more_body": number < len(chunks)})

    return app
