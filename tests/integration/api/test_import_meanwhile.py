"""Imports beside other work: slow callers, locks, several at once, and what one costs."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg2
import pytest
from fastapi import FastAPI
from inventory_api.resources import Resources
from inventory_api.transfer import endpoints, service
from sqlalchemy import event, text

from tests.integration.api.files import csv, exported_rows, imported, send_file
from tests.integration.api.services import Api, StartService, the_ledger_holds
from tests.integration.conditions import eventually, soon
from tests.integration.stores import Postgres


async def plans_of_the_lookup(app: FastAPI) -> tuple[int, int]:
    """How often items were looked up by a plan made for it, and how often by one that is used again."""
    plans = (
        "SELECT sum(custom_plans)::integer, sum(generic_plans)::integer FROM pg_prepared_statements "
        "WHERE statement LIKE 'SELECT items.id, items.archived_at%'"
    )
    resources: Resources = app.state.resources
    async with resources.database.transaction() as session:
        custom, generic = (await session.execute(text(plans))).one()
    return custom, generic


async def test_a_slow_caller_keeps_no_connection(with_settings: StartService) -> None:
    api, _ = await with_settings(database_pool_size=1, database_pool_overflow=0)
    other_is_served = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"sku,name\n"
        assert (await api.get("/api/v1/items")).status_code == 200
        other_is_served.set()
        yield b"A,Drill\n"

    assert (await send_file(api, "items", slow())).status_code == 200
    assert other_is_served.is_set()


@pytest.mark.usefixtures("app")
async def test_a_pod_has_so_many_imports_under_way_and_no_more(admin: Api) -> None:
    answers = []

    async def slow() -> AsyncIterator[bytes]:
        yield b"sku,name\n"
        answers.append(await send_file(admin, "items", csv("sku,name", "B,Saw")))
        yield b"A,Drill\n"

    assert (await send_file(admin, "items", slow())).status_code == 200
    assert [(answer.status_code, answer.headers["Retry-After"]) for answer in answers] == [(503, "10")]
    assert (await send_file(admin, "items", csv("sku,name", "B,Saw"))).status_code == 200


@pytest.fixture
async def hasty(with_settings: StartService, monkeypatch: pytest.MonkeyPatch) -> tuple[Api, FastAPI]:
    """A service that gives an import a second, long before the limit of all requests ends it."""
    monkeypatch.setattr(endpoints, "_SOON_ENOUGH", 0.1)
    api, app = await with_settings(import_seconds=10)
    return api, app


async def test_a_body_that_does_not_come_is_not_awaited_for_ever(hasty: tuple[Api, FastAPI]) -> None:
    api, _ = hasty

    async def stuck() -> AsyncIterator[bytes]:
        yield b"sku,name\n"
        await asyncio.Event().wait()

    answer = await send_file(api, "items", stuck())
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:inventory:problem:import-too-long")
    assert (await send_file(api, "items", csv("sku,name", "B,Saw"))).status_code == 200


class Holder:
    """A transaction of somebody else's, which holds what an import is about."""

    def __init__(self, postgres: Postgres, database: str) -> None:
        self._postgres, self._database = postgres, database
        self._connection = psycopg2.connect(postgres.url(database))
        self.cursor = self._connection.cursor()
        # Whoever finds the deadlock first gives way: not this one.
        self.cursor.execute("SET deadlock_timeout = '60s'")

    def somebody_waits(self) -> bool:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        return bool(self._postgres.execute(waiting, self._database)[0][0])

    def commit(self) -> None:
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def holder(admin: Api, postgres: Postgres, database: str) -> Any:
    holder = Holder(postgres, database)
    yield holder
    holder.close()


async def start_import(holder: Holder, api: Api, content: str) -> "asyncio.Task[Any]":
    """An upsert of items that waits for the holder."""
    task = asyncio.create_task(send_file(api, "items", content, mode="upsert"))
    await asyncio.to_thread(eventually, holder.somebody_waits)
    return task


async def test_of_two_that_wait_for_each_other_the_import_gives_way_with_503(
    admin: Api, holder: Holder, postgres: Postgres, database: str
) -> None:
    await imported(admin, "items", csv("sku,name,quantity", "A,Drill,1", "B,Saw,1"))
    holder.cursor.execute("UPDATE items SET name = 'Theirs' WHERE sku = 'B'")
    task = await start_import(holder, admin, csv("sku,name", "B,Ours", "A,Ours"))
    other = threading.Thread(target=holder.cursor.execute, args=["UPDATE items SET name = 'Theirs' WHERE sku = 'A'"])
    other.start()

    answer = await task

    assert (answer.status_code, answer.json()["type"]) == (503, "urn:inventory:problem:unavailable")
    assert "Retry-After" in answer.headers
    await asyncio.to_thread(other.join)
    holder.commit()
    names = postgres.execute("SELECT name FROM items", database=database)
    assert names == [("Theirs",), ("Theirs",)]


