"""Passwords are changed by who knows them, or by an admin; whoever had signed in with the old one is out."""

import asyncio
import statistics
import time

import httpx
from fastapi import FastAPI

from tests.integration.api.services import EMAIL, PASSWORD, Api, client_of, created, ready, running, settings_for
from tests.integration.api.test_sessions import calls, refresh, sign_in
from tests.integration.conditions import soon
from tests.integration.stores import SERVICE, Postgres

NEW = "another long password"
MEMBER = ("member@example.com", "another password")


async def change(api: Api, current: str = PASSWORD, new: str = NEW) -> httpx.Response:
    return await api.http.put("/api/v1/users/me/password", json={"current_password": current, "new_password": new})


async def status_of_sign_in(api: Api, email: str, password: str) -> int:
    return (await api.post("/api/v1/auth/token", {"email": email, "password": password})).status_code


async def test_a_changed_password_ends_all_sessions_but_the_one_that_changed_it(admin: Api) -> None:
    other = await sign_in(admin)

    assert (await change(admin)).status_code == 204

    assert (await admin.get("/api/v1/users/me")).status_code == 200
    assert await calls(admin, other) == 401
    assert (await refresh(admin, other["refresh_token"])).status_code == 401
    assert [await status_of_sign_in(admin, EMAIL, password) for password in (PASSWORD, NEW)] == [401, 200]


async def test_an_api_token_outlives_a_changed_password_until_it_is_revoked(admin: Api, member: Api) -> None:
    made = created(await member.post("/api/v1/tokens", {"name": "printer", "scopes": ["read"]}))
    headers = {"Authorization": f"Bearer {made['token']}"}
    owner = (await member.get("/api/v1/users/me")).json()["id"]

    assert (await change(member, current=MEMBER[1])).status_code == 204
    assert (await admin.http.put(f"/api/v1/users/{owner}/password", json={"new_password": NEW})).status_code == 204
    assert (await admin.get("/api/v1/items", headers=headers)).status_code == 200
    (shown,) = (await admin.get("/api/v1/tokens", params={"user_id": owner})).json()["items"]
    await admin.http.delete(f"/api/v1/tokens/{shown['id']}")
    assert (await admin.get("/api/v1/items", headers=headers)).status_code == 401


async def test_a_password_is_changed_only_by_who_knows_it(admin: Api) -> None:
    answer = await change(admin, current="a wrong password")

    assert (answer.status_code, answer.json()["type"]) == (403, "urn:inventory:problem:wrong-password")
    assert await status_of_sign_in(admin, EMAIL, PASSWORD) == 200


async def test_a_stolen_session_cannot_guess_the_password(app: FastAPI, admin: Api) -> None:
    # Guesses count by the address, for all tests that share a Redis.
    body = {"email": "guessed-by-session@example.com", "name": "G", "password": PASSWORD}
    created(await admin.post("/api/v1/users", body))
    async with client_of(app) as stolen:
        await stolen.sign_in(body["email"])
        statuses = [(await change(stolen, current="a wrong password")).status_code for _ in range(21)]

    assert statuses == [403] * 20 + [429]


async def test_of_two_changes_at_once_from_one_password_one_wins(admin: Api) -> None:
    candidates = ["candidate number 1", "candidate number 2"]

    answers = await asyncio.gather(*(change(admin, new=new) for new in candidates))

    assert sorted(answer.status_code for answer in answers) == [204, 403]
    winner = [answer.status_code for answer in answers].index(204)
    assert [await status_of_sign_in(admin, EMAIL, password) for password in candidates] == [
        200 if number == winner else 401 for number in range(2)
    ]


async def test_a_sign_in_with_the_old_password_that_a_change_overtakes_is_no_way_in(
    postgres: Postgres, database: str, anybody: Api
) -> None:
    body = {"email": EMAIL, "password": PASSWORD}
    with postgres.connected(database) as other:
        other.execute("BEGIN")
        other.execute("UPDATE users SET password_hash = 'another'")
        other.execute("UPDATE sessions SET ended_at = now()")
        signing_in = asyncio.create_task(anybody.post("/api/v1/auth/token", body))

        async def waits() -> bool:
            blocked = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
            return signing_in.done() or bool(postgres.execute(blocked, database))

        await soon(waits)
        other.execute("COMMIT")

    assert (await signing_in).status_code == 401
    assert postgres.execute("SELECT id FROM sessions WHERE ended_at IS NULL", database=database) == []


async def test_an_admin_resets_a_password_and_its_owner_is_out(admin: Api, member: Api) -> None:
    someone = (await member.get("/api/v1/users/me")).json()["id"]
    path = f"/api/v1/users/{someone}/password"

    assert (await member.http.put(path, json={"new_password": NEW})).status_code == 403
    assert (await admin.http.put(path, json={"new_password": NEW})).status_code == 204

    assert (await member.get("/api/v1/users/me")).status_code == 401
    assert [await status_of_sign_in(admin, MEMBER[0], password) for password in (MEMBER[1], NEW)] == [401, 200]


async def test_an_admin_changes_their_own_password_as_all_others_do(admin: Api) -> None:
    me = (await admin.get("/api/v1/users/me")).json()["id"]

    answer = await admin.http.put(f"/api/v1/users/{me}/password", json={"new_password": NEW})

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:inventory:problem:own-password")
    assert (await admin.http.put("/api/v1/users/999/password", json={"new_password": NEW})).status_code == 404


async def test_whoever_does_not_get_in_costs_the_same_and_is_told_the_same(
    postgres: Postgres, database: str, statements: list[str], member: Api, anybody: Api
) -> None:
    """A wrong password, an unknown address, and a user who is not active, with the right password."""
    inactive = "UPDATE users SET active = false WHERE role = 'member'"
    postgres.execute(inactive, database=database)
    bodies, asked = [], []
    for email, password in ((EMAIL, "wrong"), ("nobody@example.com", "wrong"), MEMBER):
        statements.clear()
        answer = await anybody.post("/api/v1/auth/token", {"email": email, "password": password})
        asked.append(list(statements))
        bodies.append((answer.status_code, {**answer.json(), "request_id": ""}))

    assert bodies[0] == bodies[1] == bodies[2]
    assert asked[0] == asked[1] == asked[2] != []


async def test_an_unknown_address_takes_as_long_as_a_wrong_password(postgres: Postgres, database: str) -> None:
    """By the medians of attempts that take turns, so that a busy machine slows both."""
    times: dict[str, list[float]] = {EMAIL: [], "nobody@example.com": []}
    async with running(settings_for(postgres.url(database, SERVICE))) as app, client_of(app) as api:
        await ready(api)
        # Fewer than are counted as guessing.
        for _ in range(15):
            for email, taken in times.items():
                started = time.perf_counter()
                assert await status_of_sign_in(api, email, "wrong") == 401
                taken.append(time.perf_counter() - started)

    known, unknown = (statistics.median(taken) for taken in times.values())
    # Without a hash for nobody, it would be a quarter of it or less.
    assert 0.6 < unknown / known < 1.6
