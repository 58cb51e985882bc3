"""The log of what is done to units, and what is due again."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from tests.integration.api.services import Api, created
from tests.integration.stores import Postgres


@pytest.fixture
async def unit(admin: Api) -> int:
    return await new_unit(admin)


async def new_unit(api: Api) -> int:
    item = (await api.item(0, tracking="units"))["id"]
    body = {"serial": uuid.uuid4().hex}
    return int(created(await api.post(f"/api/v1/items/{item}/units", body, Idempotency_Key="u"))["id"])


async def maintain(api: Api, unit_id: int, key: str | None = None, **body: Any) -> httpx.Response:
    given = {"kind": "inspection", **body}
    return await api.post(f"/api/v1/units/{unit_id}/maintenance", given, Idempotency_Key=key or uuid.uuid4().hex)


async def due(api: Api, **query: Any) -> list[tuple[int, str, str]]:
    page = (await api.get("/api/v1/maintenance/due", params=query)).json()
    return [(row["unit_id"], row["kind"], row["next_due_at"]) for row in page["items"]]


async def test_what_was_done_is_kept_the_newest_first(admin: Api, unit: int) -> None:
    body: dict[str, Any] = {
        "text": "new cable",
        "cost_cents": 1250,
        "done_by": "ACME",
        "done_at": "2025-03-01T12:00:00+02:00",
    }
    repair = created(await maintain(admin, unit, kind="repair", **body))
    note = created(await maintain(admin, unit, kind="note", text="smells"))

    log = (await admin.get(f"/api/v1/units/{unit}/maintenance")).json()["items"]
    only = (await admin.get(f"/api/v1/units/{unit}/maintenance", params={"kind": "repair"})).json()["items"]

    assert log == [note, repair]
    assert only == [repair]
    assert {**repair, **body, "done_at": "2025-03-01T10:00:00Z"} == repair
    events = (await admin.get("/api/v1/audit", params={"subject": "unit", "action": "maintain"})).json()["items"]
    assert [event["after"]["entry_id"] for event in events] == [note["id"], repair["id"]]


async def test_the_log_comes_in_pages(admin: Api, unit: int) -> None:
    ids = [created(await maintain(admin, unit))["id"] for _ in range(3)]
    page = (await admin.get(f"/api/v1/units/{unit}/maintenance", params={"limit": 2})).json()
    rest = await admin.get(f"/api/v1/units/{unit}/maintenance", params={"cursor": page["next_cursor"]})

    assert [entry["id"] for entry in page["items"] + rest.json()["items"]] == ids[::-1]


async def test_an_entry_that_is_sent_again_is_made_once(admin: Api, unit: int) -> None:
    answers = [await maintain(admin, unit, "again", text="once") for _ in range(2)]

    assert created(answers[0]) == created(answers[1])
    assert len((await admin.get(f"/api/v1/units/{unit}/maintenance")).json()["items"]) == 1


async def test_what_is_due_longest_comes_first(admin: Api, unit: int) -> None:
    other = await new_unit(admin)
    for which, kind, when in (
        (unit, "inspection", "2025-05-01T00:00:00Z"),
        (other, "calibration", "2025-04-01T00:00:00Z"),
        (other, "cleaning", "2090-01-01T00:00:00Z"),
    ):
        created(await maintain(admin, which, kind=kind, done_at="2025-01-01T00:00:00Z", next_due_at=when))

    first, second = (other, "calibration", "2025-04-01T00:00:00Z"), (unit, "inspection", "2025-05-01T00:00:00Z")
    assert await due(admin) == [first, second]
    assert await due(admin, kind="inspection") == [second]
    assert len(await due(admin, until="2090-01-01T00:00:00Z")) == 3
    page = (await admin.get("/api/v1/maintenance/due", params={"limit": 1})).json()
    assert await due(admin, cursor=page["next_cursor"]) == [second]


async def test_what_is_done_again_is_due_no_more_until_its_new_date(admin: Api, unit: int) -> None:
    created(await maintain(admin, unit, done_at="2025-01-01T00:00:00Z", next_due_at="2025-02-01T00:00:00Z"))
    created(await maintain(admin, unit, kind="repair", done_at="2025-03-01T00:00:00Z"))
    assert await due(admin) == [(unit, "inspection", "2025-02-01T00:00:00Z")]

    created(await maintain(admin, unit, done_at="2025-03-01T00:00:00Z", next_due_at="2025-04-01T00:00:00Z"))
    assert await due(admin) == [(unit, "inspection", "2025-04-01T00:00:00Z")]

    created(await maintain(admin, unit))
    assert await due(admin) == []


async def test_what_was_done_earlier_and_is_entered_later_changes_no_date(admin: Api, unit: int) -> None:
    created(await maintain(admin, unit, done_at="2025-03-01T00:00:00Z", next_due_at="2025-09-01T00:00:00Z"))

    created(await maintain(admin, unit, done_at="2025-01-01T00:00:00Z", next_due_at="2025-02-01T00:00:00Z"))

    assert await due(admin) == [(unit, "inspection", "2025-09-01T00:00:00Z")]


async def test_many_who_enter_the_same_kind_at_once_leave_one_date(admin: Api, unit: int) -> None:
    days = range(1, 29)
    answers = await asyncio.gather(
        *(
            maintain(admin, unit, done_at=f"2025-01-{day:02}T00:00:00Z", next_due_at=f"2025-02-{day:02}T00:00:00Z")
            for day in days
        )
    )

    assert {answer.status_code for answer in answers} == {201}
    assert await due(admin) == [(unit, "inspection", "2025-02-28T00:00:00Z")]


async def test_a_units_state_changes_with_what_is_done_to_it(admin: Api, unit: int) -> None:
    entry = created(await maintain(admin, unit, kind="repair", text="motor", state="in-repair"))

    assert entry["state"] == "in-repair"
    assert (await admin.get(f"/api/v1/units/{unit}")).json()["state"] == "in-repair"
    (hold, _) = (await admin.get("/api/v1/stock/entries", params={"unit_id": unit})).json()["items"]
    assert (hold["kind"], hold["reason"]) == ("hold", "motor")


async def test_nothing_is_entered_if_the_state_cannot_be_changed(admin: Api, unit: int) -> None:
    item = (await admin.get(f"/api/v1/units/{unit}")).json()["item_id"]
    created(await admin.check_out(item))

    answer = await maintain(admin, unit, kind="repair", state="retired")

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:inventory:problem:on-loan")
    assert (await admin.get(f"/api/v1/units/{unit}/maintenance")).json()["items"] == []


async def test_units_that_are_out_of_use_are_not_due(admin: Api, unit: int, postgres: Postgres, database: str) -> None:
    created(await maintain(admin, unit, done_at="2025-01-01T00:00:00Z", next_due_at="2025-02-01T00:00:00Z"))

    created(await maintain(admin, unit, kind="note", state="retired"))

    assert await due(admin) == []


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "haircut"},
        {"cost_cents": -1},
        {"cost_cents": 10**13},
        {"text": "x" * 1001},
        {"text": "a\0"},
        {"done_at": "2090-01-01T00:00:00Z"},
        {"done_at": "2025-01-02T00:00:00Z", "next_due_at": "2025-01-01T00:00:00Z"},
        {"state": "lost"},
        {"colour": "red"},
    ],
)
async def test_an_entry_has_bounds(admin: Api, unit: int, body: dict[str, Any]) -> None:
    assert (await maintain(admin, unit, **body)).status_code == 422


async def test_there_is_no_log_of_a_unit_that_there_is_not(admin: Api) -> None:
    assert (await maintain(admin, 999999)).status_code == 404
    assert (await admin.get("/api/v1/units/999999/maintenance")).status_code == 404


async def test_members_neither_see_nor_keep_the_log(member: Api, unit: int) -> None:
    answers = [
        await maintain(member, unit),
        await member.get(f"/api/v1/units/{unit}/maintenance"),
        await member.get("/api/v1/maintenance/due"),
    ]

    assert {answer.status_code for answer in answers} == {403}
