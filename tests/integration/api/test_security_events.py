"""What security wants to see: as rows that admins read, as log lines, and as figures."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import structlog
import structlog.testing
from fastapi import FastAPI
from inventory_api.app import forget_what_is_over
from inventory_api.database import Database
from inventory_api.metrics import Metrics
from inventory_api.resources import Resources
from inventory_api.security import SecurityEvent, SecurityEventKind
from inventory_api.security_events.service import SecurityEvents
from structlog.typing import EventDict

from tests.integration.api.services import EMAIL, Api, client_of, ready, running, settings_for
from tests.integration.api.test_api_tokens import call, make
from tests.integration.api.test_sessions import later, refresh, refreshed, sign_in
from tests.integration.conditions import soon
from tests.integration.stores import SERVICE, Postgres

FAILED = SecurityEvent(SecurityEventKind.SIGN_IN_FAILED)


@pytest.fixture
def logged(app: FastAPI) -> Iterator[list[EventDict]]:
    """The service's log lines, which the other tests keep quiet."""
    usual, capture = structlog.get_config(), structlog.testing.LogCapture()
    structlog.configure(processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0))
    yield capture.entries
    structlog.configure(**usual)


async def events(api: Api, **query: Any) -> list[dict[str, Any]]:
    answer = await api.get("/api/v1/security-events", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def only_event(api: Api, kind: str) -> dict[str, Any]:
    async def is_there() -> bool:
        return bool(await events(api, kind=kind))

    await soon(is_there)
    (found,) = await events(api, kind=kind)
    return found


async def figure(api: Api, kind: str) -> float:
    line = re.search(
        rf'^inventory_security_events_total\{{kind="{kind}"\}} (.+)$', (await api.get("/metrics")).text, re.MULTILINE
    )
    return float(line[1]) if line else 0.0


async def test_a_failed_sign_in_is_seen_with_whose_account_and_where_from(
    admin: Api, anybody: Api, logged: list[EventDict]
) -> None:
    body = {"email": EMAIL, "password": "a wrong password"}
    await anybody.post("/api/v1/auth/token", body, X_Request_ID="guess-1")

    event = await only_event(admin, "sign-in-failed")
    me = (await admin.get("/api/v1/users/me")).json()["id"]
    assert (event["user_id"], event["request_id"], event["address"]) == (me, "guess-1", "127.0.0.1")
    assert await figure(admin, "sign-in-failed") == 1
    (line,) = [line for line in logged if line["event"] == "security event"]
    assert (line["kind"], line["user"], line["log_level"]) == ("sign-in-failed", me, "warning")
    assert "a wrong password" not in str(event) + str(logged)


async def test_what_is_typed_into_the_field_of_the_address_is_kept_nowhere(
    admin: Api, anybody: Api, logged: list[EventDict]
) -> None:
    await anybody.post("/api/v1/auth/token", {"email": "my-p@ssword", "password": "x"})

    event = await only_event(admin, "sign-in-failed")
    assert event["user_id"] is None
    assert logged
    assert "my-p@ssword" not in str(logged) + str(event)


async def test_too_many_sign_ins_are_seen(admin: Api, anybody: Api) -> None:
    for _ in range(21):
        await anybody.post("/api/v1/auth/token", {"email": "seen@example.com", "password": "wrong"})

    assert (await only_event(admin, "sign-in-throttled"))["user_id"] is None


async def test_a_refresh_token_that_is_used_again_is_seen(
    postgres: Postgres, database: str, admin: Api, anybody: Api
) -> None:
    tokens = await sign_in(anybody)
    await refreshed(anybody, tokens["refresh_token"])
    later(postgres, database, 31)

    await refresh(anybody, tokens["refresh_token"])
    await admin.sign_in()

    event = await only_event(admin, "refresh-token-reused")
    assert event["user_id"] == (await admin.get("/api/v1/users/me")).json()["id"]
    assert await figure(admin, "refresh-token-reused") == 1


async def test_a_refresh_token_that_is_merely_unknown_or_over_is_not_seen(
    postgres: Postgres, database: str, admin: Api, anybody: Api
) -> None:
    tokens = await sign_in(anybody)
    await refresh(anybody, "invr_unknown")
    later(postgres, database, 15 * 86_400)
    await refresh(anybody, tokens["refresh_token"])

    assert await figure(admin, "refresh-token-reused") == 0


async def test_a_refused_permission_is_seen_although_the_request_is_undone(admin: Api, member: Api) -> None:
    body = {"email": "a@b.example", "name": "a", "password": "long enough"}
    assert (await member.post("/api/v1/users", body)).status_code == 403

    event = await only_event(admin, "permission-refused")
    assert event["user_id"] == (await member.get("/api/v1/users/me")).json()["id"]
    assert event["detail"] == "edit-users"


async def test_what_a_tokens_scope_does_not_allow_is_seen(admin: Api) -> None:
    token = await make(admin)
    assert await call(admin, token, "POST", "categories", {"name": "Tools"}) == 403

    assert (await only_event(admin, "permission-refused"))["detail"] == "change"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE api_tokens SET revoked_at = now()", "was revoked"),
        ("UPDATE api_tokens SET expires_at = now()", "has expired"),
        ("UPDATE users SET active = false WHERE role = 'member'", "is of a user who is not active"),
    ],
)
async def test_the_use_of_an_api_token_that_is_over_is_seen(
    postgres: Postgres, database: str, admin: Api, member: Api, change: str, why: str
) -> None:
    token = await make(member)
    postgres.execute(change, database=database)
    assert await call(admin, token, "GET", "items") == 401

    event = await only_event(admin, "api-token-refused")
    assert (event["user_id"], event["detail"]) == (token["user_id"], f"API token {token['id']} {why}")


