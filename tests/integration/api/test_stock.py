"""Stock: what is received, moved, adjusted and written off, and the ledger that adds it up."""

import uuid
from typing import Any

import httpx
import psycopg2
import pytest
from inventory_api.ledger.command import check_stock
from inventory_api.settings import ServiceSettings

from tests.integration.api.services import Api, created, settings_for
from tests.integration.stores import SERVICE, Postgres


@pytest.fixture
def service_settings(postgres: Postgres, database: str) -> ServiceSettings:
    return settings_for(postgres.url(database, SERVICE))


async def book(api: Api, what: str, key: str | None = None, **body: Any) -> httpx.Response:
    return await api.post(f"/api/v1/stock/{what}", body, Idempotency_Key=key or uuid.uuid4().hex)


async def levels(api: Api, item_id: int) -> dict[int, tuple[int, int, int]]:
    shown = (await api.get(f"/api/v1/items/{item_id}/stock")).json()["levels"]
    return {level["location_id"]: (level["on_hand"], level["on_loan"], level["available"]) for level in shown}


async def test_stock_is_received_moved_adjusted_and_written_off(admin: Api, shelf: int) -> None:
    item = (await admin.item(3))["id"]

    created(await book(admin, "receive", item_id=item, quantity=4, location_id=shelf))
    created(await book(admin, "move", item_id=item, quantity=2, from_location_id=1, to_location_id=shelf))
    created(await book(admin, "adjust", item_id=item, location_id=1, difference=-1, reason="miscounted"))
    created(await book(admin, "write-off", item_id=item, location_id=shelf, quantity=1, reason="broken"))

    assert await levels(admin, item) == {shelf: (5, 0, 5)}
    found = (await admin.get(f"/api/v1/items/{item}")).json()
    assert (found["quantity"], found["available"]) == (5, 5)


async def test_the_ledger_says_who_what_and_why_the_newest_first(admin: Api, shelf: int) -> None:
    item = (await admin.item(3))["id"]
    created(
        await book(admin, "move", item_id=item, quantity=2, from_location_id=1, to_location_id=shelf, reason="tidy")
    )

    entries = (await admin.get("/api/v1/stock/entries", params={"item_id": item})).json()["items"]

    assert [(e["kind"], e["location_id"], e["on_hand"], e["reason"]) for e in entries] == [
        ("move", shelf, 2, "tidy"),
        ("move", 1, -2, "tidy"),
        ("receive", 1, 3, ""),
    ]
    me = (await admin.get("/api/v1/users/me")).json()["id"]
    assert {entry["actor_id"] for entry in entries} == {me}


async def test_the_ledger_comes_in_pages(admin: Api) -> None:
    item = (await admin.item(1))["id"]
    for _ in range(4):
        created(await book(admin, "receive", item_id=item, quantity=1))
    seen: list[int] = []
    query: dict[str, Any] = {"item_id": item, "limit": 2}
    while True:
        page = (await admin.get("/api/v1/stock/entries", params=query)).json()
        seen += [entry["id"] for entry in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]

    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("move", {"quantity": 4, "from_location_id": 1, "to_location_id": 2}),
        ("adjust", {"difference": -4, "location_id": 1, "reason": "gone"}),
        ("write-off", {"quantity": 4, "location_id": 1, "reason": "gone"}),
    ],
)
async def test_what_is_not_there_cannot_be_taken(admin: Api, shelf: int, what: str, body: dict[str, Any]) -> None:
    item = (await admin.item(3))["id"]

    answer = await book(admin, what, item_id=item, **body)

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:inventory:problem:out-of-stock")
    assert await levels(admin, item) == {1: (3, 0, 3)}


async def test_a_receipt_that_is_sent_again_is_booked_once(admin: Api) -> None:
    item = (await admin.item(0))["id"]

    first = await book(admin, "receive", "again", item_id=item, quantity=4)
    second = await book(admin, "receive", "again", item_id=item, quantity=4)

    assert created(first) == created(second)
    assert await levels(admin, item) == {1: (4, 0, 4)}


async def test_what_a_location_has_is_listed(admin: Api, shelf: int) -> None:
    items = [(await admin.item(0))["id"] for _ in range(3)]
    for item in items:
        created(await book(admin, "receive", item_id=item, quantity=2, location_id=shelf))

    page = (await admin.get("/api/v1/stock/levels", params={"location_id": shelf, "limit": 2})).json()
    rest = (
        await admin.get("/api/v1/stock/levels", params={"location_id": shelf, "cursor": page["next_cursor"]})
    ).json()

    assert [level["item_id"] for level in page["items"] + rest["items"]] == items


async def test_members_do_not_move_stock(member: Api, admin: Api) -> None:
    item = (await admin.item(1))["id"]

    assert (await book(member, "receive", item_id=item, quantity=1)).status_code == 403
    assert (await member.get("/api/v1/stock/entries")).status_code == 403


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stock_entries SET on_hand = 5",
        "DELETE FROM stock_entries",
        "UPDATE stock_levels SET on_hand = 5",
        "DELETE FROM stock_levels",
        "INSERT INTO stock_levels VALUES (1, 1, 1, 0, 0)",
    ],
)
async def test_the_database_refuses_to_change_the_ledger_or_a_level_by_hand(
    admin: Api, postgres: Postgres, database: str, statement: str
) -> None:
    await admin.item(1)

    for role in ("postgres", SERVICE):
        with pytest.raises(psycopg2.errors.IntegrityConstraintViolation, match="not changed by hand"):
            postgres.execute(statement, database=database, role=role)


async def test_every_figure_is_what_the_ledger_adds_up_to(
    admin: Api,
    shelf: int,
    service_settings: ServiceSettings,
    postgres: Postgres,
    database: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    item = (await admin.item(3))["id"]
    created(await book(admin, "move", item_id=item, quantity=2, from_location_id=1, to_location_id=shelf))
    created(await admin.check_out(item))

    assert await in_thread(check_stock, service_settings) == 0

    postgres.execute("ALTER TABLE stock_levels DISABLE TRIGGER ALL", database=database)
    postgres.execute("UPDATE stock_levels SET on_hand = on_hand + 1 WHERE location_id = 1", database=database)
    assert await in_thread(check_stock, service_settings) == 1
    assert f"item {item} at location 1: level on hand" in capsys.readouterr().out


async def in_thread(function: Any, *arguments: Any) -> Any:
    import asyncio

    return await asyncio.to_thread(function, *arguments)
