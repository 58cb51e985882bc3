"""What people sign in to: refreshed by tokens that are good for one use, and ended at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from inventory_api.app import forget_what_is_over
from inventory_api.resources import Resources

from tests.integration.api.services import (
    EMAIL,
    PASSWORD,
    SECRET_KEY,
    Api,
    client_of,
    ready,
    running,
    settings_for,
)
from tests.integration.stores import SERVICE, Postgres

OVER = "urn:inventory:problem:session-over"


async def sign_in(api: Api, email: str = EMAIL, password: str = PASSWORD, **headers: str) -> dict[str, Any]:
    answer = await api.post("/api/v1/auth/token", {"email": email, "password": password}, **headers)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


async def refresh(api: Api, token: str) -> httpx.Response:
    return await api.post("/api/v1/auth/refresh", {"refresh_token": token})


async def refreshed(api: Api, token: str) -> dict[str, Any]:
    answer = await refresh(api, token)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


async def calls(api: Api, tokens: dict[str, Any]) -> int:
    """How a call with the access token is answered."""
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return (await api.get("/api/v1/users/me", headers=headers)).status_code


def later(postgres: Postgres, database: str, seconds: int) -> None:
    """As if so much time had passed for sessions and refresh tokens."""
    for table, columns in (
        ("refresh_tokens", ("expires_at", "rotated_at")),
        ("sessions", ("created_at", "used_at", "expires_at", "ended_at")),
    ):
        moved = ", ".join(f"{column} = {column} - make_interval(secs => {seconds})" for column in columns)
        postgres.execute(f"UPDATE {table} SET {moved}", database=database)  # noqa: S608 - from above


async def test_a_refresh_token_gives_new_tokens_of_the_same_session(anybody: Api) -> None:
    first = await sign_in(anybody)

    second = await refreshed(anybody, first["refresh_token"])

    assert second["refresh_token"] != first["refresh_token"]
    assert (first["expires_in"], first["refresh_expires_in"]) == (3600, 14 * 86_400)
    assert [await calls(anybody, tokens) for tokens in (first, second)] == [200, 200]
    anybody.http.headers["Authorization"] = f"Bearer {second['access_token']}"
    assert len((await anybody.get("/api/v1/auth/sessions")).json()["items"]) == 1


async def test_nobody_on_the_way_may_keep_an_answer_with_tokens(anybody: Api) -> None:
    answer = await anybody.post("/api/v1/auth/token", {"email": EMAIL, "password": PASSWORD})

    assert answer.headers["Cache-Control"] == "no-store"
    assert (await refresh(anybody, answer.json()["refresh_token"])).headers["Cache-Control"] == "no-store"


async def test_only_digests_of_tokens_are_kept(postgres: Postgres, database: str, anybody: Api) -> None:
    tokens = await sign_in(anybody)
    tokens["next"] = (await refreshed(anybody, tokens["refresh_token"]))["refresh_token"]

    for table in ("refresh_tokens", "sessions", "users", "audit_events"):
        rows = str(postgres.execute(f"TABLE {table}", database=database))
        assert not any(str(token)[5:] in rows for token in tokens.values() if len(str(token)) > 20)


async def test_a_refresh_token_that_is_used_again_ends_the_whole_session(
    postgres: Postgres, database: str, anybody: Api
) -> None:
    stolen = await sign_in(anybody)
    mine = await refreshed(anybody, stolen["refresh_token"])
    later(postgres, database, 31)

    answer = await refresh(anybody, stolen["refresh_token"])

    assert (answer.status_code, answer.json()["type"], answer.headers["WWW-Authenticate"]) == (401, OVER, "Bearer")
    assert (await refresh(anybody, mine["refresh_token"])).status_code == 401
    assert [await calls(anybody, tokens) for tokens in (stolen, mine)] == [401, 401]
    assert postgres.execute("SELECT end_reason FROM sessions", database=database) == [("token-reused",)]


async def test_a_session_that_ends_takes_no_other_with_it(postgres: Postgres, database: str, anybody: Api) -> None:
    other, stolen = await sign_in(anybody), await sign_in(anybody)
    await refreshed(anybody, stolen["refresh_token"])
    later(postgres, database, 31)

    await refresh(anybody, stolen["refresh_token"])

    assert await calls(anybody, other) == 200
    await refreshed(anybody, other["refresh_token"])


async def test_an_answer_that_was_lost_is_given_again_for_a_moment(
    postgres: Postgres, database: str, anybody: Api
) -> None:
    first = await sign_in(anybody)
    lost = await refreshed(anybody, first["refresh_token"])
    later(postgres, database, 25)

    again = await refreshed(anybody, first["refresh_token"])

    assert again["refresh_token"] == lost["refresh_token"]
    await refreshed(anybody, again["refresh_token"])


async def test_once_its_successor_is_used_a_token_used_again_is_taken_for_stolen_at_once(anybody: Api) -> None:
    first = await sign_in(anybody)
    second = await refreshed(anybody, first["refresh_token"])
    third = await refreshed(anybody, second["refresh_token"])

    assert (await refresh(anybody, first["refresh_token"])).status_code == 401
    assert (await refresh(anybody, third["refresh_token"])).status_code == 401


async def test_many_refreshes_at_once_give_one_and_the_same_token(
    postgres: Postgres, database: str, anybody: Api
) -> None:
    first = await sign_in(anybody)

    answers = await asyncio.gather(*(refreshed(anybody, first["refresh_token"]) for _ in range(20)))

    assert len({answer["refresh_token"] for answer in answers}) == 1
    assert [await calls(anybody, answer) for answer in answers] == [200] * 20
    count = "SELECT count(*), count(rotated_at) FROM refresh_tokens"
    assert postgres.execute(count, database=database) == [(2, 1)]


@pytest.fixture
async def strict(postgres: Postgres, database: str) -> AsyncIterator[Api]:
    """A service without the grace."""
    settings = settings_for(postgres.url(database, SERVICE), refresh_grace_seconds=0)
    async with running(settings) as app, client_of(app) as api:
        await ready(api)
        yield api


async def test_without_the_grace_one_of_two_refreshes_at_once_wins_and_the_session_ends(strict: Api) -> None:
    for _ in range(5):
        first = await sign_in(strict)

        answers = await asyncio.gather(*(refresh(strict, first["refresh_token"]) for _ in range(2)))

        assert sorted(answer.status_code for answer in answers) == [200, 401]
        winner = next(answer.json() for answer in answers if answer.status_code == 200)
        assert await calls(strict, winner) == 401
        assert (await refresh(strict, winner["refresh_token"])).status_code == 401


async def test_a_refresh_and_a_sign_out_at_once_leave_nobody_signed_in(anybody: Api) -> None:
    for _ in range(5):
        tokens = await sign_in(anybody)
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}

        answer, out = await asyncio.gather(
            refresh(anybody, tokens["refresh_token"]), anybody.http.post("/api/v1/auth/sign-out", headers=headers)
        )

        assert out.status_code == 204
        if answer.status_code == 200:
            assert await calls(anybody, answer.json()) == 401
            assert (await refresh(anybody, answer.json()["refresh_token"])).status_code == 401


@pytest.mark.parametrize("token", ["x", "invr_", "invr_" + "a" * 64, "a" * 200, "\N{GRINNING FACE}"])
async def test_a_token_that_was_never_given_out_is_refused(anybody: Api, token: str) -> None:
    answer = await refresh(anybody, token)

    assert (answer.status_code, answer.json()["type"]) == (401, OVER)


async def test_an_access_token_does_not_refresh_and_a_refresh_token_does_not_call(anybody: Api) -> None:
    tokens = await sign_in(anybody)

    assert (await refresh(anybody, tokens["access_token"][:200])).status_code == 401
    assert await calls(anybody, {"access_token": tokens["refresh_token"]}) == 401


async def test_a_session_lives_on_while_it_is_used_but_not_for_ever(
    postgres: Postgres, database: str, anybody: Api
) -> None:
    tokens = await sign_in(anybody)
    for _ in range(6):
        later(postgres, database, 13 * 86_400)
        tokens = await refreshed(anybody, tokens["refresh_token"])
        await calls(anybody, tokens)

    assert tokens["refresh_expires_in"] == pytest.approx((90 - 6 * 13) * 86_400, abs=60)
    later(postgres, database, 13 * 86_400)
    assert (await refresh(anybody, tokens["refresh_token"])).status_code == 401
    assert await calls(anybody, tokens) == 401


async def test_a_session_that_nobody_uses_is_over(postgres: Postgres, database: str, anybody: Api) -> None:
    tokens = await sign_in(anybody)
    later(postgres, database, 14 * 86_400 + 1)

    assert (await refresh(anybody, tokens["refresh_token"])).status_code == 401


async def test_who_signs_out_is_out_at_once_and_only_there(anybody: Api) -> None:
    here, there = await sign_in(anybody), await sign_in(anybody)
    headers = {"Authorization": f"Bearer {here['access_token']}"}

    assert (await anybody.http.post("/api/v1/auth/sign-out", headers=headers)).status_code == 204

    assert [await calls(anybody, tokens) for tokens in (here, there)] == [401, 200]
    assert (await refresh(anybody, here["refresh_token"])).status_code == 401
    await refreshed(anybody, there["refresh_token"])


async def test_who_signs_out_everywhere_is_out_everywhere_at_once_and_nobody_else_is(anybody: Api, member: Api) -> None:
    everywhere = [await sign_in(anybody) for _ in range(3)]
    headers = {"Authorization": f"Bearer {everywhere[0]['access_token']}"}

    answer = await anybody.http.post("/api/v1/auth/sign-out-everywhere", headers=headers)

    assert answer.status_code == 204
    assert [await calls(anybody, tokens) for tokens in everywhere] == [401] * 3
    assert [(await refresh(anybody, tokens["refresh_token"])).status_code for tokens in everywhere] == [401] * 3
    assert (await member.get("/api/v1/users/me")).status_code == 200
    assert await calls(anybody, await sign_in(anybody)) == 200


async def test_what_ends_is_over_at_once_on_the_pod_that_ends_it_although_it_knew_the_caller(
    postgres: Postgres, database: str
) -> None:
    settings = settings_for(postgres.url(database, SERVICE), caller_known_seconds=10, refresh_grace_seconds=0)
    async with running(settings) as app, client_of(app) as api:
        await ready(api)
        for end in ("sign-out", "sign-out-everywhere", "reuse"):
            tokens = await sign_in(api)
            assert await calls(api, tokens) == 200
            if end == "reuse":
                await refreshed(api, tokens["refresh_token"])
                assert (await refresh(api, tokens["refresh_token"])).status_code == 401
            else:
                headers = {"Authorization": f"Bearer {tokens['access_token']}"}
                assert (await api.http.post(f"/api/v1/auth/{end}", headers=headers)).status_code == 204
            assert await calls(api, tokens) == 401


async def test_people_see_their_own_sessions_and_end_one_of_them(anybody: Api, member: Api) -> None:
    phone = await sign_in(anybody, User_Agent="Phone\tof mine " + "x" * 300)
    desk = await sign_in(anybody, User_Agent="Desk")
    anybody.http.headers["Authorization"] = f"Bearer {desk['access_token']}"

    # The first session is the one of whoever added the member.
    _, *shown = (await anybody.get("/api/v1/auth/sessions")).json()["items"]

    assert [session["current"] for session in shown] == [False, True]
    assert shown[0]["device"].startswith("Phoneof mine xxx")
    assert len(shown[0]["device"]) == 200
    assert shown[1]["device"] == "Desk"
    path = f"/api/v1/auth/sessions/{shown[0]['id']}"
    assert (await member.http.delete(path)).status_code == 404
    assert [(await anybody.http.delete(path)).status_code for _ in range(2)] == [204, 204]
    assert [await calls(anybody, tokens) for tokens in (phone, desk)] == [401, 200]
    assert [session["current"] for session in (await anybody.get("/api/v1/auth/sessions")).json()["items"]] == [
        False,
        True,
    ]


async def test_sessions_come_in_pages(anybody: Api) -> None:
    for _ in range(3):
        await anybody.sign_in()

    first = (await anybody.get("/api/v1/auth/sessions", params={"limit": 2})).json()
    rest = (await anybody.get("/api/v1/auth/sessions", params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert [len(page["items"]) for page in (first, rest)] == [2, 1]
    assert rest["next_cursor"] is None


def token_of_the_release_before(user_id: int, issued: float) -> dict[str, Any]:
    claims = {"iss": "inventory-api", "sub": str(user_id), "iat": int(issued), "exp": int(time.time()) + 3600}
    return {"access_token": jwt.encode(claims, SECRET_KEY, algorithm="HS256")}


@pytest.mark.usefixtures("app")
async def test_who_signed_in_at_the_release_before_stays_signed_in_until_they_sign_out(admin: Api) -> None:
    me = (await admin.get("/api/v1/users/me")).json()["id"]
    old = token_of_the_release_before(me, time.time() - 60)
    assert await calls(admin, old) == 200

    headers = {"Authorization": f"Bearer {old['access_token']}"}
    assert (await admin.http.post("/api/v1/auth/sign-out", headers=headers)).status_code == 204

    assert await calls(admin, old) == 401
    assert await calls(admin, token_of_the_release_before(me, time.time() + 2)) == 200
    assert (await admin.get("/api/v1/users/me")).status_code == 200


async def test_signing_out_everywhere_ends_what_the_release_before_gave_out(admin: Api) -> None:
    me = (await admin.get("/api/v1/users/me")).json()["id"]
    old = token_of_the_release_before(me, time.time() - 60)

    await admin.post("/api/v1/auth/sign-out-everywhere")

    assert await calls(admin, old) == 401


async def test_what_is_over_is_removed_some_time_later_and_what_lives_stays(postgres: Postgres, database: str) -> None:
    settings = settings_for(postgres.url(database, SERVICE))
    async with running(settings) as app, client_of(app) as api:
        await ready(api)
        tokens = [await sign_in(api) for _ in range(3)]
        await refreshed(api, tokens[0]["refresh_token"])
        for each in tokens[:2]:
            headers = {"Authorization": f"Bearer {each['access_token']}"}
            assert (await api.http.post("/api/v1/auth/sign-out", headers=headers)).status_code == 204
        age = "UPDATE sessions SET ended_at = now() - interval '31 days' WHERE id = 1"
        postgres.execute(age, database=database)
        postgres.execute("UPDATE refresh_tokens SET expires_at = now() WHERE session_id = 2", database=database)
        resources: Resources = app.state.resources
        await forget_what_is_over(resources)

    assert postgres.execute("SELECT id FROM sessions ORDER BY id", database=database) == [(2,), (3,)]
    assert postgres.execute("SELECT session_id FROM refresh_tokens", database=database) == [(3,)]