async def test_a_changed_password_is_seen_and_a_failed_change_is_not_taken_for_one(admin: Api, member: Api) -> None:
    path, body = "/api/v1/users/me/password", {"current_password": "another password", "new_password": "a new password"}
    wrong = await member.http.put(path, json={**body, "current_password": "wrong"})
    right = await member.http.put(path, json=body)

    assert [wrong.status_code, right.status_code] == [403, 204]
    event = await only_event(admin, "password-changed")
    me = (await member.get("/api/v1/users/me")).json()["id"]
    assert (event["user_id"], event["detail"]) == (me, "by themselves")
    assert (await only_event(admin, "sign-in-failed"))["detail"] == "wrong current password"


async def test_a_password_that_an_admin_sets_is_seen_with_whose_it_is(admin: Api, member: Api) -> None:
    me = (await member.get("/api/v1/users/me")).json()["id"]
    answer = await admin.http.put(f"/api/v1/users/{me}/password", json={"new_password": "a new password"})

    assert answer.status_code == 204
    event = await only_event(admin, "password-changed")
    assert (event["user_id"], event["detail"].startswith("by user ")) == (me, True)


async def test_they_are_found_by_kind_person_and_time_the_newest_first(
    postgres: Postgres, database: str, admin: Api
) -> None:
    row = "INSERT INTO security_events (at, kind, user_id, request_id, address, detail) VALUES (%s, %s, %s, '', '', '')"
    for day, kind, user in ((1, "sign-in-failed", 1), (2, "sign-in-failed", None), (3, "password-changed", 1)):
        postgres.execute(row, f"2020-01-0{day}T00:00:00Z", kind, user, database=database)

    async def days(**query: Any) -> list[int]:
        return [int(event["at"][8:10]) for event in await events(admin, **query)]

    assert await days() == [3, 2, 1]
    assert await days(kind="sign-in-failed") == [2, 1]
    assert await days(user_id=1) == [3, 1]
    assert await days(since="2020-01-02T00:00:00Z") == [3, 2]
    assert await days(until="2020-01-02T00:00:00Z") == [1]
    first = (await admin.get("/api/v1/security-events", params={"limit": 2})).json()
    assert await days(limit=2, cursor=first["next_cursor"]) == [1]
    assert (await admin.get("/api/v1/security-events?kind=other")).status_code == 422


