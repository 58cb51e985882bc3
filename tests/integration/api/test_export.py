"""Files that go out: as of one moment, of any size, and never short without a word."""

import asyncio
import csv
import io
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from inventory_api.items.schemas import ItemCreate

from tests.integration.api.files import csv as table
from tests.integration.api.files import exported, exported_rows, imported
from tests.integration.api.listening import listening
from tests.integration.api.services import Api, client_of, created, ready, running, served, settings_for
from tests.integration.conditions import soon
from tests.integration.stores import SERVICE, Postgres

# More than what lies between server and client on the way.
MANY = 60_000


@pytest.fixture
async def stocked(admin: Api) -> Api:
    """A few of everything."""
    await imported(admin, "locations", table("path,barcode,count_every_days", r"Shed/AC\/DC,SH-1,30"), mode="upsert")
    await imported(
        admin,
        "items",
        table(
            "sku,name,category,tracking,quantity,location",
            "D-1,=Drill,Tools/Power,quantity,5,SH-1",
            'S-1,"Saw; ""big"", red",Tools,quantity,2,Main',
            "L-1,Läptop,,units,,",
            "E-1,Empty,Tools,quantity,0,",
        ),
        create_missing=True,
    )
    await imported(
        admin,
        "units",
        table("sku,serial,barcode,state,condition,location", "L-1,1,B-1,lendable,'new,", "L-1,2,,in-repair,,SH-1"),
    )
    return admin


@pytest.fixture
async def address(app: FastAPI, admin: Api, postgres: Postgres, database: str) -> AsyncIterator[str]:
    """Where the service listens, with many users to tell of."""
    many_users(postgres, database, MANY)
    async with listening(app) as url:
        yield url


def many_users(postgres: Postgres, database: str, count: int) -> None:
    postgres.execute(
        # Names that compress little: on the way to the client there is room for much that compresses well.
        "INSERT INTO users (email, name, role, password_hash) SELECT 'u' || n || '@example.com', "
        "md5(n::text) || md5((-n)::text) || md5((2 * n)::text), 'member', 'x' FROM generate_series(1, %s) AS n",
        count,
        database=database,
    )


def busy(app: FastAPI) -> int:
    """How many connections to the database are in use."""
    return int(app.state.resources.database.engine.pool.checkedout())


async def is_free(app: FastAPI) -> bool:
    return busy(app) == 0


async def test_each_kind_goes_out(stocked: Api) -> None:
    created(await stocked.check_out(1, quantity=2, due_at="2040-01-01T00:00:00Z", note="handle with care"))
    created(await stocked.check_out(3))

    items = list(csv.DictReader(io.StringIO(await exported(stocked, "items"), newline="")))
    shown = ("sku", "name", "category", "tracking", "owned", "on_loan", "reserved", "available")
    assert [",".join(item[name] for name in shown) for item in items] == [
        "D-1,'=Drill,Tools/Power,quantity,5,2,0,3",
        'S-1,Saw; "big", red,Tools,quantity,2,0,0,2',
        "L-1,Läptop,,units,2,1,1,0",
        "E-1,Empty,Tools,quantity,0,0,0,0",
    ]
    assert await exported_rows(stocked, "categories") == [{"path": "Tools"}, {"path": "Tools/Power"}]
    assert (await exported_rows(stocked, "locations"))[2] == {
        "path": r"Shed/AC\/DC",
        "barcode": "SH-1",
        "count_every_days": 30,
    }
    assert (await exported(stocked, "units")).splitlines()[1:] == [
        "L-1,1,B-1,lendable,'new,Main,true",
        r"L-1,2,,in-repair,,Shed/AC\/DC,false",
    ]
    assert (await exported(stocked, "stock-levels")).splitlines() == [
        "sku,location,on_hand,on_loan,reserved,available",
        r"D-1,Shed/AC\/DC,3,2,0,3",
        "S-1,Main,2,0,0,2",
        "L-1,Main,0,1,0,0",
        r"L-1,Shed/AC\/DC,1,0,1,0",
    ]
    first, second = await exported_rows(stocked, "loans")
    assert (first["sku"], first["serials"], first["quantity"], first["due_at"], first["note"]) == (
        "D-1",
        [],
        2,
        "2040-01-01T00:00:00Z",
        "handle with care",
    )
    assert (second["sku"], second["serials"], second["borrower"]) == ("L-1", ["1"], "admin@example.com")
    entry = (await exported_rows(stocked, "stock-entries"))[-1]
    assert (entry["sku"], entry["serial"], entry["kind"], entry["on_hand"], entry["on_loan"]) == (
        "L-1",
        "1",
        "loan",
        -1,
        1,
    )
    (user,) = await exported_rows(stocked, "users")
    assert user.keys() == {"id", "email", "name", "role", "active", "created_at"}


