"""What programs call with: for a purpose, for a time, and never more than their owner may."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from inventory_api.app import create_app, forget_what_is_over
from inventory_api.resources import Resources
from inventory_api.users.permissions import Scope

from tests.integration.api.services import (
    Api,
    client_of,
    created,
    ready,
    running,
    settings_for,
    statements_of,
    tomorrow,
)
from tests.integration.conditions import soon
from tests.integration.stores import SERVICE, Postgres

OPEN = {("post", "/api/v1/auth/token"), ("post", "/api/v1/auth/refresh")}


async def make(api: Api, *scopes: str, **more: Any) -> dict[str, Any]:
    body = {"name": "label printer", "scopes": list(scopes) or ["read"], **more}
    return created(await api.post("/api/v1/tokens", body))


async def call(api: Api, token: dict[str, Any], method: str, path: str, body: Any = None, **headers: str) -> int:
    named = {"Authorization": f"Bearer {token['token']}", **headers}
    return (await api.http.request(method, f"/api/v1/{path}", json=body, headers=named)).status_code


async def test_a_token_is_shown_once_and_kept_as_a_digest(postgres: Postgres, database: str, admin: Api) -> None:
    answer = await admin.post("/api/v1/tokens", {"name": "printer", "scopes": ["stock", "read", "stock"]})
    made = created(answer)

    assert answer.headers["Cache-Control"] == "no-store"
    assert made["token"].startswith(made["start"])
    assert made["start"].startswith("inv_")
    assert made["scopes"] == ["read", "stock"]
    shown = await admin.get("/api/v1/tokens")
    assert shown.json()["items"] == [{name: value for name, value in made.items() if name != "token"}]
    kept = str(postgres.execute("SELECT * FROM api_tokens, audit_events", database=database))
    assert made["token"] not in shown.text + kept
    assert made["token"][10:] not in kept


async def test_a_token_calls_as_its_owner(admin: Api, member: Api) -> None:
    token = await make(member)

    answer = await admin.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token['token']}"})

    assert answer.json()["email"] == "member@example.com"


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_token_may_do_what_its_scope_is_for(admin: Api, scope: str) -> None:
    item, body = (await admin.item(9))["id"], {"quantity": 1, "due_at": tomorrow()}
    token = await make(admin, scope)
    key = {"Idempotency-Key": "k"}

    statuses = {
        "read": await call(admin, token, "GET", "users"),
        "lend": await call(admin, token, "POST", "loans", {**body, "item_id": item}, **key),
        "stock": await call(admin, token, "POST", "stock/receive", {"item_id": item, "quantity": 1}, **key),
        "catalogue": await call(admin, token, "POST", "categories", {"name": "Tools"}),
        "admin": await call(admin, token, "GET", "audit"),
    }

    assert {name for name, status in statuses.items() if status < 300} == {scope}
    assert {status for status in statuses.values() if status >= 300} == {403}
    assert await call(admin, token, "GET", "items") == 200


async def test_a_token_may_never_do_more_than_its_owner(admin: Api, member: Api) -> None:
    me = (await member.get("/api/v1/users/me")).json()["id"]
    await admin.http.patch(f"/api/v1/users/{me}", json={"role": "staff"}, headers={"If-Match": "*"})
    token = await make(member, "read", "catalogue")
    assert await call(admin, token, "GET", "users") == 200

    await admin.http.patch(f"/api/v1/users/{me}", json={"role": "member"}, headers={"If-Match": "*"})

    assert await call(admin, token, "GET", "users") == 403
    assert await call(admin, token, "POST", "categories", {"name": "Tools"}) == 403
    assert await call(admin, token, "GET", "categories") == 200


@pytest.mark.parametrize("scope", ["stock", "catalogue", "admin"])
async def test_a_scope_that_would_give_its_owner_nothing_is_refused(member: Api, scope: str) -> None:
    answer = await member.post("/api/v1/tokens", {"name": "printer", "scopes": ["read", scope]})

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:inventory:problem:useless-scope")


async def test_a_token_for_reading_changes_nothing_whatever_the_operation(admin: Api) -> None:
    """Every operation of the API, so that one that is added later is not forgotten."""
    token = await make(admin)
    document = create_app(settings_for("postgresql://nowhere")).openapi()
    operations = {(method, path) for path, methods in document["paths"].items() for method in methods}
    changing = {each for each in operations if each[0] != "get" and each[1].startswith("/api/v1/")} - OPEN
    assert len(changing) > 20

    for method, path in changing:
        target = re.sub(r"{\w+}", "1", path.removeprefix("/api/v1/"))
        assert await call(admin, token, method, target, {}) == 403, (method, path)


@pytest.mark.parametrize("scopes", [["read", "lend", "stock", "catalogue", "admin"]])
async def test_no_token_may_do_what_only_a_person_does(admin: Api, scopes: list[str]) -> None:
    token = await make(admin, *scopes)
    change = {"current_password": "a long password", "new_password": "another password"}

    statuses = [
        await call(admin, token, "POST", "tokens", {"name": "more", "scopes": ["read"]}),
        await call(admin, token, "GET", "tokens"),
        await call(admin, token, "DELETE", f"tokens/{token['id']}"),
        await call(admin, token, "PUT", "users/me/password", change),
        await call(admin, token, "POST", "auth/sign-out"),
        await call(admin, token, "POST", "auth/sign-out-everywhere"),
        await call(admin, token, "GET", "auth/sessions"),
        await call(admin, token, "DELETE", "auth/sessions/1"),
    ]

    assert statuses == [403] * len(statuses)
    assert await call(admin, token, "GET", "users/me") == 200


async def test_a_revoked_token_is_over_at_once(admin: Api) -> None:
    token = await make(admin)
    path = f"/api/v1/tokens/{token['id']}"

    assert [(await admin.http.delete(path)).status_code for _ in range(2)] == [204, 204]

    answer = await admin.get("/api/v1/items", headers={"Authorization": f"Bearer {token['token']}"})
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:inventory:problem:api-token-over")
    assert "was revoked" in answer.json()["detail"]
    assert (await admin.get("/api/v1/tokens")).json()["items"][0]["revoked_at"]


async def test_an_expired_token_is_over(postgres: Postgres, database: str, admin: Api) -> None:
    token = await make(admin)
    postgres.execute("UPDATE api_tokens SET expires_at = now()", database=database)

    answer = await admin.get("/api/v1/items", headers={"Authorization": f"Bearer {token['token']}"})

    assert (answer.status_code, "has expired" in answer.json()["detail"]) == (401, True)


@pytest.mark.parametrize("token", ["inv_", "inv_x", "inv_" + "a" * 43, "inv_" + "a" * 5000, "inv_ü"])
async def test_a_token_that_was_never_made_is_nobodys(anybody: Api, token: str) -> None:
    answer = await anybody.http.get("/api/v1/items", headers=[(b"Authorization", f"Bearer {token}".encode())])

    assert (answer.status_code, answer.json()["type"]) == (401, "urn:inventory:problem:not-signed-in")


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


async def test_a_token_expires_in_90_days_unless_another_time_is_given(admin: Api) -> None:
    usual, given = await make(admin), await make(admin, expires_at=in_days(300))

    for token, days in ((usual, 90), (given, 300)):
        left = datetime.fromisoformat(token["expires_at"]) - datetime.now(UTC)
        assert timedelta(days=days) - left < timedelta(minutes=1)


@pytest.mark.parametrize("days", [-1, 0, 366.1, 100_000])
async def test_a_token_expires_within_a_year(admin: Api, days: float) -> None:
    answer = await admin.post("/api/v1/tokens", {"name": "a", "scopes": ["read"], "expires_at": in_days(days)})

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:inventory:problem:wrong-expiry")


async def test_a_user_has_fifty_live_tokens_at_most_also_when_many_are_asked_for_at_once(
    postgres: Postgres, database: str, admin: Api
) -> None:
    dead = "INSERT INTO api_tokens (user_id, name, start, digest, scopes, expires_at, revoked_at) "
    rows = "SELECT 1, 'a', 'inv_', sha256(n::text::bytea), '{read}', now() + %s, %s FROM generate_series(1, 48) AS n"
    postgres.execute(dead + rows, timedelta(days=1), None, database=database)
    postgres.execute(dead + rows.replace("n::text", "(n + 99)::text"), timedelta(-1), None, database=database)

    answers = await asyncio.gather(*(admin.post("/api/v1/tokens", {"name": "a", "scopes": ["read"]}) for _ in range(6)))

    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409, 409]


async def test_admins_see_and_revoke_what_belongs_to_others_and_nobody_else_does(admin: Api, member: Api) -> None:
    mine, theirs = await make(admin), await make(member)

    async def shown(api: Api, **query: Any) -> list[int] | int:
        answer = await api.get("/api/v1/tokens", params=query)
        return [each["id"] for each in answer.json()["items"]] if answer.status_code == 200 else answer.status_code

    assert await shown(admin) == [mine["id"]]
    assert await shown(admin, user_id=theirs["user_id"]) == [theirs["id"]]
    assert await shown(admin, everybodys="true") == [mine["id"], theirs["id"]]
    assert await shown(member) == [theirs["id"]]
    assert await shown(member, user_id=theirs["user_id"]) == [theirs["id"]]
    assert await shown(member, user_id=mine["user_id"]) == 403
    assert await shown(member, everybodys="true") == 403
    assert (await member.http.delete(f"/api/v1/tokens/{mine['id']}")).status_code == 404
    assert (await admin.http.delete("/api/v1/tokens/999")).status_code == 404
    assert (await admin.http.delete(f"/api/v1/tokens/{theirs['id']}")).status_code == 204
    assert await call(admin, theirs, "GET", "items") == 401


async def last_used(api: Api) -> str | None:
    found: str | None = (await api.get("/api/v1/tokens")).json()["items"][0]["last_used_at"]
    return found


async def test_when_a_token_was_used_last_is_written_once_a_minute(postgres: Postgres, database: str) -> None:
    async with running(settings_for(postgres.url(database, SERVICE))) as app, client_of(app) as api:
        await ready(api)
        await api.sign_in()
        token = await make(api)
        assert await last_used(api) is None
        assert await call(api, token, "GET", "items") == 200

        async def is_known() -> bool:
            return await last_used(api) is not None

        await soon(is_known)
        first = await last_used(api)
        assert {await call(api, token, "GET", "items") for _ in range(20)} == {200}

    ((last,),) = postgres.execute("SELECT last_used_at FROM api_tokens", database=database)
    assert first is not None
    assert last == datetime.fromisoformat(first)


async def test_a_caller_costs_one_query_whichever_token_they_bring(app: FastAPI, admin: Api) -> None:
    token, item = await make(admin), (await admin.item())["id"]

    with statements_of(app) as signed_in:
        await admin.get(f"/api/v1/items/{item}")
    with statements_of(app) as by_token:
        assert await call(admin, token, "GET", f"items/{item}") == 200

    assert [len(signed_in), len(by_token)] == [2, 2]
    assert not any(statement.startswith("UPDATE") for statement in by_token)


async def test_who_called_a_moment_ago_is_known_until_something_changes(postgres: Postgres, database: str) -> None:
    settings = settings_for(postgres.url(database, SERVICE), caller_known_seconds=10)
    async with running(settings) as app, client_of(app) as api:
        await ready(api)
        await api.sign_in()
        token = await make(api)
        assert await call(api, token, "GET", "items") == 200

        with statements_of(app) as again:
            assert await call(api, token, "GET", "items") == 200
        assert not any("api_tokens" in statement for statement in again)

        assert (await api.http.delete(f"/api/v1/tokens/{token['id']}")).status_code in (200, 204)
        assert await call(api, token, "GET", "items") == 401


async def test_the_last_use_is_written_at_the_end_of_the_process_too(postgres: Postgres, database: str) -> None:
    async with running(settings_for(postgres.url(database, SERVICE))) as app, client_of(app) as api:
        await ready(api)
        await api.sign_in()
        tokens = [await make(api) for _ in range(3)]
        assert {await call(api, token, "GET", "items") for token in tokens} == {200}

    assert postgres.execute("SELECT count(last_used_at) FROM api_tokens", database=database) == [(3,)]


async def test_a_token_that_is_over_is_removed_some_time_later(
    postgres: Postgres, database: str, app: FastAPI, admin: Api
) -> None:
    for _ in range(4):
        await make(admin)
    for change in (
        "revoked_at = now() - interval '31 days' WHERE id = 1",
        "expires_at = now() - interval '31 days' WHERE id = 2",
        "revoked_at = now() - interval '29 days' WHERE id = 3",
    ):
        postgres.execute(f"UPDATE api_tokens SET {change}", database=database)  # noqa: S608 - from above
    resources: Resources = app.state.resources

    await forget_what_is_over(resources)

    assert postgres.execute("SELECT id FROM api_tokens ORDER BY id", database=database) == [(3,), (4,)]


async def test_tokens_come_in_pages(admin: Api) -> None:
    for _ in range(3):
        await make(admin)

    async def page(**query: Any) -> httpx.Response:
        return await admin.get("/api/v1/tokens", params={"limit": 2, **query})

    first = (await page()).json()
    rest = (await page(cursor=first["next_cursor"])).json()

    assert [len(each["items"]) for each in (first, rest)] == [2, 1]
