"""Figures of a service at work; docs/observability.md names them all."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from inventory_api.figures import repository, service
from inventory_api.metrics import Figures
from inventory_api.resources import Resources
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tests.integration.api.services import Api, client_of, created, ready, running, settings_for
from tests.integration.conditions import soon
from tests.integration.stores import SERVICE, Postgres

PAGE = Path(__file__).parents[3] / "docs" / "observability.md"
OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"}


async def figure(api: Api, series: str) -> float:
    text = (await api.get("/metrics")).text
    found = re.search(rf"^{re.escape(series)} (.+)$", text, re.MULTILINE)
    assert found, f"{series} is not among\n{text}"
    return float(found[1])


@pytest.mark.usefixtures("app")
async def test_the_page_for_operators_names_every_metric_and_no_other(anybody: Api) -> None:
    text = (await anybody.get("/metrics")).text
    exposed = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))

    section = PAGE.read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    described = set(re.findall(r"^\| `([a-z_]+)`", section, re.MULTILINE))

    assert described == {name for name in exposed if not name.startswith(("process_", "python_"))}


@pytest.mark.usefixtures("app")
async def test_openmetrics_is_for_those_who_accept_it(anybody: Api) -> None:
    plain = await anybody.get("/metrics")
    given = await anybody.get("/metrics", headers=OPENMETRICS)
    odd = await anybody.get("/metrics", headers={"Accept": "application/openmetrics-text;version=x;escaping=\x01"})

    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert given.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = text_string_to_metric_families(given.text)  # type: ignore[no-untyped-call]
    assert {family.name for family in families} >= {"http_requests", "inventory_items"}
    assert odd.status_code == 200


async def test_the_pool_tells_who_waits_for_a_connection_and_who_waits_in_vain(
    postgres: Postgres, database: str
) -> None:
    small = {"database_pool_size": 1, "database_pool_overflow": 1, "database_pool_wait_seconds": 0.1}
    settings = settings_for(postgres.url(database, SERVICE), **small)
    async with running(settings) as app, client_of(app) as api:
        await ready(api)
        store = app.state.resources.database
        async with store.transaction() as first, store.transaction() as second:
            await first.connection()
            await second.connection()
            in_use = await figure(api, 'inventory_database_connections{state="in_use"}')
            with pytest.raises(PoolTimeoutError):
                async with store.transaction() as third:
                    await third.connection()

        assert (in_use, await figure(api, "inventory_database_connections_limit")) == (2, 2)
        assert await figure(api, 'inventory_database_connections{state="in_use"}') == 0
        assert await figure(api, 'inventory_database_connections{state="idle"}') == 1
        assert await figure(api, "inventory_database_connection_waits_total") >= 1
        # What runs in the background may have waited in vain too.
        assert await figure(api, "inventory_database_connection_timeouts_total") >= 1


async def test_what_others_report_is_counted(app: FastAPI, anybody: Api) -> None:
    metrics = app.state.resources.metrics
    metrics.cache_answered("items", "hit")
    metrics.rate_limited("sign-in")
    metrics.security_event("sign-in-failed")

    assert await figure(anybody, 'inventory_cache_answers_total{cache="items",result="hit"}') == 1
    assert await figure(anybody, 'inventory_rate_limited_total{route_class="sign-in"}') == 1
    assert await figure(anybody, 'inventory_security_events_total{kind="sign-in-failed"}') == 1


async def test_figures_of_items_and_loans_are_taken_in_the_background(
    postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inventory_api.figures.service._INTERVAL_SECONDS", 0.05)
    async with running(settings_for(postgres.url(database, SERVICE))) as app, client_of(app) as api:
        await ready(api)
        await api.sign_in()
        item = await api.item(3)
        loans = [created(await api.check_out(item["id"])) for _ in range(2)]
        await api.post(f"/api/v1/loans/{loans[0]['id']}/return")

        async def is_told() -> bool:
            return await figure(api, "inventory_items") == 1 and await figure(api, "inventory_open_loans") == 1

        await soon(is_told)
        taken = await figure(api, "inventory_figures_timestamp_seconds")

        assert abs(taken - datetime.now(UTC).timestamp()) < 60


async def test_the_figures_are_those_of_the_tables(admin: Api, app: FastAPI, postgres: Postgres, database: str) -> None:
    low, enough, archived = [(await admin.item(2))["id"] for _ in range(3)]
    overdue = created(await admin.check_out(low))
    created(await admin.check_out(enough))
    change = "UPDATE items SET minimum_stock = %s, archived_at = %s WHERE id = %s"
    for item, minimum, at in ((low, 2, None), (enough, 1, None), (archived, 9, datetime.now(UTC))):
        postgres.execute(change, minimum, at, item, database=database)
    postgres.execute(
        "UPDATE loans SET due_at = %s WHERE id = %s",
        datetime.now(UTC) - timedelta(days=1),
        overdue["id"],
        database=database,
    )

    resources = app.state.resources
    assert isinstance(resources, Resources)
    assert await service.take(resources.database) == Figures(items=3, open_loans=2, overdue_loans=1, low_stock_items=1)


async def test_many_items_are_estimated(app: FastAPI, anybody: Api, postgres: Postgres, database: str) -> None:
    postgres.execute("UPDATE pg_class SET reltuples = 2000000 WHERE relname = 'items'", database=database)

    async with app.state.resources.database.transaction() as session:
        assert await repository.items(session) == 2_000_000


async def test_a_figure_that_takes_too_long_is_given_up(
    app: FastAPI, anybody: Api, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_STATEMENT_SECONDS", 0.1)
    with postgres.connected(database) as blocker:
        blocker.execute("BEGIN")
        blocker.execute("LOCK TABLE loans")
        async with asyncio.timeout(4):
            with pytest.raises(DBAPIError):
                await service.take(app.state.resources.database)
        blocker.execute("ROLLBACK")


async def test_figures_are_unknown_rather_than_zero_before_they_are_taken(
    postgres: Postgres, empty_database: str
) -> None:
    async with running(settings_for(postgres.url(empty_database, SERVICE))) as app, client_of(app) as api:
        assert str(await figure(api, "inventory_overdue_loans")) == "nan"
