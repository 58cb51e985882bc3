"""People are found, changed by admins, deactivated and never removed; there is always an admin."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.integration.api.services import Api, client_of, created
from tests.integration.api.test_sessions import refresh, sign_in
from tests.integration.stores import Postgres

LAST_ADMIN = "urn:inventory:problem:last-admin"


async def user(api: Api, number: int = 1, **more: Any) -> dict[str, Any]:
    body = {"email": f"user{number}@example.com", "name": f"User {number}", "password": "long enough", **more}
    return created(await api.post("/api/v1/users", body))


async def change(api: Api, user_id: int, version: int | str | None, **wanted: Any) -> httpx.Response:
    headers = {} if version is None else {"If-Match": version if isinstance(version, str) else f'"{version}"'}
    return await api.http.patch(f"/api/v1/users/{user_id}", json=wanted, headers=headers)


async def emails(api: Api, **query: Any) -> list[str]:
    answer = await api.get("/api/v1/users", params=query)
    assert answer.status_code == 200, answer.text
    return [found["email"].split("@")[0] for found in answer.json()["items"]]


async def test_an_admin_changes_all_of_a_user(admin: Api) -> None:
    someone = await user(admin)

    answer = await change(admin, someone["id"], 1, name="New Name", email="NEW@example.com", role="staff")

    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["name"], shown["email"], shown["role"], shown["active"]) == (
        "New Name",
        "new@example.com",
        "staff",
        True,
    )
    assert (shown["version"], answer.headers["ETag"]) == (2, '"2"')
    assert shown["updated_at"] > someone["updated_at"]


async def test_a_change_says_what_was_read_before(admin: Api) -> None:
    someone = await user(admin)
    path = f"/api/v1/users/{someone['id']}"
    read = (await admin.get(path)).headers["ETag"]
    assert read == (await admin.get(path)).headers["ETag"]

    without = await change(admin, someone["id"], None, name="Lost")
    first = await change(admin, someone["id"], read, name="First")
    second = await change(admin, someone["id"], read, name="Second")

    assert [answer.status_code for answer in (without, first, second)] == [428, 200, 412]
    assert (await admin.get(path)).json()["name"] == "First"


async def test_of_many_changes_at_once_of_what_was_read_one_wins(admin: Api) -> None:
    someone = await user(admin)

    answers = await asyncio.gather(*(change(admin, someone["id"], 1, name=f"Name {n}") for n in range(10)))

    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 9]


async def test_what_is_so_already_changes_nothing(admin: Api) -> None:
    someone = await user(admin)

    for body in ({}, {"name": someone["name"], "active": True}):
        answer = await change(admin, someone["id"], 1, **body)
        assert (answer.status_code, answer.headers["ETag"]) == (200, '"1"')


async def test_people_change_their_own_name_and_no_more(admin: Api, member: Api) -> None:
    me = (await member.get("/api/v1/users/me")).json()

    assert (await change(member, me["id"], 1, name="Me Again")).json()["name"] == "Me Again"
    for wanted in (
        {"role": "admin"},
        {"email": "other@example.com"},
        {"active": False},
        {"name": "A", "role": "admin"},
    ):
        assert (await change(member, me["id"], 2, **wanted)).status_code == 403
    assert (await change(member, 1, 1, name="Not Me")).status_code == 403
    assert (await change(member, 999, 1, name="Nobody")).status_code == 403
    assert (await change(admin, 999, 1, name="Nobody")).status_code == 404
    assert (await change(member, me["id"], 2, name="Again")).status_code == 200


async def test_an_address_is_taken_once(admin: Api) -> None:
    someone = await user(admin)

    answer = await change(admin, someone["id"], 1, email="ADMIN@example.com")

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:inventory:problem:email-taken")


async def test_who_is_deactivated_has_nothing_left_and_gets_nothing_back_but_the_password(
    admin: Api, app: FastAPI
) -> None:
    someone = await user(admin)
    async with client_of(app) as theirs:
        tokens = await sign_in(theirs, "user1@example.com", "long enough")
        theirs.http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        made = created(await theirs.post("/api/v1/tokens", {"name": "printer", "scopes": ["read"]}))

        assert (await change(admin, someone["id"], 1, active=False)).json()["active"] is False
        assert (await theirs.get("/api/v1/items")).status_code == 401
        body = {"email": "user1@example.com", "password": "long enough"}
        assert (await theirs.post("/api/v1/auth/token", body)).status_code == 401

        assert (await change(admin, someone["id"], 2, active=True)).status_code == 200
        assert (await theirs.get("/api/v1/items")).status_code == 401
        assert (await refresh(theirs, tokens["refresh_token"])).status_code == 401
        headers = {"Authorization": f"Bearer {made['token']}"}
        assert (await theirs.get("/api/v1/items", headers=headers)).status_code == 401
        await theirs.sign_in("user1@example.com", "long enough")


async def test_a_new_role_holds_from_the_next_request_on(admin: Api, member: Api) -> None:
    me = (await member.get("/api/v1/users/me")).json()["id"]
    assert (await member.get("/api/v1/users")).status_code == 403

    await change(admin, me, 1, role="staff")
    assert (await member.get("/api/v1/users")).status_code == 200
    await change(admin, me, 2, role="member")
    assert (await member.get("/api/v1/users")).status_code == 403


@pytest.mark.parametrize("wanted", [{"role": "staff"}, {"active": False}, {"role": "member", "active": False}])
async def test_the_last_active_admin_stays_one(admin: Api, wanted: dict[str, Any]) -> None:
    me = (await admin.get("/api/v1/users/me")).json()["id"]
    await user(admin, role="staff")
    former = await user(admin, 2, role="admin")
    assert (await change(admin, former["id"], 1, active=False)).status_code == 200

    answer = await change(admin, me, 1, **wanted)

    assert (answer.status_code, answer.json()["type"]) == (409, LAST_ADMIN)
    assert (await change(admin, former["id"], 2, active=True)).status_code == 200
    assert (await change(admin, me, 1, **wanted)).status_code == 200


@pytest.mark.parametrize("wanted", [{"role": "staff"}, {"active": False}])
async def test_of_two_admins_who_unmake_each_other_at_once_one_is_left(
    postgres: Postgres, database: str, app: FastAPI, admin: Api, wanted: dict[str, Any]
) -> None:
    me = (await admin.get("/api/v1/users/me")).json()["id"]
    other = await user(admin, role="admin")
    async with client_of(app) as theirs:
        await theirs.sign_in("user1@example.com", "long enough")
        for _ in range(8):
            answers = await asyncio.gather(change(admin, other["id"], "*", **wanted), change(theirs, me, "*", **wanted))

            count = "SELECT count(*) FROM users WHERE role = 'admin' AND active"
            assert postgres.execute(count, database=database) == [(1,)]
            # Who comes second is refused: an admin no more, signed in no more, or the last one.
            assert sorted(answer.status_code for answer in answers) in ([200, 401], [200, 403], [200, 409])
            postgres.execute("UPDATE users SET role = 'admin', active = true", database=database)
            await admin.sign_in()
            await theirs.sign_in("user1@example.com", "long enough")


async def test_users_are_found_by_role_activity_and_words(admin: Api) -> None:
    for number, name in enumerate(["Ada Lovelace", "Grace Hopper", "100% Real_Name"]):
        await user(admin, number, name=name, role=["member", "staff", "member"][number])
    await change(admin, 2, 1, active=False)

    assert await emails(admin, role="staff") == ["user1"]
    assert await emails(admin, role="member", active="true") == ["user2"]
    assert await emails(admin, active="false") == ["user0"]
    assert await emails(admin, q="LOVE") == ["user0"]
    assert await emails(admin, q="user1@") == ["user1"]
    assert await emails(admin, q="0% Real_") == ["user2"]
    assert await emails(admin, q="%") == ["user2"]
    assert await emails(admin, q="nobody") == []
    assert await emails(admin, role="member", q="user", limit=1) == ["user0"]


async def test_a_new_user_comes_with_an_etag(admin: Api) -> None:
    body = {"email": "a@example.com", "name": "A", "password": "long enough"}

    assert (await admin.post("/api/v1/users", body)).headers["ETag"] == '"1"'