async def test_those_at_the_end_of_the_process_are_written_too(postgres: Postgres, database: str) -> None:
    async with running(settings_for(postgres.url(database, SERVICE))) as app, client_of(app) as api:
        await ready(api)
        resources: Resources = app.state.resources
        for _ in range(250):
            resources.security_events.report(FAILED, "", "")

    assert postgres.execute("SELECT count(*) FROM security_events", database=database) == [(250,)]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("v", "r", "1")


def lost(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("inventory_rows_lost_total", {"table": "security_events"}) or 0.0


async def test_a_flood_fills_neither_memory_nor_the_database_and_what_is_lost_is_counted(
    postgres: Postgres, database: str, metrics: Metrics
) -> None:
    connections = Database(settings_for(postgres.url(database, SERVICE)))
    flooded = SecurityEvents(connections, metrics, limit=50)
    for _ in range(10_000):
        flooded.report(FAILED, "", "")
    flooded.start()
    await flooded.close()
    await connections.close()

    assert postgres.execute("SELECT count(*) FROM security_events", database=database) == [(50,)]
    assert lost(metrics) == 9950
    assert metrics.registry.get_sample_value("inventory_security_events_total", {"kind": "sign-in-failed"}) == 10_000


async def test_people_sign_in_during_a_flood(app: FastAPI, anybody: Api) -> None:
    resources: Resources = app.state.resources

    async def flood() -> None:
        while True:
            for _ in range(100):
                resources.security_events.report(FAILED, "", "")
            await asyncio.sleep(0)

    flooding = asyncio.create_task(flood())
    for _ in range(3):
        async with asyncio.timeout(5):
            await sign_in(anybody)
    flooding.cancel()
    assert lost(resources.metrics) > 0


async def test_they_wait_for_a_database_that_is_away(
    postgres: Postgres, database: str, metrics: Metrics, logged: list[EventDict]
) -> None:
    url = postgres.url(database, SERVICE)
    postgres.execute(f"ALTER DATABASE {database} CONNECTION LIMIT 0")
    connections = Database(settings_for(url))
    waiting = SecurityEvents(connections, metrics)
    waiting.start()
    waiting.report(FAILED, "while away", "")

    async def has_tried() -> bool:
        return any(line["event"] == "rows wait for the database" for line in logged)

    await soon(has_tried)
    postgres.execute(f"ALTER DATABASE {database} CONNECTION LIMIT -1")
    await waiting.close()
    await connections.close()

    assert postgres.execute("SELECT request_id FROM security_events", database=database) == [("while away",)]
    assert lost(metrics) == 0


async def test_those_that_the_database_will_never_take_stand_in_nobodys_way(
    postgres: Postgres, database: str, metrics: Metrics
) -> None:
    connections = Database(settings_for(postgres.url(database, SERVICE)))
    stuck = SecurityEvents(connections, metrics)
    stuck.start()
    stuck.report(SecurityEvent(SecurityEventKind.PASSWORD_CHANGED, user_id=999), "", "")

    async def is_given_up() -> bool:
        return lost(metrics) == 1

    await soon(is_given_up)
    stuck.report(FAILED, "good", "")
    await stuck.close()
    await connections.close()

    assert postgres.execute("SELECT request_id FROM security_events", database=database) == [("good",)]


async def test_old_ones_are_removed_however_many_and_the_others_stay(
    postgres: Postgres, database: str, app: FastAPI
) -> None:
    rows = (
        "INSERT INTO security_events (at, kind, request_id, address, detail) "
        "SELECT now() - make_interval(days => %s), 'sign-in-failed', '', '', '' FROM generate_series(1, %s)"
    )
    for age, count in ((91, 2500), (89, 2)):
        postgres.execute(rows, age, count, database=database)
    resources: Resources = app.state.resources

    await forget_what_is_over(resources)

    kept: Sequence[Any] = postgres.execute(
        "SELECT at < now() - interval '90 days' FROM security_events", database=database
    )
    assert Counter(kept) == {(False,): 2}
