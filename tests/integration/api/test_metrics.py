"""Figures of a service at work; docs/observability.md names them all."""

import re

import pytest
from fastapi import FastAPI
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tests.integration.api.services import Api, client_of, ready, running, settings_for
from tests.integration.stores import SERVICE, Postgres

OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"}


async def figure(api: Api, series: str) -> float:
    text = (await api.get("/metrics")).text
    found = re.search(rf"^{re.escape(series)} (.+)$", text, re.MULTILINE)
    assert found, f"{series} is not among\n{text}"
    return float(found[1])


async def test_openmetrics_is_for_those_who_accept_it(anybody: Api) -> None:
    plain = await anybody.get("/metrics")
    given = await anybody.get("/metrics", headers=OPENMETRICS)
    odd = await anybody.get("/metrics", headers={"Accept": "application/openmetrics-text;version=x;escaping=\x01"})

    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert given.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = text_string_to_metric_families(given.text)  # type: ignore[no-untyped-call]
    assert {family.name for family in families} >= {"http_requests", "inventory_ready"}
    assert odd.status_code == 200


async def test_the_pool_tells_who_waits_for_a_connection_and_who_waits_in_vain(
    postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inventory_api.database._POOL_WAIT_SECONDS", 0.1)
    settings = settings_for(postgres.url(database, SERVICE), database_pool_size=1, database_pool_overflow=1)
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
        assert await figure(api, "inventory_database_connection_timeouts_total") == 1


async def test_what_others_report_is_counted(app: FastAPI, anybody: Api) -> None:
    metrics = app.state.resources.metrics
    metrics.cache_answered("items", "hit")
    metrics.rate_limited("sign-in")
    metrics.security_event("sign-in-failed")

    assert await figure(anybody, 'inventory_cache_answers_total{cache="items",result="hit"}') == 1
    assert await figure(anybody, 'inventory_rate_limited_total{route_class="sign-in"}') == 1
    assert await figure(anybody, 'inventory_security_events_total{kind="sign-in-failed"}') == 1
