"""Which errors a service in a process of its own sends to Sentry."""

import json
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.integration.api.receivers import Sentry, receiving
from tests.integration.api.services import EMAIL, PASSWORD, SECRET_KEY, served
from tests.integration.conditions import eventually
from tests.integration.stores import SERVICE, Postgres, running_postgres


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    with receiving(Sentry) as sentry:
        yield sentry


def test_only_an_unexpected_error_is_reported_with_its_request_and_release(
    postgres: Postgres, database: str, sentry: Sentry
) -> None:
    credentials = {"email": EMAIL, "password": PASSWORD}
    request_id = uuid.uuid4().hex
    with (
        served(postgres.url(database, SERVICE), INVENTORY_SENTRY_DSN=sentry.dsn, INVENTORY_RELEASE="r1") as service,
        httpx.Client(base_url=service.url, timeout=20) as http,
    ):
        token = http.post("/api/v1/auth/token", json=credentials).json()["access_token"]
        http.headers.update({"Authorization": f"Bearer {token}", "Cookie": f"session={token}"})
        expected = [
            http.get("/api/v1/items/999"),
            http.get("/api/v1/items?limit=x"),
            http.post("/api/v1/auth/token", json={**credentials, "password": "wrong"}),
        ]
        postgres.execute("ALTER TABLE items RENAME TO elsewhere", database=database)
        failed = http.get("/api/v1/items/17?email=bob@example.com", headers={"X-Request-ID": request_id})
        eventually(lambda: bool(sentry.events()))

    assert ([answer.status_code for answer in expected], failed.status_code) == ([404, 422, 401], 500)
    (event,) = sentry.events()
    assert (event["tags"]["request_id"], event["tags"]["release"]) == (request_id, "r1")
    assert event["tags"]["route"] == "/api/v1/items/{item_id}"
    assert 'relation "items" does not exist' in event["exception"]["values"][-1]["value"]
    for secret in (token, PASSWORD, SECRET_KEY, EMAIL, "bob@example.com", "session="):
        assert secret not in json.dumps(event)


def test_a_database_that_is_away_is_no_error_to_report(sentry: Sentry) -> None:
    with running_postgres() as postgres:
        database = postgres.migrated_database()
        with (
            served(postgres.url(database, SERVICE), INVENTORY_SENTRY_DSN=sentry.dsn) as service,
            httpx.Client(base_url=service.url, timeout=20) as http,
        ):
            token = http.post("/api/v1/auth/token", json={"email": EMAIL, "password": PASSWORD}).json()["access_token"]
            postgres.stop()
            away = http.get("/api/v1/items", headers={"Authorization": f"Bearer {token}"})
            postgres.start()
            service.terminate()
            assert service.exit_code() == 0

    assert (away.status_code, sentry.events()) == (503, [])
