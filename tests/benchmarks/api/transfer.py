"""How fast files go in and out, and in how much memory: `python -m tests.benchmarks.api.transfer [ROWS]`.

Server, PostgreSQL and client are processes of their own on this machine. Memory is the most that the server process has
had (VmHWM), so what an export or import takes at its peak is in it.
"""

import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.integration.api.services import EMAIL, PASSWORD, served
from tests.integration.stores import SERVICE, Postgres, running_postgres

ITEMS = 100_000


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with running_postgres() as postgres:
        database = postgres.migrated_database()
        with served(postgres.url(database, SERVICE)) as service:
            client = signed_in(service.url)
            print(f"start: {_peak(service.pid):.0f} MiB")
            seconds = import_items(client)
            print(f"import of {ITEMS} items with stock: {seconds:.1f} s, {_peak(service.pid):.0f} MiB")
        with served(postgres.url(database, SERVICE)) as service:
            client = signed_in(service.url)
            for count in (10_000, rows):
                _fill(postgres, database, count)
                for form in ("csv", "jsonl"):
                    lines, seconds = _export(client, form)
                    print(f"export of {lines} users as {form}: {seconds:.1f} s, {_peak(service.pid):.1f} MiB")


def import_items(client: httpx.Client) -> float:
    """How many seconds it takes, of new ones with stock, and a category and a location each."""

    def lines() -> Iterator[bytes]:
        yield b"sku,name,category,quantity,location\n"
        for start in range(0, ITEMS, 1000):
            yield "".join(
                f"S-{n},Thing number {n},Tools/Kind {n % 100},{1 + n % 9},Shelf {n % 30}\n"
                for n in range(start, start + 1000)
            ).encode()

    started = time.perf_counter()
    answer = client.post(
        "/api/v1/import",
        params={"kind": "items", "format": "csv", "create_missing": "true"},
        content=lines(),
        headers={"Idempotency-Key": uuid.uuid4().hex},
    )
    answer.raise_for_status()
    return time.perf_counter() - started


def _export(client: httpx.Client, form: str) -> tuple[int, float]:
    started = time.perf_counter()
    with client.stream("GET", "/api/v1/export", params={"kind": "users", "format": form}) as answer:
        answer.raise_for_status()
        lines = sum(part.count(b"\n") for part in answer.iter_raw())
    return lines, time.perf_counter() - started


def _fill(postgres: Postgres, database: str, count: int) -> None:
    postgres.execute("DELETE FROM users WHERE email LIKE 'u%%'", database=database)
    postgres.execute(
        "INSERT INTO users (email, name, role, password_hash) SELECT 'u' || n || '@example.com', repeat('n', 100), "
        "'member', 'x' FROM generate_series(1, %s) AS n",
        count,
        database=database,
    )


def signed_in(url: str) -> httpx.Client:
    client = httpx.Client(base_url=url, timeout=600, headers={"Accept-Encoding": "identity"})
    answer = client.post("/api/v1/auth/token", json={"email": EMAIL, "password": PASSWORD})
    client.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
    return client


def _peak(process: int) -> float:
    """In MiB."""
    return int(Path(f"/proc/{process}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
