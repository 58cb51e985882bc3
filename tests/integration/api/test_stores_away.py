"""Database and Redis gone, silent or slow, and back: nobody hangs, nothing restarts, no pod leaves its Service."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.integration.api.relay import Relay, relay
from tests.integration.api.services import Api, client_of, created, ready, running, served, settings_for
from tests.integration.conditions import soon
from tests.integration.stores import SERVICE, Postgres, Valkey

PROBES = ("/livez", "/readyz", "/metrics")


@pytest.fixture
async def between(postgres: Postgres) -> AsyncIterator[Relay]:
    async with relay(postgres.sockets) as between:
        yield between


@pytest.fixture
async def relayed(admin: Api, postgres: Postgres, database: str, between: Relay) -> AsyncIterator[Api]:
    """A service whose database can be made silent or slow; it puts up with little, and so another one signs in."""
    url = postgres.url(database, SERVICE).replace(str(postgres.sockets), str(between.folder))
    settings = settings_for(url, request_seconds=1, database_statement_seconds=0.5, database_pool_wait_seconds=0.5)
    async with running(settings) as app, client_of(app) as api:
        await ready(api)
        api.http.headers["Authorization"] = admin.http.headers["Authorization"]
        yield api
        between.answers.set()


async def probed(api: Api) -> list[int]:
    """What the probes answer, each within a moment."""
    async with asyncio.timeout(1):
        return [(await api.get(path)).status_code for path in PROBES]


async def test_while_the_database_is_silent_everybody_is_told_so_and_then_it_goes_on(
    relayed: Api, between: Relay
) -> None:
    item = await relayed.item(quantity=50)
    between.answers.clear()
    started = time.monotonic()
    asked = [relayed.get("/api/v1/items") for _ in range(15)]
    changed = [relayed.check_out(item["id"], key=f"k{number}") for number in range(15)]
    under_way = asyncio.gather(*asked, *changed)
    probes = await probed(relayed)
    answers = await under_way
    seconds = time.monotonic() - started
    between.answers.set()

    async def works() -> bool:
        return (await relayed.get("/api/v1/items")).status_code == 200

    await soon(works)
    again = [await relayed.check_out(item["id"], key=f"k{number}") for number in range(15)]

    assert probes == [200] * 3
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["Retry-After"] for answer in answers} == {"1"}
    assert seconds < 8
    for answer in again:
        created(answer)
    # Whatever became of those whose outcome was unknown, with its key nothing is done twice.
    assert await relayed.available(item["id"]) == 35


async def test_a_slow_database_makes_slow_answers_and_no_errors(relayed: Api, between: Relay) -> None:
    between.late_by_seconds = 0.05

    answers = await asyncio.gather(*(relayed.get("/api/v1/items") for _ in range(10)))
    probes = await probed(relayed)

    assert Counter(answer.status_code for answer in answers) == {200: 10}
    assert probes == [200] * 3


async def test_a_database_too_slow_to_wait_for_costs_answers_and_nothing_else(relayed: Api, between: Relay) -> None:
    between.late_by_seconds = 0.45
    slow = await asyncio.gather(*(relayed.get("/api/v1/items") for _ in range(10)))
    probes = await probed(relayed)
    between.late_by_seconds = 0

    async def works() -> bool:
        return (await relayed.get("/api/v1/items")).status_code == 200

    await soon(works)

    assert {answer.status_code for answer in slow} == {503}
    assert probes == [200] * 3


async def test_a_process_outlives_both_of_its_stores(own_postgres: Postgres, own_valkey: Valkey) -> None:
    database = own_postgres.migrated_database()
    with served(own_postgres.url(database, SERVICE), INVENTORY_REDIS_URL=own_valkey.url) as process:
        async with httpx.AsyncClient(base_url=process.url, timeout=15) as http:
            api = Api(http)
            await api.sign_in()
            item = await api.item()

            async def status() -> int:
                return (await api.get(f"/api/v1/items/{item['id']}")).status_code

            found = {}
            own_valkey.stop()
            found["without Redis"] = [await status() for _ in range(3)]
            own_postgres.stop()
            found["without both"] = [await status() for _ in range(3)]
            probes = await probed(api)
            own_valkey.start()
            found["without the database"] = [await status() for _ in range(3)]
            own_postgres.start()
            found["with both again"] = [await status() for _ in range(3)]

    assert found == {
        "without Redis": [200] * 3,
        "without both": [503] * 3,
        "without the database": [503] * 3,
        "with both again": [200] * 3,
    }
    assert probes == [200] * 3
