import asyncio
from collections import Counter
from contextlib import ExitStack

import pytest
from fastapi import FastAPI
from inventory_api.passwords import PLACES_IN_LINE
from inventory_api.resources import Resources
from inventory_api.throttle import SignInThrottle
from inventory_api.traffic.rates import Rates
from inventory_api.users.models import User
from sqlalchemy import func, select

from tests.integration.api.services import EMAIL, Api, client_of, created, ready, running, settings_for
from tests.integration.conditions import PATIENCE_SECONDS
from tests.integration.stores import SERVICE, Postgres


async def test_the_first_admin_signs_in_and_may_do_everything(admin: Api) -> None:
    me = (await admin.get("/api/v1/users/me")).json()

    assert (me["email"], me["role"]) == (EMAIL, "admin")


async def test_the_email_address_may_be_written_in_any_case(anybody: Api) -> None:
    await anybody.sign_in(EMAIL.upper())


@pytest.mark.parametrize("path", ["users", "users/me", "categories", "items", "items/1", "loans", "loans/1"])
async def test_nothing_is_shown_to_somebody_who_is_not_signed_in(anybody: Api, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}):
        answer = await anybody.get(f"/api/v1/{path}", headers=headers)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_an_unknown_user_and_a_wrong_password_look_the_same(anybody: Api) -> None:
    answers = [
        await anybody.post("/api/v1/auth/token", {"email": email, "password": "wrong"})
        for email in (EMAIL, "nobody@example.com")
    ]
    bodies = [{**answer.json(), "request_id": ""} for answer in answers]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert bodies[0] == bodies[1]


async def test_guessing_at_a_password_is_slowed_down(anybody: Api) -> None:
    guess = {"email": "guessed@example.com", "password": "wrong"}
    statuses = {(await anybody.post("/api/v1/auth/token", guess)).status_code for _ in range(20)}

    refused = await anybody.post("/api/v1/auth/token", guess)

    assert statuses == {401}
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    await anybody.sign_in()


@pytest.mark.usefixtures("app")  # while Redis is slow, each pod counts for itself
async def test_guesses_at_once_count_as_guesses_one_after_another_do(anybody: Api) -> None:
    guess = {"email": "hammered@example.com", "password": "wrong"}

    answers = await asyncio.gather(*(anybody.post("/api/v1/auth/token", guess) for _ in range(60)))

    assert Counter(answer.status_code for answer in answers) == {401: 20, 429: 40}


async def test_a_burst_is_limited_however_many_connections_to_redis_it_asks_for(redis_url: str) -> None:
    rates = Rates(redis_url, PATIENCE_SECONDS)
    throttle = SignInThrottle(rates)

    admitted = await asyncio.gather(*(throttle.admit("burst@example.com") for _ in range(300)))
    await rates.close()

    assert sum(admitted) == 20


async def test_who_signs_in_starts_counting_anew(anybody: Api) -> None:
    wrong = {"email": EMAIL, "password": "wrong"}
    for _ in range(2):
        assert {(await anybody.post("/api/v1/auth/token", wrong)).status_code for _ in range(15)} == {401}
        await anybody.sign_in()


async def test_too_many_sign_ins_at_once_are_told_to_come_again_and_not_counted(app: FastAPI, anybody: Api) -> None:
    guess = {"email": "turned-away@example.com", "password": "wrong"}
    resources: Resources = app.state.resources
    with ExitStack() as line:
        for _ in range(PLACES_IN_LINE):
            line.enter_context(resources.passwords.place_in_line())
        full = [await anybody.post("/api/v1/auth/token", guess) for _ in range(21)]
    later = await anybody.post("/api/v1/auth/token", guess)

    assert {(answer.status_code, answer.headers["Retry-After"]) for answer in full} == {(503, "1")}
    assert later.status_code == 401


@pytest.mark.usefixtures("app")
async def test_the_line_for_sign_ins_ends_somewhere(anybody: Api) -> None:
    answers = await asyncio.gather(
        *(
            anybody.post("/api/v1/auth/token", {"email": f"{number}@example.com", "password": "wrong"})
            for number in range(2 * PLACES_IN_LINE)
        )
    )

    assert {answer.status_code for answer in answers} == {401, 503}
    await anybody.sign_in()


async def test_people_sign_in_while_redis_is_away(postgres: Postgres, database: str) -> None:
    settings = settings_for(postgres.url(database, SERVICE), redis_url="redis://127.0.0.1:1")
    async with running(settings) as app, client_of(app) as api:
        await ready(api)
        assert (await api.post("/api/v1/auth/token", {"email": EMAIL, "password": "wrong"})).status_code == 401
        await api.sign_in()


async def test_a_deactivated_user_is_out_at_once(postgres: Postgres, database: str, member: Api) -> None:
    postgres.execute("UPDATE users SET active = false WHERE role = 'member'", database=database)

    assert (await member.get("/api/v1/items")).status_code == 401


async def test_pods_that_start_at_once_create_one_first_admin(postgres: Postgres, database: str) -> None:
    settings = settings_for(postgres.url(database, SERVICE))

    async def pod() -> int | None:
        async with running(settings) as app, client_of(app) as api:
            await ready(api)
            resources: Resources = app.state.resources
            async with resources.database.transaction() as session:
                return await session.scalar(select(func.count()).select_from(User))

    assert await asyncio.gather(*(pod() for _ in range(4))) == [1] * 4


async def test_only_an_admin_adds_users(member: Api, admin: Api) -> None:
    body = {"email": "new@example.com", "name": "New", "password": "long enough"}

    assert (await member.post("/api/v1/users", body)).status_code == 403
    created(await admin.post("/api/v1/users", body))
    again = await admin.post("/api/v1/users", {**body, "email": "NEW@example.com"})
    assert (again.status_code, again.json()["type"]) == (409, "urn:inventory:problem:email-taken")


async def test_no_answer_ever_holds_a_password_hash(app: FastAPI, admin: Api) -> None:
    answers = [await admin.get("/api/v1/users"), await admin.get("/api/v1/users/me")]

    assert all("argon2" not in answer.text and "password" not in answer.text for answer in answers)
