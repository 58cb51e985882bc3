"""What the service does with requests before and after an endpoint: hosts, headers, time, and too many at once."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from inventory_api.resources import Resources
from prometheus_client import CollectorRegistry

from tests.integration.api.load import Load
from tests.integration.api.services import Api, client_of, created, ready, running, served, settings_for
from tests.integration.conditions import PATIENCE_SECONDS, soon
from tests.integration.stores import OWNER, SERVICE, Postgres

# What the kubelet waits for an answer to a readiness probe.
PROBE_SECONDS = 2
ORIGIN = "https://app.example.com"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "Authorization, Idempotency-Key",
}


@asynccontextmanager
async def service(postgres: Postgres, database: str, **settings: Any) -> AsyncIterator[Api]:
    async with running(settings_for(postgres.url(database, SERVICE), **settings)) as app, client_of(app) as api:
        await ready(api)
        await api.sign_in()
        yield api


@pytest.mark.usefixtures("app")
async def test_every_answer_has_the_security_headers(admin: Api) -> None:
    answers = {path: await admin.get(path) for path in ("/", "/livez", "/nothing", "/api/v1/items", "/api/v1/nothing")}

    for path, answer in answers.items():
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert (answer.headers.get("Cache-Control") == "no-store") is path.startswith("/api/v1/")
        assert "Strict-Transport-Security" not in answer.headers


async def test_an_error_of_ours_has_them_too(app: FastAPI, admin: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    resources: Resources = app.state.resources
    for way in ("_sessions", "reads"):
        monkeypatch.setattr(resources.database, way, None)

    answer = await admin.get("/api/v1/items")

    assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (500, "nosniff")


async def test_only_a_trusted_proxy_makes_the_service_promise_https(postgres: Postgres, database: str) -> None:
    forwarded = {"X-Forwarded-Proto": "https"}
    async with service(postgres, database, trusted_proxies="127.0.0.1") as api:
        trusted = await api.get("/", headers=forwarded)
    async with service(postgres, database) as api:
        untrusted = await api.get("/", headers=forwarded)

    assert "Strict-Transport-Security" in trusted.headers
    assert "Strict-Transport-Security" not in untrusted.headers


async def test_only_hosts_that_are_named_are_answered_to_and_probes_always(postgres: Postgres, database: str) -> None:
    settings = settings_for(postgres.url(database, SERVICE), allowed_hosts="inventory.example.com,inventory")
    async with running(settings) as app, client_of(app) as api:
        await ready(api)
        foreign = {"Host": "10.42.0.7:8000"}
        refused = await api.get("/", headers=foreign)
        probes = [(await api.get(path, headers=foreign)).status_code for path in ("/livez", "/readyz", "/metrics")]
        allowed = await api.get("/", headers={"Host": "inventory.example.com:443"})

    assert (refused.status_code, refused.json()["type"]) == (400, "urn:inventory:problem:unknown-host")
    assert (probes, allowed.status_code) == ([200] * 3, 200)


async def test_no_page_of_another_origin_may_call_unless_it_is_named(postgres: Postgres, database: str) -> None:
    async with service(postgres, database) as api:
        nobody = [
            await api.http.options("/api/v1/loans", headers=PREFLIGHT),
            await api.get("/api/v1/items", headers={"Origin": ORIGIN}),
        ]
    async with service(postgres, database, cors_origins=ORIGIN) as api:
        asked = await api.http.options("/api/v1/loans", headers=PREFLIGHT)
        answered = await api.get("/api/v1/items", headers={"Origin": ORIGIN})
        refused = await api.http.options("/api/v1/loans", headers={**PREFLIGHT, "Origin": "https://evil.example"})
        problem = await api.get("/api/v1/nothing", headers={"Origin": ORIGIN})

    assert not any("Access-Control-Allow-Origin" in answer.headers for answer in [*nobody, refused])
    assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
    assert {"Authorization", "Idempotency-Key"} <= set(asked.headers["Access-Control-Allow-Headers"].split(", "))
    for answer in (answered, problem):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "RateLimit" in answer.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_long_list_is_compressed_and_a_token_is_not(admin: Api) -> None:
    for _ in range(20):
        await admin.item()

    listed = await admin.get("/api/v1/items", headers={"Accept-Encoding": "gzip"})
    token = await admin.post("/api/v1/auth/token", {"email": "a" * 250, "password": "x"}, Accept_Encoding="gzip")

    assert (listed.headers["Content-Encoding"], len(listed.json()["items"])) == ("gzip", 20)
    assert "Content-Encoding" not in token.headers


def sessions(postgres: Postgres, database: str) -> list[str]:
    """What the service's sessions are at, apart from waiting for work."""
    rows = postgres.execute(
        "SELECT state FROM pg_stat_activity WHERE datname = %s AND usename = %s AND state <> 'idle'", database, SERVICE
    )
    return [state for (state,) in rows]