async def test_csv_and_json_lines_say_the_same(stocked: Api) -> None:
    for kind in ("items", "units", "stock-levels", "stock-entries", "categories", "locations", "users"):
        rows = list(csv.DictReader(io.StringIO(await exported(stocked, kind), newline="")))
        lines = await exported_rows(stocked, kind)
        assert [list(row) for row in rows] == [list(line) for line in lines]
        for row, line in zip(rows, lines, strict=True):
            for name, value in line.items():
                shown = "" if value is None else json.dumps(value) if isinstance(value, bool) else str(value)
                assert row[name] in (shown, f"'{shown}")


@pytest.mark.parametrize(
    ("kind", "query", "found"),
    [
        ("items", {"tracking": "units"}, ["L-1"]),
        ("items", {"category_id": 1}, ["S-1", "E-1"]),
        ("items", {"archived": "true"}, ["A-1"]),
        ("units", {"state": "in-repair"}, ["L-1"]),
        ("units", {"on_loan": "true"}, []),
        ("units", {"location_id": 1}, ["L-1"]),
        ("stock-levels", {"location_id": 1}, ["S-1", "L-1"]),
        ("stock-levels", {"item_id": 1}, ["D-1"]),
        ("stock-entries", {"item_id": 2}, ["S-1"]),
        ("stock-entries", {"entry_kind": "loan"}, ["D-1"]),
        ("loans", {"open": "true"}, ["D-1"]),
        ("loans", {"open": "false"}, []),
        ("loans", {"overdue": "true"}, []),
        ("loans", {"user_id": 2}, []),
    ],
)
async def test_a_filter_says_what_goes_out(
    stocked: Api, postgres: Postgres, database: str, kind: str, query: dict[str, Any], found: list[str]
) -> None:
    created(await stocked.check_out(1))
    await imported(stocked, "items", table("sku,name", "A-1,Archived"))
    postgres.execute("UPDATE items SET archived_at = now() WHERE sku = 'A-1'", database=database)

    assert [row["sku"] for row in await exported_rows(stocked, kind, **query)] == found


@pytest.mark.parametrize(
    "query",
    ["kind=items&format=csv&state=lost", "kind=users&format=csv&archived=true", "kind=items", "kind=x&format=csv"],
)
async def test_a_filter_that_a_kind_does_not_have_is_refused(admin: Api, query: str) -> None:
    assert (await admin.get(f"/api/v1/export?{query}")).status_code == 422


async def test_members_do_not_export(member: Api) -> None:
    for kind in ("items", "loans", "users"):
        answer = await member.get("/api/v1/export", params={"kind": kind, "format": "csv"})
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:inventory:problem:not-permitted")


