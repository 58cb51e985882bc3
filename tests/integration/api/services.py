"""The service on real stores, in this process or in one of its own, and people who use it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
from fastapi import FastAPI
from inventory_api.app import create_app
from inventory_api.ledger.command import check_stock
from inventory_api.logs import current_request_id
from inventory_api.migrations.rule import ImageSchema
from inventory_api.resources import Resources
from inventory_api.settings import ServiceSettings
from pydantic import SecretStr
from sqlalchemy import event

from tests.integration.conditions import PATIENCE_SECONDS, eventually, soon
from tests.integration.ports import free_port
from tests.integration.stores import SERVICE, Postgres

EMAIL, PASSWORD = "admin@example.com", "a long password"
SECRET_KEY = "k" * 32
INSIST_SECONDS = 120
LENIENT: dict[str, Any] = {
    # Tests make more requests than any user; those that are about rates set them.
    **{f"rate_limit_{kind}": "1000000/minute" for kind in ("sign_in", "reads", "writes", "reports")},
    # Tests change what a token is good for behind the service's back.
    "caller_known_seconds": 0,
    # A busy machine is not what they are about.
    "max_delay_seconds": 60,
}


def tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).isoformat()


class Api:
    """A client of the API, with the token of whoever signed in."""

    def __init__(self, http: httpx.AsyncClient, app: FastAPI | None = None) -> None:
        self.http = http
        self._app = app

    @property
    def app(self) -> FastAPI:
        """The service itself, where it is in this process."""
        assert self._app is not None
        return self._app

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.http.get(path, **options)

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, json=body, headers=named)

    async def sign_in(self, email: str = EMAIL, password: str = PASSWORD) -> None:
        answer = await self.post("/api/v1/auth/token", {"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    async def item(self, quantity: int = 1, **more: Any) -> dict[str, Any]:
        body = {"name": "Drill", "sku": uuid.uuid4().hex, "quantity": quantity, **more}
        return created(await self.post("/api/v1/items", body))

    async def location(self, name: str) -> int:
        return int(created(await self.post("/api/v1/locations", {"name": name}))["id"])

    async def check_out(self, item_id: int, key: str | None = None, **more: Any) -> httpx.Response:
        body = {"item_id": item_id, "quantity": 1, "due_at": tomorrow(), **more}
        return await self.post("/api/v1/loans", body, Idempotency_Key=key or uuid.uuid4().hex)

    async def available(self, item_id: int) -> int:
        return int((await self.get(f"/api/v1/items/{item_id}")).json()["available"])


async def insist(send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The answer to a request that is sent again as long as it is turned away, which a busy service may do."""
    async with asyncio.timeout(INSIST_SECONDS):
        while True:
            answer = await send()
            if answer.status_code != 503 or not answer.json()["type"].endswith(":unavailable"):
                return answer
            await asyncio.sleep(int(answer.headers["Retry-After"]))


def created(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def settings_for(database_url: str, **more: Any) -> ServiceSettings:
    given: dict[str, Any] = {
        "environment": "testing",
        "database_url": SecretStr(database_url),
        "secret_key": SecretStr(SECRET_KEY),
        "admin_email": EMAIL,
        "admin_password": SecretStr(PASSWORD),
        "release": "r1",
        "revision": "7",
        **LENIENT,
        **more,
    }
    return ServiceSettings(**given)


@asynccontextmanager
async def running(settings: ServiceSettings, image: ImageSchema | None = None) -> AsyncIterator[FastAPI]:
    app = create_app(settings, image)
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[Api]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://inventory", timeout=PATIENCE_SECONDS) as http:
        yield Api(http, app)


async def the_ledger_holds(postgres: Postgres, database: str) -> bool:
    """Whether what there is adds up to what was booked, lent and reserved."""
    return await asyncio.to_thread(check_stock, settings_for(postgres.url(database, SERVICE))) == 0


StartService = Callable[..., Awaitable[tuple[Api, FastAPI]]]
"""Starts one more service with settings of its own; its admin is signed in."""


@contextmanager
def statements_of(app: FastAPI) -> Iterator[list[str]]:
    """What requests ask of the database, in a session or past one; what the service does beside them isn't theirs."""
    resources: Resources = app.state.resources
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if current_request_id():
            seen.append(statement)

    engine, reads = resources.database.engine.sync_engine, resources.database.reads
    fetch = reads._fetch

    async def noted(sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        note(None, None, sql)
        return await fetch(sql, arguments)

    event.listen(engine, "before_cursor_execute", note)
    with mock.patch.object(reads, "_fetch", noted):
        yield seen
    event.remove(engine, "before_cursor_execute", note)


async def ready(api: Api) -> None:
    async def is_ready() -> bool:
        return (await api.get("/readyz")).status_code == 200

    await soon(is_ready)


async def unready_because_of(api: Api, reason: str) -> None:
    async def says_so() -> bool:
        answer = await api.get("/readyz")
        return answer.status_code == 503 and reason in answer.text

    await soon(says_so)


class ServedProcess:
    """`inventory-api serve` as the image runs it."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.pid = process.pid
        self.url = url

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def exit_code(self) -> int:
        return self._process.wait(PATIENCE_SECONDS)

    def accepts_connections(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", int(self.url.rsplit(":", 1)[1])), 5).close()
        except OSError:
            return False
        return True


@contextmanager
def served(database_url: str, log: Path | None = None, **environment: str) -> Iterator[ServedProcess]:
    port = free_port()
    output = log.open("wb") if log else None
    process = subprocess.Popen(
        [sys.executable, "-m", "inventory_api", "serve", "--port", str(port)],
        env={
            **os.environ,
            "INVENTORY_DATABASE_URL": database_url,
            "INVENTORY_SECRET_KEY": SECRET_KEY,
            "INVENTORY_ADMIN_EMAIL": EMAIL,
            "INVENTORY_ADMIN_PASSWORD": PASSWORD,
            **environment,
        },
        stdout=output or subprocess.DEVNULL,
        text=True,
    )
    service = ServedProcess(process, f"http://127.0.0.1:{port}")
    try:
        eventually(service.is_ready)
        yield service
    finally:
        process.kill()
        process.wait()
        if output:
            output.close()
