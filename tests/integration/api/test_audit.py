"""Who changed what, from what to what: kept with the change, and never changed itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from fastapi import FastAPI
from inventory_api.app import forget_what_is_over
from inventory_api.audit import service as audit
from inventory_api.resources import Resources
from inventory_api.users.command import create_admin
from inventory_api.users.models import Role
from inventory_api.users.permissions import Principal

from tests.integration.api.services import Api, created, settings_for, tomorrow
from tests.integration.api.test_stock import in_thread
from tests.integration.stores import OWNER, SERVICE, Postgres

BODY = {"email": "new@example.com", "name": "New", "password": "long enough"}
ADMIN = Principal(1, Role.ADMIN)


async def events(api: Api, **query: Any) -> list[dict[str, Any]]:
    answer = await api.get("/api/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def record(app: FastAPI, *, before: Any = None, after: Any = None, **more: Any) -> None:
    given = {"caller": ADMIN, "action": "change", "subject": "item", "subject_id": 7, **more}
    resources: Resources = app.state.resources
    async with resources.database.transaction() as session:
        await audit.record(session, before=before, after=after, **given)


async def test_what_is_done_to_users_is_kept_with_who_did_it_and_in_which_request(admin: Api) -> None:
    answer = await admin.post("/api/v1/users", BODY, X_Request_ID="mine-1")
    someone = created(answer)
    path = f"/api/v1/users/{someone['id']}"
    headers = {"If-Match": '"1"', "X-Request-ID": "mine-2"}
    await admin.http.patch(path, json={"name": "Newer", "role": "staff", "active": True}, headers=headers)
    await admin.http.put(f"{path}/password", json={"new_password": "a very new one"})

    found = await events(admin, subject="user", subject_id=someone["id"])

    me = (await admin.get("/api/v1/users/me")).json()["id"]
    assert [(event["action"], event["before"], event["after"]) for event in found] == [
        ("change-password", None, None),
        ("change", {"name": "New", "role": "member"}, {"name": "Newer", "role": "staff"}),
        ("create", None, {"email": "new@example.com", "name": "New", "role": "member"}),
    ]
    assert {event["actor_id"] for event in found} == {me}
    assert [event["request_id"] for event in found[1:]] == ["mine-2", "mine-1"]


async def test_what_is_undone_leaves_no_trace(admin: Api) -> None:
    created(await admin.post("/api/v1/users", BODY))
    before = await events(admin)

    assert (await admin.post("/api/v1/users", BODY)).status_code == 409
    assert (
        await admin.http.patch("/api/v1/users/2", json={"name": "N"}, headers={"If-Match": '"7"'})
    ).status_code == 412
    assert (
        await admin.http.patch("/api/v1/users/2", json={"name": "New"}, headers={"If-Match": "*"})
    ).status_code == 200

    assert await events(admin) == before


async def test_api_tokens_are_kept_without_the_token(admin: Api) -> None:
    made = created(await admin.post("/api/v1/tokens", {"name": "printer", "scopes": ["read"]}))
    for _ in range(2):
        await admin.http.delete(f"/api/v1/tokens/{made['id']}")

    found = await events(admin, subject="api-token")

    assert [event["action"] for event in found] == ["revoke", "create"]
    after = found[1]["after"]
    assert (after["name"], after["scopes"]) == ("printer", ["read"])
    assert datetime.fromisoformat(after["expires_at"]) == datetime.fromisoformat(made["expires_at"])
    assert made["token"] not in str(found)


async def test_of_a_reservation_all_is_kept_that_becomes_of_it_and_what_the_service_does_has_no_actor(
    admin: Api, member: Api, postgres: Postgres, database: str
) -> None:
    item = (await admin.item(1))["id"]
    me, mem = [(await api.get("/api/v1/users/me")).json()["id"] for api in (admin, member)]
    held, waiting, given_up = [
        created(await api.post("/api/v1/reservations", {"item_id": item}, Idempotency_Key=key))["id"]
        for api, key in ((member, "a"), (admin, "b"), (admin, "c"))
    ]
    for _ in range(2):
        await admin.post(f"/api/v1/reservations/{given_up}/cancel")
    postgres.execute("UPDATE reservations SET expires_at = now() WHERE id = %s", held, database=database)
    # The one whose time is over goes with whatever next frees the item.
    spare = created(await admin.post("/api/v1/reservations", {"item_id": item}, Idempotency_Key="d"))["id"]
    body = {"reservation_id": waiting, "due_at": tomorrow()}
    loan = created(await admin.post("/api/v1/loans", body, Idempotency_Key="e"))["id"]

    async def told(reservation: int) -> list[tuple[Any, ...]]:
        found = await events(admin, subject="reservation", subject_id=reservation)
        return [(event["actor_id"], event["action"], event["before"], event["after"]) for event in reversed(found)]

    (who, action, before, after), set_aside, expired = await told(held)
    assert (who, action, before, after["user_id"], after["item_id"]) == (mem, "create", None, mem, item)
    assert set_aside[:2] == (None, "set-aside")
    assert (set_aside[2]["status"], set_aside[3]["status"]) == ("waiting", "ready")
    assert datetime.fromisoformat(set_aside[3]["expires_at"]) > datetime.now(UTC)
    assert expired == (None, "expire", {"status": "ready"}, {"status": "expired"})
    assert [event[:2] for event in await told(waiting)] == [(me, "create"), (None, "set-aside"), (me, "lend")]
    assert (await told(waiting))[-1][2:] == ({"status": "ready"}, {"status": "fulfilled", "loan_id": loan})
    assert (await told(given_up))[1:] == [(me, "cancel", {"status": "waiting"}, {"status": "cancelled"})]
    assert [event[:2] for event in await told(spare)] == [(me, "create")]


async def test_what_a_command_does_has_no_actor(postgres: Postgres, database: str) -> None:
    settings = settings_for(postgres.url(database, SERVICE))
    assert await in_thread(create_admin, settings, "boss@example.com", "long enough") == 0

    rows = "SELECT actor_id, request_id, action, subject, after ->> 'email' FROM audit_events"
    assert postgres.execute(rows, database=database) == [(None, "", "create", "user", "boss@example.com")]


async def test_of_the_fields_those_are_kept_that_differ(app: FastAPI, admin: Api) -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    await record(
        app, before={"name": "a", "due": at, "gone": 1}, after={"name": "a", "due": at + timedelta(1), "new": [1]}
    )
    await record(app, before={"name": "a"}, after={"name": "a"})
    await record(app, before={"role": Role.STAFF}, after=None)

    found = await events(admin, subject="item")

    assert [(event["before"], event["after"]) for event in found] == [
        ({"role": "staff"}, None),
        ({"due": "2030-01-01T00:00:00Z", "gone": 1}, {"due": "2030-01-02T00:00:00Z", "new": [1]}),
    ]


async def test_a_secret_that_a_service_hands_over_is_not_kept(app: FastAPI, admin: Api) -> None:
    await record(app, before={"password_hash": "argon"}, after={"password_hash": "argon2", "apiToken": "inv_"})

    (event,) = await events(admin, subject="item")

    assert event["before"] == {"password_hash": "(hidden)"}
    assert event["after"] == {"password_hash": "(hidden)", "apiToken": "(hidden)"}


@pytest.mark.parametrize("role", [SERVICE, OWNER, "postgres"])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_events SET actor_id = NULL",
        "DELETE FROM audit_events",
        "DELETE FROM audit_events WHERE false",
        "TRUNCATE audit_events",
    ],
)
def test_the_database_keeps_it_as_it_is(postgres: Postgres, database: str, change: str, role: str) -> None:
    row = "INSERT INTO audit_events (request_id, action, subject, subject_id) VALUES ('', 'change', 'item', 1)"
    postgres.execute(row, database=database)

    with pytest.raises((psycopg2.errors.IntegrityConstraintViolation, psycopg2.errors.InsufficientPrivilege)):
        postgres.execute(change, database=database, role=role)

    assert postgres.execute("SELECT count(*) FROM audit_events", database=database) == [(1,)]


OLD_ONES = (
    "INSERT INTO audit_events (request_id, action, subject, subject_id, at) "
    "SELECT '', 'change', 'item', 1, now() - make_interval(days => %s) FROM generate_series(1, %s)"
)


@pytest.mark.parametrize(("kept_days", "left"), [(None, {400: 2500, 100: 2, 99: 2}), (100, {99: 2})])
async def test_it_is_kept_for_ever_or_for_as_long_as_is_said_however_much_there_is(
    postgres: Postgres, database: str, app: FastAPI, kept_days: int | None, left: dict[int, int]
) -> None:
    for age, count in ((400, 2500), (100, 2), (99, 2)):
        postgres.execute(OLD_ONES, age, count, database=database)
    resources: Resources = app.state.resources
    settings = resources.settings.model_copy(update={"audit_kept_days": kept_days})

    await forget_what_is_over(replace(resources, settings=settings))

    ages = (
        "SELECT extract(day FROM now() - at)::integer, count(*)::integer FROM audit_events "
        "WHERE at < now() - interval '1 day' GROUP BY 1"
    )
    assert dict(postgres.execute(ages, database=database)) == left


def test_the_database_keeps_the_last_30_days_whoever_wants_to_forget_them(postgres: Postgres, database: str) -> None:
    for age in (31, 29):
        postgres.execute(OLD_ONES, age, 1, database=database)

    with postgres.connected(database, SERVICE) as cursor:
        cursor.execute("SET inventory.audit_forgets = 'on'")
        cursor.execute("DELETE FROM audit_events WHERE at < now() - interval '30 days'")
        for change in ("DELETE FROM audit_events", "UPDATE audit_events SET actor_id = NULL"):
            with pytest.raises(psycopg2.errors.IntegrityConstraintViolation):
                cursor.execute(change)

    assert postgres.execute("SELECT count(*) FROM audit_events", database=database) == [(1,)]


async def test_it_is_found_by_what_who_and_when_the_newest_first(app: FastAPI, admin: Api, member: Api) -> None:
    someone = (await member.get("/api/v1/users/me")).json()["id"]
    for subject, subject_id, action in (("item", 1, "change"), ("item", 2, "change"), ("item", 1, "archive")):
        await record(app, subject=subject, subject_id=subject_id, action=action)
    await record(app, caller=Principal(someone, Role.MEMBER), subject="loan", action="renew")
    await record(app, caller=None, subject="loan", action="expire")

    async def found(**query: Any) -> list[tuple[str, int, str]]:
        return [(event["subject"], event["subject_id"], event["action"]) for event in await events(admin, **query)]

    assert await found(subject="item") == [("item", 1, "archive"), ("item", 2, "change"), ("item", 1, "change")]
    assert await found(subject="item", subject_id=1, action="change") == [("item", 1, "change")]
    assert await found(actor_id=someone) == [("loan", 7, "renew")]
    assert await found(action="expire") == [("loan", 7, "expire")]
    assert await found(subject="nothing") == []
    middle = (await events(admin, subject="item"))[1]["at"]
    assert await found(subject="item", since=middle) == [("item", 1, "archive"), ("item", 2, "change")]
    assert await found(subject="item", until=middle) == [("item", 1, "change")]
    assert await found(since=middle, until=middle) == []


async def test_it_comes_in_pages_that_neither_skip_nor_repeat(
    app: FastAPI, postgres: Postgres, database: str, admin: Api
) -> None:
    many = (
        "INSERT INTO audit_events (request_id, action, subject, subject_id, at) "
        "SELECT '', 'import', 'item', n, %s FROM generate_series(1, 5) n"
    )
    # All of one transaction have the same time, and a long one commits when newer ones are there.
    for at in ("2020-01-02", "2020-01-01"):
        postgres.execute(many, at, database=database)

    seen, query = [], {"subject": "item", "limit": 3}
    while True:
        page = (await admin.get("/api/v1/audit", params=query)).json()
        seen += [(event["at"][:10], event["subject_id"]) for event in page["items"]]
        if len(seen) == 3:
            await record(app)
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]

    assert seen == [("2020-01-02", n) for n in (5, 4, 3, 2, 1)] + [("2020-01-01", n) for n in (5, 4, 3, 2, 1)]


async def test_only_an_admin_sees_it(member: Api, anybody: Api) -> None:
    for path in ("audit", "security-events"):
        assert (await member.get(f"/api/v1/{path}")).status_code == 403
        assert (await anybody.get(f"/api/v1/{path}")).status_code == 401


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("", "audit_events_at_id_idx"),
        ("subject = 'item' AND subject_id = 7", "audit_events_subject_idx"),
        ("actor_id = 7", "audit_events_actor_idx"),
        ("action = 'archive'", "audit_events_action_idx"),
    ],
)
def test_each_question_to_it_is_answered_by_an_index(postgres: Postgres, database: str, query: str, index: str) -> None:
    where = " AND ".join(filter(None, [query, "(at, id) < (SELECT at, id FROM audit_events WHERE id = 5)"]))
    explain = f"EXPLAIN SELECT * FROM audit_events WHERE {where} ORDER BY at DESC, id DESC LIMIT 50"  # noqa: S608
    with postgres.connected(database) as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("SET enable_sort = off")
        cursor.execute(explain)
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert f"Index Scan Backward using {index}" in plan
    assert "Sort" not in plan
    assert "ROW(at, id) <" in plan.split("Filter")[0]