async def nothing_is_left_of_it(api: Api, postgres: Postgres, database: str) -> None:
    """No session works on or waits in a transaction, and every connection is back in the pool."""
    pool: Any = api.app.state.resources.database.engine.pool

    async def all_is_back() -> bool:
        return pool.checkedout() == 0 and not sessions(postgres, database)

    await soon(all_is_back)


async def test_a_request_that_takes_too_long_is_ended_and_leaves_nothing_behind(
    postgres: Postgres, database: str
) -> None:
    async with service(postgres, database, request_seconds=0.5) as api:
        item = await api.item()
        with postgres.connected(database) as blocker:
            blocker.execute("BEGIN")
            blocker.execute("LOCK TABLE items")
            started = time.monotonic()
            read = await api.get(f"/api/v1/items/{item['id']}")
            changed = await api.check_out(item["id"], key="k")
            seconds = time.monotonic() - started
            await nothing_is_left_of_it(api, postgres, database)
            blocker.execute("ROLLBACK")
        again = await api.check_out(item["id"], key="k")
        figures = (await api.get("/metrics")).text

    assert (read.status_code, read.json()["type"]) == (503, "urn:inventory:problem:unavailable")
    assert (changed.status_code, changed.json()["type"]) == (503, "urn:inventory:problem:outcome-unknown")
    assert [answer.headers["Retry-After"] for answer in (read, changed)] == ["1", "1"]
    assert 1 <= seconds < 4
    assert created(again)["item_id"] == item["id"]
    assert "Idempotency-Replayed" not in again.headers
    assert 'inventory_requests_refused_total{reason="time"} 2.0' in figures


async def test_a_request_that_is_ended_at_its_commit_may_have_been_carried_out_and_is_not_done_twice(
    postgres: Postgres, database: str
) -> None:
    postgres.execute(
        """
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.2); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON loans DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION dawdle()
        """,
        database=database,
        role=OWNER,
    )
    async with service(postgres, database, request_seconds=0.6) as api:
        item = await api.item(quantity=5)
        first = await api.check_out(item["id"], key="k")
        await nothing_is_left_of_it(api, postgres, database)
        postgres.execute("DROP TRIGGER slow ON loans", database=database, role=OWNER)
        again = await api.check_out(item["id"], key="k")
        left = await api.available(item["id"])

    assert (first.status_code, first.json()["type"]) == (503, "urn:inventory:problem:outcome-unknown")
    assert (created(again)["item_id"], left) == (item["id"], 4)


