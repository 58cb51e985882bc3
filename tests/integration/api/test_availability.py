"""What of an item is free, and when."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.api.reserving import MONDAY, PATIENT, at, book, units_item
from tests.integration.api.services import Api, created
from tests.integration.stores import Postgres

pytestmark = PATIENT


async def test_the_availability_of_an_item_is_told_step_by_step(admin: Api, member: Api) -> None:
    item = (await admin.item(5))["id"]
    created(await admin.check_out(item, quantity=1, due_at=at(2)))
    created(await book(admin, item, 1, 4, quantity=2))
    created(await book(admin, item, 4, 5, quantity=2))

    answer = await member.get(f"/api/v1/items/{item}/availability", params={"from": at(0), "until": at(8)})

    told = answer.json()
    assert answer.status_code == 200, answer.text
    steps = [(moment(step["from"]), moment(step["until"]), step["available"]) for step in told["steps"]]
    assert steps == [(0, 1, 4), (1, 2, 2), (2, 5, 3), (5, 8, 5)]
    assert (told["item_id"], moment(told["from"]), moment(told["until"])) == (item, 0, 8)


def moment(time: str) -> float:
    return (datetime.fromisoformat(time) - MONDAY) / timedelta(hours=1)


async def test_the_availability_of_units_counts_those_in_use(admin: Api) -> None:
    item, (first, *_) = await units_item(admin, 3)
    created(await book(admin, item, 1, 2, quantity=2))
    await admin.post(f"/api/v1/units/{first}/state", {"state": "in-repair"})

    query = {"from": at(0), "until": at(3)}
    steps = (await admin.get(f"/api/v1/items/{item}/availability", params=query)).json()["steps"]

    assert [step["available"] for step in steps] == [2, 0, 2]


async def test_the_availability_is_told_from_now_on_and_for_a_month_if_nothing_is_said(admin: Api) -> None:
    item = (await admin.item(1))["id"]

    told = (await admin.get(f"/api/v1/items/{item}/availability", params={"from": "2020-01-01T00:00:00Z"})).json()

    since, until = datetime.fromisoformat(told["from"]), datetime.fromisoformat(told["until"])
    assert abs(since - datetime.now(UTC)) < timedelta(minutes=1)
    assert until - since == timedelta(days=30)
    assert [step["available"] for step in told["steps"]] == [1]


@pytest.mark.parametrize(
    "query", [{"until": at(-1000)}, {"from": at(2), "until": at(1)}, {"until": at(9000)}, {"x": 1}]
)
async def test_the_availability_is_told_for_a_year_at_most(admin: Api, query: dict[str, Any]) -> None:
    item = (await admin.item(1))["id"]

    assert (await admin.get(f"/api/v1/items/{item}/availability", params=query)).status_code == 422


async def test_very_many_steps_are_told_up_to_a_time(admin: Api, postgres: Postgres, database: str) -> None:
    item = (await admin.item(1))["id"]
    many = (
        "INSERT INTO reservations (item_id, user_id, quantity, status, starts_at, ends_at, set_aside_at, hold_seconds, "
        "created_by) SELECT %s, 1, 1, 'booked', at, at + interval '1 minute', at, 60, 1 "
        "FROM (SELECT %s::timestamptz + n * interval '3 minutes' AS at FROM generate_series(1, 400) AS n) AS times"
    )
    postgres.execute(many, item, at(0), database=database)

    told = (await admin.get(f"/api/v1/items/{item}/availability", params={"from": at(0), "until": at(48)})).json()

    assert len(told["steps"]) == 500
    assert told["steps"][-1]["until"] == told["until"] != at(48)
