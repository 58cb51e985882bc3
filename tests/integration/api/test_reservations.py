"""Reservations: cancelled, listed, and what rights and limits there are."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from inventory_api.database import Database
from inventory_api.reservations.service import pass_on_all

from tests.integration.api.reserving import (
    BEGIN,
    EXPIRE,
    PATIENT,
    at,
    book,
    cancel,
    kind,
    reserve,
    soon,
    statuses,
    units_item,
    wait,
)
from tests.integration.api.services import Api, client_of, created, ready, running, settings_for
from tests.integration.stores import SERVICE, Postgres

pytestmark = PATIENT


async def test_a_reservation_is_cancelled_once_however_often_it_is_said(admin: Api) -> None:
    item = (await admin.item(1))["id"]
    reservation = created(await book(admin, item, 10, 12))

    first, second = await cancel(admin, reservation), await cancel(admin, reservation)

    assert (first.status_code, first.json()) == (200, second.json())
    assert first.json()["status"] == "cancelled"
    created(await book(admin, item, 10, 12))


async def test_what_is_over_is_not_cancelled(admin: Api, pod: Database, postgres: Postgres, database: str) -> None:
    reservation = await wait(admin, (await admin.item(1))["id"])
    postgres.execute(EXPIRE, reservation["id"], database=database)
    await pass_on_all(pod)

    assert kind(await cancel(admin, reservation)) == (409, "reservation-over")


async def test_a_member_reserves_for_themselves_and_sees_only_their_own(admin: Api, member: Api) -> None:
    item = (await admin.item(2))["id"]
    theirs = created(await book(admin, item, 10, 12))
    mine = created(await book(member, item, 10, 12))

    assert (await book(member, item, 13, 14, user_id=theirs["user_id"])).status_code == 403
    assert (await member.get(f"/api/v1/reservations/{theirs['id']}")).status_code == 404
    assert (await cancel(member, theirs)).status_code == 404
    assert [each["id"] for each in (await member.get("/api/v1/reservations")).json()["items"]] == [mine["id"]]
    answer = await member.get("/api/v1/reservations", params={"user_id": theirs["user_id"]})
    assert answer.status_code == 403


async def test_staff_reserve_and_cancel_for_others(admin: Api, member: Api) -> None:
    me = (await member.get("/api/v1/users/me")).json()["id"]
    item = (await admin.item(1))["id"]

    reservation = created(await book(admin, item, 10, 12, user_id=me))

    assert (reservation["user_id"], reservation["created_by"] != me) == (me, True)
    assert await statuses(member, reservation) == ["booked"]
    assert (await cancel(admin, reservation)).status_code == 200
    assert (await book(admin, item, 10, 12, user_id=999_999)).status_code == 404


async def test_the_policy_bounds_when_for_how_long_and_how_much(postgres: Postgres, database: str) -> None:
    settings = settings_for(
        postgres.url(database, SERVICE),
        reservation_max_days_ahead=7,
        reservation_max_days=2,
        reservations_per_person=2,
        reservation_hold_hours=3,
        reservation_lead_minutes=0,
    )
    async with running(settings) as app, client_of(app) as admin:
        await ready(admin)
        await admin.sign_in()
        item = (await admin.item(1))["id"]
        refused = [
            await reserve(admin, item_id=item, starts_at=soon(-1), ends_at=soon(1)),
            await reserve(admin, item_id=item, starts_at=soon(170), ends_at=soon(171)),
            await reserve(admin, item_id=item, starts_at=soon(1), ends_at=soon(50)),
        ]
        held = await wait(admin, item)
        booked = created(await reserve(admin, item_id=item, starts_at=soon(4), ends_at=soon(20)))
        refused.append(await reserve(admin, item_id=item))
        await cancel(admin, held)
        created(await reserve(admin, item_id=item))

    assert [kind(answer) for answer in refused] == [
        (422, "starts-in-the-past"),
        (422, "starts-too-late"),
        (422, "too-long"),
        (409, "too-many-reservations"),
    ]
    kept = datetime.fromisoformat(held["expires_at"]) - datetime.fromisoformat(held["starts_at"])
    assert (kept, booked["status"]) == (timedelta(hours=3), "booked")


async def test_of_many_at_once_no_more_are_made_than_a_person_may_have(postgres: Postgres, database: str) -> None:
    settings = settings_for(postgres.url(database, SERVICE), reservations_per_person=3)
    async with running(settings) as app, client_of(app) as admin:
        await ready(admin)
        await admin.sign_in()
        items = [(await admin.item(1))["id"] for _ in range(12)]

        answers = await asyncio.gather(*(book(admin, item, 10, 12) for item in items))

    assert Counter(answer.status_code for answer in answers) == {201: 3, 409: 9}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"item_id": 1, "unit_id": 1},
        {"item_id": 1, "starts_at": at(1)},
        {"item_id": 1, "ends_at": at(1)},
        {"item_id": 1, "starts_at": at(2), "ends_at": at(1)},
        {"item_id": 1, "starts_at": at(1), "ends_at": at(1)},
        {"item_id": 1, "quantity": 0},
        {"item_id": 1, "quantity": 1_000_001},
        {"item_id": 1, "unknown": 1},
        {"unit_id": 1},
        {"unit_id": 1, "quantity": 2, "starts_at": at(1), "ends_at": at(2)},
        {"item_id": 1, "starts_at": "2030-01-01T00:00:00", "ends_at": at(1)},
    ],
)
async def test_what_makes_no_sense_is_refused(anybody: Api, admin: Api, body: dict[str, Any]) -> None:
    assert (await reserve(admin, **body)).status_code == 422
    assert (await reserve(anybody, **body)).status_code == 401


async def test_what_is_not_there_is_not_found(admin: Api) -> None:
    item = (await admin.item(1))["id"]
    answers = [
        await book(admin, 999_999, 1, 2),
        await reserve(admin, unit_id=999_999, starts_at=at(1), ends_at=at(2)),
        await book(admin, item, 1, 2, location_id=999_999),
        await admin.get("/api/v1/reservations/999999"),
        await admin.post("/api/v1/reservations/999999/cancel"),
        await admin.get("/api/v1/items/999999/availability"),
    ]

    assert [answer.status_code for answer in answers] == [404] * 6


async def test_reservations_are_listed_by_item_person_status_and_time(admin: Api, member: Api) -> None:
    item, other = (await admin.item(2))["id"], (await admin.item(1))["id"]
    first = created(await book(admin, item, 10, 12))
    second = created(await book(member, item, 12, 14))
    third = created(await book(admin, other, 10, 11))
    await cancel(admin, third)

    async def listed(**query: Any) -> list[int]:
        answer = await admin.get("/api/v1/reservations", params=query)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["items"]]

    everything = [first["id"], second["id"], third["id"]]
    assert await listed() == everything
    assert await listed(item_id=item) == everything[:2]
    assert await listed(user_id=second["user_id"]) == [second["id"]]
    assert await listed(status="cancelled") == [third["id"]]
    assert await listed(**{"from": at(12)}) == [second["id"]]
    assert await listed(until=at(12)) == [first["id"], third["id"]]
    page = (await admin.get("/api/v1/reservations", params={"limit": 2})).json()
    assert await listed(limit=2, cursor=page["next_cursor"]) == [third["id"]]


async def test_those_for_whom_too_little_is_left_are_listed(
    admin: Api, pod: Database, postgres: Postgres, database: str
) -> None:
    fine, item, (units, (unit, _)) = (
        (await admin.item(1))["id"],
        (await admin.item(2))["id"],
        await units_item(admin, 2),
    )
    created(await book(admin, fine, 10, 12))
    overlapping = [created(await book(admin, item, *hours)) for hours in ((10, 12), (11, 13))]
    created(await book(admin, item, 20, 22))
    of_unit = created(await reserve(admin, unit_id=unit, starts_at=at(1), ends_at=at(2)))
    created(await book(admin, units, 1, 2))
    late = (await admin.item(1))["id"]
    loan = created(await admin.check_out(late, due_at=at(1)))
    awaited = created(await book(admin, late, 1, 2))

    async def at_risk() -> list[int]:
        answer = await admin.get("/api/v1/reservations", params={"at_risk": True})
        return [each["id"] for each in answer.json()["items"]]

    assert await at_risk() == []
    body = {"item_id": item, "quantity": 1, "location_id": 1, "reason": "broken"}
    created(await admin.post("/api/v1/stock/write-off", body, Idempotency_Key="gone"))
    await admin.post(f"/api/v1/units/{unit}/state", {"state": "in-repair"})
    postgres.execute("UPDATE loans SET due_at = now() WHERE id = %s", loan["id"], database=database)
    postgres.execute(BEGIN, awaited["id"], database=database)

    assert await at_risk() == [*(each["id"] for each in overlapping), of_unit["id"], awaited["id"]]
