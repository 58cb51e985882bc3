"""What the cluster relies on: probes, figures, draining, and a database that comes and goes."""

import asyncio
import re
import socket
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from inventory_api.migrations.revisions import read_image

from tests.integration.api.overlays import Overlay
from tests.integration.api.relay import SOCKET
from tests.integration.api.services import (
    EMAIL,
    PASSWORD,
    Api,
    client_of,
    created,
    ready,
    running,
    served,
    settings_for,
    tomorrow,
    unready_because_of,
)
from tests.integration.conditions import PATIENCE_SECONDS, eventually, soon
from tests.integration.stores import SERVICE, Postgres

CHECKOUT = read_image().schema
KNOWS_MORE = replace(CHECKOUT, expand=(*CHECKOUT.expand, "9001"))


@pytest.mark.usefixtures("app")
async def test_root_tells_what_this_is(anybody: Api) -> None:
    body = (await anybody.get("/")).json()

    assert (body["name"], body["release"], body["revision"]) == ("inventory", "r1", "7")
    assert body["version"]
    assert (await anybody.get(body["links"]["openapi"])).status_code == 200


@pytest.mark.usefixtures("app")
async def test_every_answer_names_the_request_and_the_release(anybody: Api) -> None:
    for path in ("/", "/livez", "/nothing", "/api/v1/items"):
        answer = await anybody.get(path, headers={"X-Request-ID": "bad id\t"})
        assert answer.headers["X-Inventory-Release"] == "r1"
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


@pytest.mark.usefixtures("app")
async def test_metrics_count_requests_by_the_whole_route_template(admin: Api) -> None:
    item = await admin.item()
    await admin.get(f"/api/v1/items/{item['id']}")
    await admin.get("/wp-login.php")
    await admin.http.request("BREW", "/api/v1/items")

    figures = (await admin.get("/metrics")).text

    assert 'http_requests_total{method="GET",route="/api/v1/items/{item_id}",status="200"} 1.0' in figures
    assert 'http_requests_total{method="GET",route="unmatched",status="404"} 1.0' in figures
    assert 'http_request_duration_seconds_count{method="GET",route="/api/v1/items/{item_id}"} 1.0' in figures
    assert "http_requests_in_progress 1.0" in figures
    assert re.search(r'inventory_build_info\{release="r1",revision="7",version=".+"\} 1.0', figures)
    assert 'method="OTHER"' in figures
    assert "BREW" not in figures