async def test_an_import_that_takes_too_long_keeps_nothing(
    hasty: tuple[Api, FastAPI], holder: Holder, postgres: Postgres, database: str
) -> None:
    api, app = hasty
    await imported(api, "items", csv("sku,name", "A,Drill"))
    holder.cursor.execute("UPDATE items SET name = 'Theirs' WHERE sku = 'A'")

    answer = await send_file(api, "items", csv("sku,name", "A,Ours", "B,New"), mode="upsert")

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:inventory:problem:import-too-long")
    holder.commit()
    assert postgres.execute("SELECT sku, name FROM items", database=database) == [("A", "Theirs")]
    assert app.state.resources.database.engine.pool.checkedout() == 0


async def test_what_changed_while_the_file_was_read_undoes_the_import(admin: Api, holder: Holder) -> None:
    await imported(admin, "items", csv("sku,name", "A,Drill"))
    holder.cursor.execute("UPDATE items SET archived_at = now() WHERE sku = 'A'")
    task = await start_import(holder, admin, csv("sku,name", "A,Ours", "B,New"))

    holder.commit()
    answer = await task

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:inventory:problem:changed-meanwhile")
    assert "line 2" in answer.json()["detail"]
    assert await exported_rows(admin, "items") == []


async def test_a_location_that_is_used_is_not_archived_meanwhile(admin: Api, holder: Holder) -> None:
    await imported(admin, "locations", csv("path", "Shed"))
    holder.cursor.execute("SELECT id FROM locations WHERE name = 'Shed' FOR UPDATE")
    task = await start_import(holder, admin, csv("sku,name,quantity,location", "A,Drill,1,Shed"))

    holder.cursor.execute("UPDATE locations SET archived_at = now() WHERE name = 'Shed'")
    holder.commit()
    answer = await task

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:inventory:problem:changed-meanwhile")
    assert "archived" in answer.json()["detail"]
    assert await exported_rows(admin, "items") == []


async def test_one_import_at_a_time_is_written_whatever_the_pods(
    admin: Api, holder: Holder, with_settings: StartService
) -> None:
    other_pod, _ = await with_settings()
    await imported(admin, "items", csv("sku,name", "A,Drill"))
    holder.cursor.execute("UPDATE items SET name = 'Theirs' WHERE sku = 'A'")
    task = await start_import(holder, admin, csv("sku,name", "A,Ours"))

    refused = await send_file(other_pod, "items", csv("sku,name", "B,Saw"))
    dry = await send_file(other_pod, "items", csv("sku,name", "B,Saw"), dry_run=True)

    assert (refused.status_code, refused.headers["Retry-After"], dry.status_code) == (503, "10", 200)
    holder.commit()
    assert (await task).status_code == 200
    await imported(other_pod, "items", csv("sku,name", "B,Saw"))


async def test_checking_out_goes_on_while_files_come_in_and_the_ledger_holds(
    admin: Api, postgres: Postgres, database: str
) -> None:
    await imported(admin, "items", csv("sku,name,quantity", *([f"S-{n},x,50"] for n in range(20))))
    more = csv("sku,quantity", *([f"S-{n},1"] for n in reversed(range(20))))

    async def lend(item_id: int) -> int:
        return (await admin.check_out(item_id)).status_code

    answers = await asyncio.gather(
        *(lend(1 + n % 20) for n in range(60)),
        *(_until_done(admin, more) for _ in range(3)),
    )

    assert set(answers) <= {201, 200}
    owned = {row["owned"] for row in await exported_rows(admin, "items")}
    assert owned == {53}
    assert await the_ledger_holds(postgres, database)


async def _until_done(api: Api, content: str) -> int:
    """Sends it again as long as another one is under way, as callers are told to."""
    key = uuid.uuid4().hex
    answers: list[httpx.Response] = []

    async def is_done() -> bool:
        answers.append(await send_file(api, "items", content, key=key, mode="upsert"))
        return answers[-1].status_code != 503

    await soon(is_done)
    return answers[-1].status_code


async def test_lines_are_looked_up_and_written_many_at_a_time(admin: Api, app: FastAPI) -> None:
    statements = 0

    def count_one(*_: object) -> None:
        nonlocal statements
        statements += 1

    event.listen(app.state.resources.database.engine.sync_engine, "before_cursor_execute", count_one)
    rows = [f"S-{n},x,{n % 5},Tools/Kind {n % 40},Shelf {n % 10}" for n in range(2000)]

    await imported(admin, "items", csv("sku,name,quantity,category,location", *rows), create_missing=True)

    # Twice four batches, with a handful of statements each.
    assert statements < 70


async def test_it_looks_things_up_by_plans_for_tables_as_large_as_they_are_by_then(
    with_settings: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan from before the import, when there was nothing, would go through the whole table for each batch."""
    monkeypatch.setattr(service, "SIZE", 1)
    api, app = await with_settings(database_pool_size=1, database_pool_overflow=0)

    await imported(api, "items", csv("sku,name,quantity", *(f"S-{number},Drill,1" for number in range(20))))

    assert await plans_of_the_lookup(app) == (40, 0)