EVERYTHING = {
    "description": "two\nlines, and 'a quote\"",
    "barcode": "4006381333931",
    "attributes": {"colour": "=red", "voltage": 18, "weight": 1.5, "new": True},
    "minimum_stock": 2,
    "photo_links": ["https://example.com/1.jpg", "https://example.com/2.jpg"],
    "unit_value_cents": 12_900,
}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_every_field_of_an_item_goes_out_and_comes_in_again(admin: Api, form: str) -> None:
    fields = {name: value for name, value in EVERYTHING.items() if name in ItemCreate.model_fields}
    item = {"sku": "A", "name": "Drill", "category": "Tools", "tracking": "quantity", **fields}
    await imported(admin, "items", json.dumps(item), format="jsonl", create_missing=True)
    rich = await exported(admin, "items", form)
    bare = {"sku": "A", "name": "Saw", "category": None}
    bare |= {name: ItemCreate.model_fields[name].get_default(call_default_factory=True) for name in fields}

    await imported(admin, "items", json.dumps(bare), format="jsonl", mode="upsert")
    assert await exported(admin, "items", form) != rich
    await imported(admin, "items", rich, format=form, mode="upsert")

    assert await exported(admin, "items", form) == rich
    row = (await exported_rows(admin, "items"))[0]
    assert {name: row[name] for name in item} == item


KINDS = ("locations", "categories", "items", "kit-parts", "units", "stock-levels")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_what_goes_out_comes_in_again_into_an_empty_database(stocked: Api, postgres: Postgres, form: str) -> None:
    empty = postgres.migrated_database()
    await imported(stocked, "items", table("sku,name,tracking", "K-1,Kit,kit"))
    await imported(stocked, "kit-parts", table("kit,sku,quantity", "K-1,S-1,2", "K-1,D-1,1"))
    gone_out = {kind: await exported(stocked, kind, form) for kind in KINDS}

    async with running(settings_for(postgres.url(empty, SERVICE))) as app, client_of(app) as other:
        await ready(other)
        await other.sign_in()
        for kind in KINDS:
            await imported(other, kind, gone_out[kind], format=form, mode="upsert")
        assert {kind: await exported(other, kind, form) for kind in KINDS} == gone_out
        # Once more changes nothing.
        for kind in KINDS:
            report = await imported(other, kind, gone_out[kind], format=form, mode="upsert")
            assert (report["created"], report["updated"]) == (0, 0)
    postgres.drop(empty)


async def test_an_export_shows_one_moment(admin: Api, address: str, postgres: Postgres, database: str) -> None:
    async with stream(admin, address, "users") as answer:
        lines = answer.aiter_lines()
        first = await anext(lines)
        postgres.execute("DELETE FROM users WHERE email LIKE 'u%%9@example.com'", database=database)
        many_more = (
            "INSERT INTO users (email, name, role, password_hash) VALUES ('late@example.com', 'x', 'member', 'x')"
        )
        postgres.execute(many_more, database=database)
        emails = [json.loads(first)["email"], *[json.loads(line)["email"] async for line in lines]]

    assert len(emails) == MANY + 1
    assert "late@example.com" not in emails


@asynccontextmanager
async def stream(admin: Api, address: str, kind: str, encoding: str = "identity") -> AsyncIterator[httpx.Response]:
    headers = {"Authorization": admin.http.headers["Authorization"], "Accept-Encoding": encoding}
    query = {"kind": kind, "format": "jsonl"}
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream("GET", f"{address}/api/v1/export", params=query, headers=headers) as answer,
    ):
        yield answer


async def test_a_caller_who_goes_away_leaves_no_connection_behind(admin: Api, app: FastAPI, address: str) -> None:
    for _ in range(4):
        async with stream(admin, address, "users") as answer:
            await anext(answer.aiter_bytes())
            assert busy(app) == 1
        await soon(partial(is_free, app))
    # Every place in the line is free again, too.
    assert len(await exported_rows(admin, "users")) == MANY + 1