async def test_a_release_is_unready_until_its_expand_migrations_are_applied(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    image = overlay.expand("9001", "op.execute('CREATE TABLE more ()')").image()
    async with running(settings_for(postgres.url(database, SERVICE)), KNOWS_MORE) as app, client_of(app) as api:
        await unready_because_of(api, "9001")
        alive = await api.get("/livez")
        early = await api.get("/api/v1/items")
        postgres.expand(database, image)
        await ready(api)

    assert (alive.status_code, early.status_code) == (200, 503)


async def test_a_release_is_unready_on_a_contract_that_it_does_not_know(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    postgres.contract(database, overlay.contract("c9001", "0001", "pass").image())

    async with running(settings_for(postgres.url(database, SERVICE))) as app, client_of(app) as api:
        await unready_because_of(api, "c9001")


async def test_an_old_release_runs_on_a_schema_with_more_expand_migrations(
    postgres: Postgres, database: str, overlay: Overlay
) -> None:
    postgres.expand(database, overlay.expand("9001", "op.execute('CREATE TABLE more ()')").image())

    async with running(settings_for(postgres.url(database, SERVICE))) as app, client_of(app) as api:
        await ready(api)


async def test_a_service_that_waits_for_its_database_tells_that_from_a_schema_that_it_cannot_run_on(
    own_postgres: Postgres,
) -> None:
    database = own_postgres.empty_database()
    settings = settings_for(own_postgres.url(database, SERVICE))
    own_postgres.stop()
    async with running(settings) as app, client_of(app) as api:
        await unready_because_of(api, '"waiting":true')
        own_postgres.start()
        await unready_because_of(api, '"waiting":false')
        await unready_because_of(api, "0001")


async def test_a_service_without_any_schema_lives_and_says_why_it_is_not_ready(
    postgres: Postgres, empty_database: str
) -> None:
    async with running(settings_for(postgres.url(empty_database, SERVICE))) as app, client_of(app) as api:
        await unready_because_of(api, "0001")


async def test_a_service_that_cannot_create_its_first_admin_says_so(postgres: Postgres, database: str) -> None:
    postgres.execute(f"REVOKE INSERT ON users FROM {SERVICE}", database=database)
    async with running(settings_for(postgres.url(database, SERVICE))) as app, client_of(app) as api:
        await unready_because_of(api, "The first admin cannot be created: permission denied for table users")
        postgres.execute(f"GRANT INSERT ON users TO {SERVICE}", database=database)
        await ready(api)


async def test_a_database_that_goes_away_costs_answers_but_not_readiness(own_postgres: Postgres) -> None:
    database = own_postgres.migrated_database()
    async with running(settings_for(own_postgres.url(database, SERVICE))) as app, client_of(app) as api:
        await ready(api)
        await api.sign_in()
        own_postgres.stop()
        away = [await api.get("/api/v1/items"), await api.check_out(1)]
        still_ready = await api.get("/readyz")
        own_postgres.start()
        back = await api.get("/api/v1/items")

    assert [answer.status_code for answer in away] == [503, 503]
    assert [answer.headers["Retry-After"] for answer in away] == ["1", "1"]
    assert {answer.headers["content-type"] for answer in away} == {"application/problem+json"}
    assert still_ready.status_code == 200
    assert back.status_code == 200


async def test_a_server_that_only_reads_costs_answers_and_none_of_its_connections_is_used_again(
    own_postgres: Postgres,
) -> None:
    async def is_refused() -> bool:
        answer = await api.post("/api/v1/categories", {"name": uuid.uuid4().hex})
        assert (answer.status_code, answer.headers.get("Retry-After")) in ((201, None), (503, "1")), answer.text
        return answer.status_code == 503

    async def is_created() -> bool:
        return not await is_refused()

    def sessions() -> list[int]:
        """Those of the service, the one that was used last at the end."""
        query = "SELECT pid FROM pg_stat_activity WHERE starts_with(application_name, 'inventory-api/')"
        return [pid for (pid,) in own_postgres.execute(f"{query} ORDER BY state_change")]

    def set_read_only(setting: str) -> None:
        own_postgres.execute(f"ALTER SYSTEM SET default_transaction_read_only = {setting}")
        own_postgres.execute("SELECT pg_reload_conf()")

    database = own_postgres.migrated_database()
    async with running(settings_for(own_postgres.url(database, SERVICE))) as app, client_of(app) as api:
        await ready(api)
        await api.sign_in()
        await asyncio.gather(*(api.get("/api/v1/items") for _ in range(5)))
        before = sessions()
        set_read_only("on")
        await soon(is_refused)
        assert await is_refused()
        set_read_only("off")
        await soon(is_created)

        assert sessions()[-1] not in before


async def test_of_several_servers_the_one_that_takes_writes_is_used(
    postgres: Postgres, database: str, own_postgres: Postgres
) -> None:
    own_postgres.execute(f"CREATE DATABASE {database}")
    own_postgres.demote()
    with tempfile.TemporaryDirectory(prefix="silent-") as silent, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{silent}/{SOCKET}")
        listener.listen()
        hosts = f"{silent},{own_postgres.sockets},{postgres.sockets}"
        url = f"postgresql://{SERVICE}:@/{database}?host={hosts}&port=5432,5432,5432"
        settings = settings_for(url, database_connect_seconds=0.5)
        async with running(settings) as app, client_of(app) as api:
            await ready(api)
            await api.sign_in()
            await api.item()


async def test_a_service_starts_while_the_database_is_away(own_postgres: Postgres) -> None:
    database = own_postgres.migrated_database()
    own_postgres.stop()
    async with running(settings_for(own_postgres.url(database, SERVICE))) as app, client_of(app) as api:
        await unready_because_of(api, "cannot be read")
        own_postgres.start()
        await ready(api)


async def test_a_statement_that_takes_too_long_is_unavailable_not_an_error(
    admin: Api, postgres: Postgres, database: str
) -> None:
    item = await admin.item()
    with postgres.connected(database) as blocker:
        blocker.execute("BEGIN")
        blocker.execute("LOCK TABLE items")
        answer = await admin.get(f"/api/v1/items/{item['id']}")
        blocker.execute("ROLLBACK")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_request_under_way_is_answered_after_sigterm(postgres: Postgres, database: str) -> None:
    with served(postgres.url(database, SERVICE)) as service, httpx.Client(base_url=service.url) as http:
        token = http.post("/api/v1/auth/token", json={"email": EMAIL, "password": PASSWORD}).json()["access_token"]
        http.headers.update({"Authorization": f"Bearer {token}", "Idempotency-Key": "k"})
        item = created(http.post("/api/v1/items", json={"name": "Drill", "sku": "d", "quantity": 1}))
        body = {"item_id": item["id"], "quantity": 1, "due_at": tomorrow()}
        with postgres.connected(database) as blocker, ThreadPoolExecutor() as threads:
            blocker.execute("BEGIN")
            blocker.execute("SELECT * FROM items FOR UPDATE")
            answer = threads.submit(http.post, "/api/v1/loans", json=body)
            eventually(lambda: bool(postgres.execute("SELECT 1 FROM pg_locks WHERE NOT granted")))

            service.terminate()
            eventually(lambda: not service.accepts_connections())
            blocker.execute("ROLLBACK")

            assert created(answer.result(PATIENCE_SECONDS))["item_id"] == item["id"]
        assert service.exit_code() == 0


def test_the_release_is_in_the_sessions_name(postgres: Postgres, database: str) -> None:
    with served(postgres.url(database, SERVICE), INVENTORY_RELEASE="abc123"):
        names = postgres.execute(
            "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = %s", database, role=SERVICE
        )

    assert names == [("inventory-api/abc123",)]