async def test_what_is_above_the_number_that_may_be_in_flight_is_refused_at_once_and_probes_are_not(
    postgres: Postgres, database: str
) -> None:
    async with service(postgres, database, max_requests_in_flight=8) as api:
        item = await api.item()
        with postgres.connected(database) as blocker:
            blocker.execute("BEGIN")
            blocker.execute("LOCK TABLE items")
            waiting = [asyncio.create_task(api.get(f"/api/v1/items/{item['id']}")) for _ in range(8)]

            async def all_wait() -> bool:
                registry: CollectorRegistry = api.app.state.resources.metrics.registry
                return registry.get_sample_value("http_requests_in_progress") == 8

            await soon(all_wait)
            started = time.monotonic()
            refused = [await api.get(f"/api/v1/items/{item['id']}") for _ in range(20)]
            probes = [(await api.get(path)).status_code for path in ("/livez", "/readyz", "/metrics")]
            seconds = time.monotonic() - started
            blocker.execute("ROLLBACK")
        answered = await asyncio.gather(*waiting)
        after = await api.get(f"/api/v1/items/{item['id']}")

    assert {(answer.status_code, answer.headers["Retry-After"]) for answer in refused} == {(503, "1")}
    assert {answer.json()["type"] for answer in refused} == {"urn:inventory:problem:unavailable"}
    assert (probes, seconds < 1) == ([200] * 3, True)
    assert {answer.status_code for answer in [*answered, after]} == {200}


async def test_at_twice_what_it_can_do_a_server_answers_what_it_can_and_refuses_the_rest(
    postgres: Postgres, database: str
) -> None:
    postgres.execute(
        "INSERT INTO items (name, sku, quantity) SELECT 'Drill', 'sku-' || n, 0 FROM generate_series(1, 200) n",
        database=database,
    )
    with served(
        postgres.url(database, SERVICE), INVENTORY_MAX_REQUESTS_IN_FLIGHT="32", INVENTORY_RATE_LIMITS="off"
    ) as process:
        async with httpx.AsyncClient(base_url=process.url) as http:
            await Api(http).sign_in()
            load = Load(process.url, "/api/v1/items?limit=200", http.headers["Authorization"])
            alone = await load.as_fast_as_it_goes(callers=8, seconds=1.5)
            doubled = await load.offered(per_second=2 * alone.per_second(200), seconds=3, probing="/readyz")
            metrics = (await http.get("/metrics")).text
            after = await load.as_fast_as_it_goes(callers=8, seconds=0.5)
            await load.close()

    assert set(alone.statuses) == set(after.statuses) == {200}
    assert set(doubled.statuses) == {200, 503}
    assert doubled.refusals_have_retry_after
    # The load comes from the same machine, and takes of the server's time.
    assert doubled.per_second(200) > alone.per_second(200) / 4
    assert doubled.median_seconds(503) < 0.5
    assert doubled.median_seconds(200) < 1
    assert set(doubled.probes) == {200}
    assert max(doubled.probe_seconds) < PROBE_SECONDS
    assert f'inventory_requests_refused_total{{reason="overload"}} {float(doubled.statuses[503])}' in metrics


def test_a_probe_does_not_wait_for_all_the_connections_that_came_before_it(postgres: Postgres, database: str) -> None:
    """A busy crowd has much to ask each, many more come, and then a probe."""
    asked, request = 150, b"GET /livez HTTP/1.1\r\nHost: inventory\r\n\r\n"
    with served(postgres.url(database, SERVICE)) as process, ExitStack() as stack:

        def connected() -> socket.socket:
            address = ("127.0.0.1", int(process.url.rsplit(":", 1)[1]))
            return stack.enter_context(socket.create_connection(address, PATIENCE_SECONDS))

        crowd = [connected() for _ in range(150)]
        for each in crowd:
            each.sendall(request)
            assert each.recv(4096).startswith(b"HTTP/1.1 200")
        process.pause()
        for each in crowd:
            each.sendall(request * asked)
        more = [connected() for _ in range(140)]
        probe = connected()
        probe.sendall(request)
        process.resume()
        answer = probe.recv(4096)
        process.pause()
        answered = 0
        for each in crowd:
            each.setblocking(False)
            with suppress(BlockingIOError):
                while data := each.recv(1_000_000):
                    answered += data.count(b"HTTP/1.1 200")
        process.resume()

    assert answer.startswith(b"HTTP/1.1 200")
    assert len(more) == 140
    assert answered < asked * len(crowd) / 2
