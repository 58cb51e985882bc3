"""How the service reaches PostgreSQL: by TLS, through a transaction pooler, and with limits that hold."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from inventory_api.database import Database, is_passing
from inventory_api.migrations.run import MigrationRun
from inventory_api.migrations.session import Interruption
from inventory_api.settings import MigrationSettings, ServiceSettings
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.certificates import Authority
from tests.integration.api import pgbouncer
from tests.integration.api.services import Api, client_of, created, ready, running, settings_for, unready_because_of
from tests.integration.api.tls import tls_in_front_of
from tests.integration.stores import OWNER, SERVICE, Postgres, running_postgres


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def by_tls(port: int, role: str, database: str, **parameters: str | Path) -> str:
    return f"postgresql://{role}@localhost:{port}/{database}?{urlencode(parameters)}"


async def scalar(settings: ServiceSettings, statement: str) -> Any:
    database = Database(settings)
    try:
        async with database.transaction() as session:
            return await session.scalar(text(statement))
    finally:
        await database.close()


async def test_service_and_migrations_verify_the_server_and_show_their_certificate(
    postgres: Postgres, database: str, authority: Authority
) -> None:
    client = authority.issue("client")
    given: dict[str, str | Path] = {
        "sslmode": "verify-full",
        "sslrootcert": authority.own.certificate,
        "sslcert": client.certificate,
        "sslkey": client.key,
        "connect_timeout": "10",
    }
    client.key.chmod(0o600)
    async with tls_in_front_of(postgres.sockets, authority, asks_for_certificate=True) as port:
        settings = settings_for(by_tls(port, SERVICE, database, **given))
        async with running(settings) as app, client_of(app) as api:
            await ready(api)
        owner = SecretStr(by_tls(port, OWNER, database, **given))
        run = MigrationRun(MigrationSettings(migration_database_url=owner), Interruption())
        result = await asyncio.to_thread(run.status)

    assert result.outcome == "status"


async def test_a_server_of_another_authority_is_not_spoken_to(
    postgres: Postgres, database: str, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path)
    async with tls_in_front_of(postgres.sockets, other, asks_for_certificate=False) as port:
        url = by_tls(port, SERVICE, database, sslmode="verify-full", sslrootcert=authority.own.certificate)
        async with running(settings_for(url)) as app, client_of(app) as api:
            await unready_because_of(api, "certificate verify failed")


async def test_a_server_that_only_reads_is_waited_for() -> None:
    with running_postgres() as server:
        database = server.migrated_database()
        server.demote()
        async with running(settings_for(server.url(database, SERVICE))) as app, client_of(app) as api:
            await unready_because_of(api, '"waiting":true')


async def test_options_of_the_url_reach_the_server_and_leave_the_services_own_limits_alone(
    postgres: Postgres, database: str
) -> None:
    options = urlencode({"options": "-c work_mem=7MB -c statement_timeout=1h -c TimeZone=Asia/Tokyo"})
    settings = settings_for(f"{postgres.url(database, SERVICE)}&{options}", database_statement_seconds=2.5)

    found = await scalar(
        settings,
        "SELECT array[current_setting('work_mem'), current_setting('statement_timeout'), current_setting('TimeZone')]",
    )

    assert found == ["7MB", "2500ms", "UTC"]


async def test_options_of_the_migrations_url_reach_the_server_too(postgres: Postgres, database: str) -> None:
    url = f"{postgres.url(database, OWNER)}&" + urlencode({"options": "-c role=nobody_of_that_name"})
    run = MigrationRun(
        MigrationSettings(migration_database_url=SecretStr(url), migration_wait_seconds=0), Interruption()
    )

    result = await asyncio.to_thread(run.status)

    assert "nobody_of_that_name" in result.error


LIMITS = {"database_statement_seconds": 0.4, "database_lock_seconds": 0.3, "database_idle_transaction_seconds": 1}


async def test_limits_of_the_settings_are_those_of_each_transaction(postgres: Postgres, database: str) -> None:
    assert await limits_in(settings_for(postgres.url(database, SERVICE), **LIMITS)) == ["400ms", "300ms", "1s"]


async def limits_in(settings: ServiceSettings) -> Any:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    return await scalar(settings, f"SELECT array[{', '.join(f'current_setting({name!r})' for name in names)}]")


async def test_a_connection_keeps_its_statements_prepared_but_none_behind_a_pooler(
    postgres: Postgres, database: str
) -> None:
    for pooler, kept in (("none", True), ("transaction", False)):
        settings = settings_for(postgres.url(database, SERVICE), database_pooler=pooler)
        assert await scalar(settings, "SELECT count(*) > 0 FROM pg_prepared_statements") is kept


@pytest.mark.parametrize("idle_seconds", [0.0, 60.0])
async def test_a_connection_that_was_lost_while_nobody_used_it_is_replaced(
    postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch, idle_seconds: float
) -> None:
    monkeypatch.setattr("inventory_api.database._IDLE_SECONDS", idle_seconds)
    async with running(settings_for(postgres.url(database, SERVICE))) as app, client_of(app) as api:
        await ready(api)
        await api.sign_in()
        await asyncio.gather(*(api.get("/api/v1/items") for _ in range(5)))
        postgres.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND usename = %s",
            database,
            SERVICE,
        )
        found = [(await api.get("/api/v1/items")).status_code for _ in range(5)]

    assert found == [200] * 5


async def test_a_statement_that_a_migration_has_changed_is_prepared_anew(postgres: Postgres, database: str) -> None:
    postgres.execute("CREATE TABLE shelf AS SELECT 1 AS number", database=database)
    postgres.execute(f"GRANT SELECT ON shelf TO {SERVICE}", database=database)
    service = Database(settings_for(postgres.url(database, SERVICE)))

    async def number() -> Any:
        async with service.transaction() as session:
            return await session.scalar(text("SELECT * FROM shelf"))

    assert await number() == 1
    postgres.execute("ALTER TABLE shelf ALTER number TYPE text", database=database)
    with pytest.raises(DBAPIError) as error:
        await number()
    again = await number()
    await service.close()

    assert is_passing(error.value)
    assert again == "1"


@pgbouncer.needed
async def test_behind_a_transaction_pooler_limits_hold_within_each_transaction(
    postgres: Postgres, database: str
) -> None:
    with pgbouncer.pgbouncer(postgres, database, connections=1) as url:
        limits = await limits_in(settings_for(url, database_pooler="transaction", **LIMITS))
        other = await limits_in(settings_for(url, database_pooler="transaction"))

    assert limits == ["400ms", "300ms", "1s"]
    assert other == ["10s", "5s", "15s"]


@pgbouncer.needed
async def test_behind_a_transaction_pooler_many_connections_share_few_and_all_works(
    postgres: Postgres, database: str
) -> None:
    async def work(api: Api) -> None:
        item = await api.item(quantity=5)
        created(await api.check_out(item["id"]))
        listed, fetched = await api.get("/api/v1/loans?limit=5"), await api.get(f"/api/v1/items/{item['id']}")
        assert (listed.status_code, fetched.json()["available"]) == (200, 4)

    with pgbouncer.pgbouncer(postgres, database, connections=2) as url:
        settings = settings_for(url, database_pooler="transaction", database_pool_size=10)
        async with running(settings) as app, client_of(app) as api:
            await ready(api)
            await api.sign_in()
            await asyncio.gather(*(work(api) for _ in range(40)))


@pgbouncer.needed
async def test_a_service_that_is_not_told_of_the_pooler_says_why_it_is_not_ready(
    postgres: Postgres, database: str
) -> None:
    with pgbouncer.pgbouncer(postgres, database, connections=1) as url:
        async with running(settings_for(url)) as app, client_of(app) as api:
            await unready_because_of(api, "unsupported startup parameter")
