import asyncio
import socket
from typing import Any

import pytest
from fastapi import FastAPI
from inventory_api.health import service
from inventory_api.migrations.rule import ImageSchema
from inventory_api.resources import Resources
from inventory_api.users.models import Role
from inventory_api.users.permissions import Principal

from tests.integration.api.services import Api, client_of, created, ready, running, settings_for
from tests.integration.stores import SERVICE, Postgres, running_postgres

STAFF = Principal(1, Role.STAFF)


async def health_of(app: FastAPI) -> dict[str, Any]:
    resources = app.state.resources
    assert isinstance(resources, Resources)
    return (await service.check(resources, STAFF)).model_dump(by_alias=True)


async def test_staff_see_how_each_part_is(admin: Api, app: FastAPI) -> None:
    someone = {"email": "staff@example.com", "name": "Sta Ff", "password": "another password", "role": "staff"}
    created(await admin.post("/api/v1/users", someone))
    async with client_of(app) as staff:
        await staff.sign_in(someone["email"], someone["password"])
        answer = await staff.get("/api/v1/health")

    found = answer.json()
    assert (answer.status_code, found["status"]) == (200, "ok")
    assert (found["release"], found["revision"], found["environment"]) == ("r1", "7", "testing")
    assert found["version"]
    assert found["uptime_seconds"] >= 0
    database = found["database"]
    assert (database["status"], database["server_version"].split(".")[0]) == ("ok", "18")
    assert 0 < database["latency_ms"] < 2000
    assert database["pool"]["limit"] == 8
    assert found["schema"]["status"] == "ok"
    assert found["schema"]["expand"]["image"] == found["schema"]["expand"]["schema"]
    assert found["schema"]["expand"]["image"].startswith("0001..")
    assert found["schema"]["contract"] == {"image": "", "schema": "", "required": ""}
    assert found["redis"]["status"] == "ok"
    assert 0 < found["redis"]["latency_ms"] < 2000
    volumes = found["volumes"]["writable"]
    assert volumes
    assert all(0 <= volume["free_bytes"] <= volume["total_bytes"] for volume in volumes)


async def test_nobody_else_sees_it(anybody: Api, member: Api) -> None:
    assert (await member.get("/api/v1/health")).status_code == 403
    assert (await anybody.get("/api/v1/health")).status_code == 401


async def test_a_service_without_redis_is_well(postgres: Postgres, database: str) -> None:
    async with running(settings_for(postgres.url(database, SERVICE))) as app:
        found = await health_of(app)

    assert (found["status"], found["redis"]) == ("ok", {"status": "not configured", "latency_ms": None})


@pytest.mark.parametrize("is_there", [True, False], ids=["silent", "gone"])
async def test_a_redis_that_does_not_answer_is_away_and_known_soon(
    postgres: Postgres, database: str, is_there: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        redis_url = f"redis://:hush@127.0.0.1:{listener.getsockname()[1]}"
        if not is_there:
            listener.close()
        async with running(settings_for(postgres.url(database, SERVICE), redis_url=redis_url)) as app:
            async with asyncio.timeout(5):
                found = await health_of(app)

    assert (found["status"], found["redis"]["status"]) == ("degraded", "away")
    assert found["database"]["status"] == "ok"
    assert "hush" not in str(found)


async def test_a_schema_that_the_release_cannot_run_on_is_told_in_the_rules_terms(
    postgres: Postgres, database: str
) -> None:
    knows_more = ImageSchema(("0001", "9998", "9999"), ())
    async with running(settings_for(postgres.url(database, SERVICE)), knows_more) as app:
        found = await health_of(app)

    assert (found["status"], found["schema"]["status"]) == ("degraded", "incompatible")
    assert found["schema"]["objections"] == [
        "Each of the expand migrations 9998, 9999 is not applied, and this release needs it."
    ]
    assert found["schema"]["expand"]["image"] == "0001 9998..9999"


async def test_while_the_database_is_away_the_answer_is_503_and_tells_nothing_of_the_error() -> None:
    with running_postgres() as postgres:
        database = postgres.migrated_database()
        async with running(settings_for(postgres.url(database, SERVICE))) as app, client_of(app) as api:
            await ready(api)
            await api.sign_in()
            postgres.stop()
            async with asyncio.timeout(5):
                answer = await api.get("/api/v1/health")
                found = await health_of(app)
            postgres.start()
            back = await api.get("/api/v1/health")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert (found["status"], found["database"]["status"], found["schema"]["status"]) == ("degraded", "away", "unknown")
    assert "rror" not in str(found)
    assert (back.status_code, back.json()["status"]) == (200, "ok")


async def test_a_database_that_answers_too_late_is_away_and_known_soon(postgres: Postgres, database: str) -> None:
    settings = settings_for(postgres.url(database, SERVICE), database_pool_size=1, database_pool_overflow=0)
    async with running(settings) as app:
        async with client_of(app) as api:
            await ready(api)
        resources = app.state.resources
        async with resources.database.transaction() as session:
            await session.connection()
            async with asyncio.timeout(5):
                found = await health_of(app)

    assert (found["status"], found["database"]["status"]) == ("degraded", "away")
    assert found["database"]["pool"] == {"limit": 1, "in_use": 1, "idle": 0}


async def test_a_volume_that_is_nearly_full_is_told(
    app: FastAPI, anybody: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_FULL", 1.01)

    found = await health_of(app)

    assert (found["status"], found["volumes"]["status"]) == ("degraded", "full")
