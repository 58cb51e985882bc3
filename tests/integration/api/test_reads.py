"""Single statements that only read, on connections of their own."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import pytest
from inventory_api.database import create_reads
from inventory_api.items.models import Item
from inventory_api.reads import Reads, Statement
from sqlalchemy import bindparam, func, select

from tests.integration.api.services import settings_for
from tests.integration.conditions import soon
from tests.integration.stores import SERVICE, Postgres

SESSION = Statement(select(func.pg_backend_pid().label("pid")))
SLEEP = Statement(select(func.pg_sleep(bindparam("seconds")).label("slept")))
ITEM = Statement(select(Item.sku, Item.attributes).where(Item.id == bindparam("item")))
END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%%/r1' AND datname = %s"


@pytest.fixture
async def reads(postgres: Postgres, database: str) -> AsyncIterator[Reads]:
    settings = settings_for(postgres.url(database, SERVICE), database_read_pool_size=2, database_pool_wait_seconds=0.2)
    found = create_reads(settings)
    yield found
    await found.close()


async def test_a_row_has_its_columns_by_name_and_documents_as_values(
    reads: Reads, postgres: Postgres, database: str
) -> None:
    added = (
        "INSERT INTO items (name, sku, quantity, attributes) VALUES ('a', 'b', 0, '{\"colour\": \"red\"}') RETURNING id"
    )
    item = postgres.execute(added, database=database)[0][0]

    assert await reads.row(ITEM, item=item) == {"sku": "b", "attributes": {"colour": "red"}}
    assert await reads.row(ITEM, item=item + 1) is None


async def test_one_connection_serves_those_who_come_one_after_the_other(reads: Reads) -> None:
    assert len({str(await reads.row(SESSION)) for _ in range(5)}) == 1


async def test_a_connection_that_was_lost_is_replaced_and_nobody_notices(
    reads: Reads, postgres: Postgres, database: str
) -> None:
    before = await reads.row(SESSION)
    postgres.execute(END_ALL, database, database=database)

    after = await reads.row(SESSION)

    assert after
    assert after != before


async def test_a_statement_whose_connection_is_lost_is_run_again(
    reads: Reads, postgres: Postgres, database: str
) -> None:
    await reads.row(SESSION)
    slow = asyncio.create_task(reads.row(SLEEP, seconds=0.5))
    await soon(partial(is_asleep, postgres, database))
    postgres.execute(END_ALL, database, database=database)

    assert await slow is not None


async def test_what_is_cancelled_leaves_nothing_behind_for_the_next(
    reads: Reads, postgres: Postgres, database: str
) -> None:
    for _ in range(3):
        slow = asyncio.create_task(reads.row(SLEEP, seconds=30))
        await soon(partial(is_asleep, postgres, database))
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        found = await reads.row(SESSION)
        assert found is not None
        assert list(found) == ["pid"]


async def test_who_finds_no_connection_free_waits_for_a_bounded_time(reads: Reads) -> None:
    busy = [asyncio.create_task(reads.row(SLEEP, seconds=0.5)) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await reads.row(SESSION)
    await asyncio.gather(*busy)
    assert await reads.row(SESSION)


async def test_an_error_of_the_statement_is_told_and_costs_no_connection(reads: Reads) -> None:
    before = await reads.row(SESSION)
    with pytest.raises(asyncpg.PostgresError):
        await reads.row(Statement(select((1 / func.length(bindparam("text"))).label("x"))), text="")

    assert await reads.row(SESSION) == before


async def is_asleep(postgres: Postgres, database: str) -> bool:
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"
    return bool(postgres.execute(query, database, database=database))