async def test_a_caller_who_does_not_read_is_cut_off(
    admin: Api, app: FastAPI, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.resources.settings, "database_idle_transaction_seconds", 0.3)
    token = admin.http.headers["Authorization"]
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        request = f"GET /api/v1/export?kind=users&format=csv HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
        connection.sendall(request.encode())

        async def is_busy() -> bool:
            return busy(app) == 1

        await soon(is_busy)
        await soon(partial(is_free, app), 5)
        received = await asyncio.to_thread(_all_of, connection)
    assert b"200 OK" in received[:100]
    assert not received.endswith(b"0\r\n\r\n")


def _all_of(connection: socket.socket) -> bytes:
    connection.settimeout(20)
    received = b""
    while part := connection.recv(65536):
        received += part
    return received


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_an_export_that_breaks_off_is_not_taken_for_a_whole_one(
    admin: Api, app: FastAPI, address: str, postgres: Postgres, database: str, encoding: str
) -> None:
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%%FROM users%%' AND datname = %s"

    async with stream(admin, address, "users", encoding) as answer:
        parts = answer.aiter_bytes()
        await anext(parts)
        assert (answer.status_code, answer.headers.get("Content-Encoding", "identity")) == (200, encoding)
        postgres.execute(ended, database)
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            await _read(parts)
    assert busy(app) == 0


async def _read(parts: AsyncIterator[bytes]) -> None:
    async for _ in parts:
        pass


async def test_an_export_that_takes_too_long_is_cut_off(admin: Api, postgres: Postgres, database: str) -> None:
    many_users(postgres, database, MANY)
    settings = settings_for(postgres.url(database, SERVICE), export_seconds=1)
    async with running(settings) as app, client_of(app) as other, listening(app) as address:
        await ready(other)
        async with stream(admin, address, "users") as answer:
            parts = answer.aiter_bytes()
            await anext(parts)
            await soon(partial(is_free, app))
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
                await _read(parts)


async def test_a_pod_has_so_many_exports_under_way_and_no_more(admin: Api, app: FastAPI, address: str) -> None:
    async with stream(admin, address, "users") as first, stream(admin, address, "users") as second:
        assert (first.status_code, second.status_code) == (200, 200)
        third = await admin.get("/api/v1/export", params={"kind": "items", "format": "csv"})
        assert (third.status_code, third.headers["Retry-After"]) == (503, "10")
        assert third.headers["content-type"] == "application/problem+json"

    await soon(partial(is_free, app))
    assert (await admin.get("/api/v1/export", params={"kind": "items", "format": "csv"})).status_code == 200


async def test_what_goes_wrong_before_the_first_line_is_a_problem_as_anywhere(
    admin: Api, postgres: Postgres, database: str
) -> None:
    postgres.execute("REVOKE SELECT ON categories FROM inventory_app", database=database)

    answer = await admin.get("/api/v1/export", params={"kind": "categories", "format": "csv"})

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")


def peak_kib(process: int) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def test_an_export_of_ten_times_as_much_takes_no_more_memory(postgres: Postgres, database: str) -> None:
    with served(postgres.url(database, SERVICE)) as service:
        many_users(postgres, database, 10_000)
        for encoding in ("identity", "gzip"):
            assert drain(service.url, "users", encoding) > 10_000
        small = peak_kib(service.pid)
        postgres.execute("DELETE FROM users WHERE email LIKE 'u%%'", database=database)
        many_users(postgres, database, 100_000)
        for encoding in ("identity", "gzip"):
            assert drain(service.url, "users", encoding) > 100_000
        large = peak_kib(service.pid)

    assert large - small < 4096


def drain(url: str, kind: str, encoding: str) -> int:
    """Reads an export to its end, keeping none of it; returns how many lines it had."""
    body = {"email": "admin@example.com", "password": "a long password"}
    token = httpx.post(f"{url}/api/v1/auth/token", json=body).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": encoding}
    parameters = {"kind": kind, "format": "csv"}
    with httpx.stream("GET", f"{url}/api/v1/export", params=parameters, headers=headers, timeout=60) as answer:
        return sum(part.count(b"\n") for part in answer.iter_bytes())
