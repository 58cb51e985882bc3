"""Stocktakes: counting what a location has, scan by scan, and booking what differs."""

import asyncio
import base64
import json
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import psycopg2
import pytest
from fastapi import FastAPI

from tests.integration.api.services import Api, client_of, created, the_ledger_holds
from tests.integration.stores import Postgres

Sql = Callable[..., list[Any]]


@pytest.fixture
def sql(postgres: Postgres, database: str) -> Sql:
    return lambda statement, *values: postgres.execute(statement, *values, database=database)


def place(sql: Sql, name: str, **more: Any) -> int:
    row = json.dumps({"name": name, **more})
    columns = "name, count_every_days, counted_at, archived_at, created_at"
    added = sql(
        f"INSERT INTO locations ({columns}) "  # noqa: S608 - the columns are those above
        f"SELECT name, count_every_days, counted_at, archived_at, coalesce(created_at, now()) "
        "FROM jsonb_populate_record(NULL::locations, %s) RETURNING id",
        row,
    )
    return int(added[0][0])


async def start(api: Api, location_id: int) -> int:
    body = {"location_id": location_id}
    return int(created(await api.post("/api/v1/stocktakes", body, Idempotency_Key=uuid.uuid4().hex))["id"])


async def scan(api: Api, stocktake: int, key: str | None = None, **body: Any) -> httpx.Response:
    return await api.post(f"/api/v1/stocktakes/{stocktake}/scans", body, Idempotency_Key=key or uuid.uuid4().hex)


async def count(api: Api, stocktake: int, **body: Any) -> httpx.Response:
    return await api.post(f"/api/v1/stocktakes/{stocktake}/counts", body, Idempotency_Key=uuid.uuid4().hex)


async def book(api: Api, stocktake: int, **body: Any) -> httpx.Response:
    return await api.post(f"/api/v1/stocktakes/{stocktake}/book", body or None)


async def lines(api: Api, stocktake: int, of: str, **query: Any) -> dict[int, tuple[int, int | None, str]]:
    rows: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {**query, **({"cursor": cursor} if cursor else {})}
        answer = await api.get(f"/api/v1/stocktakes/{stocktake}/{of}", params=params)
        assert answer.status_code == 200, answer.text
        rows, cursor = rows + answer.json()["items"], answer.json()["next_cursor"]
    return {row[f"{of[:-1]}_id"]: (row["expected"], row["counted"], row["finding"]) for row in rows}


async def receive(api: Api, item: int, quantity: int, location_id: int) -> None:
    body = {"item_id": item, "quantity": quantity, "location_id": location_id}
    created(await api.post("/api/v1/stock/receive", body, Idempotency_Key=uuid.uuid4().hex))


async def stocked(api: Api, quantity: int, location_id: int, **more: Any) -> int:
    item = int((await api.item(0, **more))["id"])
    if quantity:
        await receive(api, item, quantity, location_id)
    return item


async def unit(api: Api, item: int, location_id: int, **more: Any) -> int:
    body = {"serial": uuid.uuid4().hex, "location_id": location_id, **more}
    return int(created(await api.post(f"/api/v1/items/{item}/units", body, Idempotency_Key=uuid.uuid4().hex))["id"])


async def on_hand(api: Api, item: int) -> dict[int, int]:
    levels = (await api.get(f"/api/v1/items/{item}/stock")).json()["levels"]
    return {level["location_id"]: level["on_hand"] for level in levels if level["on_hand"]}


async def shown_unit(api: Api, unit_id: int) -> tuple[str, int]:
    found = (await api.get(f"/api/v1/units/{unit_id}")).json()
    return found["state"], found["location_id"]


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("type", "").removeprefix("urn:inventory:problem:")


async def test_what_is_counted_scan_by_scan_is_booked(
    admin: Api, shelf: int, postgres: Postgres, database: str
) -> None:
    fits, more, fewer, new = [await stocked(admin, quantity, shelf) for quantity in (3, 1, 4, 0)]
    stocktake = await start(admin, shelf)
    for item, times in ((fits, 3), (more, 2), (fewer, 1), (new, 1)):
        for _ in range(times):
            created(await scan(admin, stocktake, item_id=item))
    created(await scan(admin, stocktake, item_id=fewer, quantity=2))

    assert await lines(admin, stocktake, "items") == {
        fits: (3, 3, "matches"),
        more: (1, 2, "more"),
        fewer: (4, 3, "fewer"),
        new: (0, 1, "more"),
    }
    booked = await book(admin, stocktake)

    assert booked.status_code == 200, booked.text
    assert (booked.json()["status"], booked.json()["pieces_found"], booked.json()["pieces_missing"]) == ("booked", 2, 1)
    assert [await on_hand(admin, item) for item in (fits, more, fewer, new)] == [{shelf: n} for n in (3, 2, 3, 1)]
    entries = (await admin.get("/api/v1/stock/entries", params={"item_id": fewer})).json()["items"]
    assert [(e["kind"], e["on_hand"], e["reason"]) for e in entries[:1]] == [("adjust", -1, f"stocktake {stocktake}")]
    assert await the_ledger_holds(postgres, database)


async def test_what_was_booked_can_be_looked_up_and_booking_again_changes_nothing(admin: Api, shelf: int) -> None:
    items = [await stocked(admin, 2, shelf) for _ in range(3)]
    stocktake = await start(admin, shelf)
    for item, counted in zip(items, (2, 3, 0), strict=True):
        created(await count(admin, stocktake, item_id=item, quantity=counted))

    first = await book(admin, stocktake)
    again = await book(admin, stocktake)

    assert first.json() == again.json()
    assert await lines(admin, stocktake, "items", limit=1) == {items[1]: (2, 3, "more"), items[2]: (2, 0, "fewer")}
    assert [await on_hand(admin, item) for item in items] == [{shelf: 2}, {shelf: 3}, {}]


async def test_stock_that_moves_after_its_count_is_booked_right(
    admin: Api, shelf: int, postgres: Postgres, database: str
) -> None:
    lent, brought, gone = [await stocked(admin, 5, shelf) for _ in range(3)]
    stocktake = await start(admin, shelf)
    for item in (lent, brought, gone):
        created(await count(admin, stocktake, item_id=item, quantity=4))

    created(await admin.check_out(lent, quantity=3))
    await receive(admin, brought, 10, shelf)
    move = {"item_id": gone, "from_location_id": shelf, "to_location_id": 1, "quantity": 4}
    created(await admin.post("/api/v1/stock/move", move, Idempotency_Key="move"))

    assert set((await lines(admin, stocktake, "items")).values()) == {(5, 4, "fewer")}
    assert (await book(admin, stocktake)).status_code == 200
    assert [await on_hand(admin, item) for item in (lent, brought, gone)] == [{shelf: 1}, {shelf: 14}, {1: 4}]
    assert await the_ledger_holds(postgres, database)


@pytest.mark.parametrize("back", [False, True])
async def test_what_moves_while_it_is_counted_is_counted_again_before_anything_is_booked(
    admin: Api, shelf: int, back: bool
) -> None:
    item, other = await stocked(admin, 5, shelf), await stocked(admin, 5, shelf)
    stocktake = await start(admin, shelf)
    created(await scan(admin, stocktake, item_id=item, quantity=2))
    created(await count(admin, stocktake, item_id=other, quantity=1))
    loan = created(await admin.check_out(item))
    if back:  # the same number as before, and yet nobody knows which of them were counted
        assert (await admin.post(f"/api/v1/loans/{loan['id']}/return")).status_code == 200
    moved = created(await scan(admin, stocktake, item_id=item, quantity=3))

    refused = await book(admin, stocktake)
    assert (moved["finding"], problem(refused)) == ("moved", (409, "count-again"))
    assert await on_hand(admin, other) == {shelf: 5}

    again = created(await count(admin, stocktake, item_id=item, quantity=4))
    assert again["finding"] == ("fewer" if back else "matches")
    assert (await book(admin, stocktake)).status_code == 200
    assert [await on_hand(admin, each) for each in (item, other)] == [{shelf: 4}, {shelf: 1}]


async def test_only_what_is_on_the_shelf_is_expected(admin: Api, shelf: int) -> None:
    item = await stocked(admin, 5, shelf)
    units_item = int((await admin.item(0, tracking="units"))["id"])
    here, lent = [await unit(admin, units_item, shelf) for _ in range(2)]
    created(await admin.check_out(item, quantity=2))
    created(await admin.check_out(units_item, unit_ids=[lent]))
    stocktake = await start(admin, shelf)

    assert await lines(admin, stocktake, "items") == {item: (3, None, "uncounted")}
    assert await lines(admin, stocktake, "units") == {here: (1, None, "uncounted")}


async def test_units_are_found_here_missing_and_lost_no_more(
    admin: Api, shelf: int, sql: Sql, postgres: Postgres, database: str
) -> None:
    desk = place(sql, "Desk")
    item = int((await admin.item(0, tracking="units"))["id"])
    here, missing, broken_and_missing = [await unit(admin, item, shelf) for _ in range(3)]
    from_desk, broken_from_desk, lost, retired = [await unit(admin, item, desk) for _ in range(4)]
    for each in (broken_and_missing, broken_from_desk):
        await admin.post(f"/api/v1/units/{each}/state", {"state": "in-repair"})
    await admin.post(f"/api/v1/units/{retired}/state", {"state": "retired"})
    loan = created(await admin.check_out(item, unit_ids=[lost]))
    await admin.post(f"/api/v1/loans/{loan['id']}/lost")
    stocktake = await start(admin, shelf)
    for each in (here, from_desk, broken_from_desk, lost, retired):
        created(await scan(admin, stocktake, unit_id=each))
    for each in (missing, broken_and_missing):
        created(await count(admin, stocktake, unit_id=each, quantity=0))

    assert await lines(admin, stocktake, "units", only="differing", limit=2) == {
        missing: (1, 0, "missing"),
        broken_and_missing: (1, 0, "missing"),
        from_desk: (0, 1, "elsewhere"),
        broken_from_desk: (0, 1, "elsewhere"),
        lost: (0, 1, "lost-before"),
        retired: (0, 1, "retired"),
    }
    booked = (await book(admin, stocktake)).json()

    assert (booked["units_moved"], booked["pieces_found"], booked["pieces_missing"]) == (2, 1, 2)
    assert [await shown_unit(admin, each) for each in (here, from_desk, broken_from_desk, lost)] == [
        ("lendable", shelf),
        ("lendable", shelf),
        ("in-repair", shelf),
        ("lendable", shelf),
    ]
    assert [(await shown_unit(admin, each))[0] for each in (missing, broken_and_missing)] == ["lost", "lost"]
    assert await shown_unit(admin, retired) == ("retired", desk)
    assert await on_hand(admin, item) == {shelf: 4}
    assert len(await lines(admin, stocktake, "units")) == 6
    assert await the_ledger_holds(postgres, database)


async def test_a_unit_that_is_seen_but_on_loan_is_taken_back_first(admin: Api, shelf: int) -> None:
    item = int((await admin.item(0, tracking="units"))["id"])
    only = await unit(admin, item, 1)
    loan = created(await admin.check_out(item))
    stocktake = await start(admin, shelf)

    seen = created(await scan(admin, stocktake, unit_id=only))
    refused = await book(admin, stocktake)
    await admin.post(f"/api/v1/loans/{loan['id']}/return", {"location_id": shelf})

    assert (seen["finding"], problem(refused)) == ("on-loan", (409, "count-again"))
    assert (await book(admin, stocktake)).json()["units_moved"] == 0
    assert await shown_unit(admin, only) == ("lendable", shelf)


async def test_a_unit_that_is_seen_and_lent_after_that_is_no_difference(admin: Api, shelf: int) -> None:
    item = int((await admin.item(0, tracking="units"))["id"])
    only = await unit(admin, item, 1)
    stocktake = await start(admin, shelf)
    created(await scan(admin, stocktake, unit_id=only))

    created(await admin.check_out(item))

    assert await lines(admin, stocktake, "units", only="differing") == {}
    assert (await book(admin, stocktake)).json()["units_moved"] == 0


async def test_a_unit_that_was_seen_in_two_places_is_looked_for_again(admin: Api, shelf: int, sql: Sql) -> None:
    desk = place(sql, "Desk")
    item = int((await admin.item(0, tracking="units"))["id"])
    only = await unit(admin, item, 1)
    at_shelf, at_desk = await start(admin, shelf), await start(admin, desk)
    created(await scan(admin, at_shelf, unit_id=only))
    created(await scan(admin, at_desk, unit_id=only))
    assert (await book(admin, at_shelf)).status_code == 200

    refused = await book(admin, at_desk)
    created(await scan(admin, at_desk, unit_id=only))

    assert problem(refused) == (409, "count-again")
    assert (await book(admin, at_desk)).status_code == 200
    assert await shown_unit(admin, only) == ("lendable", desk)


async def test_what_was_not_counted_is_left_or_missing_only_if_one_says_so(admin: Api, shelf: int) -> None:
    quantity = await stocked(admin, 2, shelf)
    item = int((await admin.item(0, tracking="units"))["id"])
    only = await unit(admin, item, shelf)

    refused = await book(admin, await start(admin, shelf))
    (first,) = (await admin.get("/api/v1/stocktakes", params={"status": "open"})).json()["items"]
    left = (await book(admin, first["id"], uncounted="leave")).json()
    assert problem(refused) == (409, "not-counted")
    assert (left["left_uncounted"], left["pieces_missing"]) == (2, 0)
    assert (await on_hand(admin, quantity), await shown_unit(admin, only)) == ({shelf: 2}, ("lendable", shelf))

    second = await start(admin, shelf)
    missing = (await book(admin, second, uncounted="missing")).json()
    assert (missing["left_uncounted"], missing["pieces_missing"]) == (0, 3)
    assert (await on_hand(admin, quantity), await shown_unit(admin, only)) == ({}, ("lost", shelf))
    assert await lines(admin, second, "items") == {quantity: (2, None, "missing")}


async def test_what_came_after_the_start_and_was_not_counted_is_not_missing(admin: Api, shelf: int) -> None:
    there, came = [await stocked(admin, quantity, shelf) for quantity in (2, 0)]
    item = int((await admin.item(0, tracking="units"))["id"])
    stocktake = await start(admin, shelf)
    await receive(admin, came, 3, shelf)
    came_too = await unit(admin, item, shelf)

    booked = (await book(admin, stocktake, uncounted="missing")).json()

    assert (booked["pieces_missing"], booked["left_uncounted"]) == (2, 2)
    assert (await on_hand(admin, there), await on_hand(admin, came)) == ({}, {shelf: 3})
    assert await shown_unit(admin, came_too) == ("lendable", shelf)


async def test_a_code_leads_to_the_item_or_unit_that_has_it(admin: Api, shelf: int, sql: Sql) -> None:
    item = await stocked(admin, 1, shelf, sku="SKU-1")
    sql("UPDATE items SET barcode = '4006381333931' WHERE id = %s", item)
    units_item = int((await admin.item(0, tracking="units"))["id"])
    only = await unit(admin, units_item, shelf, serial="Serial-1", barcode="U-1")
    twin = int((await admin.item(0, tracking="units", sku="twin"))["id"])
    for of in (units_item, twin):
        await unit(admin, of, shelf, serial="same")
    stocktake = await start(admin, shelf)

    for code, found in (("SKU-1", (item, None)), ("4006381333931", (item, None)), ("U-1", (units_item, only))):
        shown = created(await scan(admin, stocktake, code=code))
        assert (shown["item_id"], shown["unit_id"], shown["code"]) == (*found, code)
    assert created(await scan(admin, stocktake, code="Serial-1"))["unit_id"] == only
    assert problem(await scan(admin, stocktake, code="serial-1")) == (404, "not-found")
    assert problem(await scan(admin, stocktake, code="same")) == (409, "ambiguous-code")
    assert problem(await scan(admin, stocktake, code="twin")) == (409, "other-tracking")


async def test_many_people_count_at_once_and_none_of_their_scans_is_lost(
    app: FastAPI, admin: Api, shelf: int, sql: Sql
) -> None:
    item = await stocked(admin, 60, shelf)
    stocktake = await start(admin, shelf)
    async with client_of(app) as other:
        await other.sign_in()
        answers = await asyncio.gather(
            *(scan(api, stocktake, f"key-{number}", item_id=item) for number in range(60) for api in (admin, other))
        )
    statuses = Counter(answer.status_code for answer in answers)

    # The same person with the same key is the same scan, sent again.
    assert set(statuses) <= {201, 409}
    assert sql("SELECT count(*) FROM stocktake_scans") == [(60,)]
    assert await lines(admin, stocktake, "items") == {item: (60, 60, "matches")}


async def test_a_scan_is_undone_once_and_counts_no_more(admin: Api, shelf: int) -> None:
    item = await stocked(admin, 2, shelf)
    stocktake = await start(admin, shelf)
    first, second = [created(await scan(admin, stocktake, item_id=item)) for _ in range(2)]
    path = f"/api/v1/stocktakes/{stocktake}/scans"

    undone = [(await admin.post(f"{path}/{second['id']}/undo")).json() for _ in range(2)]

    assert undone[0] == undone[1]
    assert undone[0]["undone_by"] is not None
    assert await lines(admin, stocktake, "items") == {item: (2, 1, "fewer")}
    listed = (await admin.get(path)).json()["items"]
    assert [(each["id"], each["undone_at"] is None) for each in listed] == [(second["id"], False), (first["id"], True)]
    assert (await admin.post(f"{path}/999999/undo")).status_code == 404


async def test_a_count_replaces_the_scans_before_it_until_it_is_undone(admin: Api, shelf: int) -> None:
    item = await stocked(admin, 9, shelf)
    stocktake = await start(admin, shelf)
    created(await scan(admin, stocktake, item_id=item, quantity=2))
    total = created(await count(admin, stocktake, item_id=item, quantity=7))
    after = created(await scan(admin, stocktake, item_id=item))

    await admin.post(f"/api/v1/stocktakes/{stocktake}/scans/{total['id']}/undo")

    assert (total["counted"], after["counted"]) == (7, 8)
    assert await lines(admin, stocktake, "items") == {item: (9, 3, "fewer")}


async def test_one_stocktake_is_open_at_a_location_whoever_starts_it(
    admin: Api, shelf: int, sql: Sql, postgres: Postgres, database: str
) -> None:
    async def try_to_start() -> httpx.Response:
        body = {"location_id": shelf}
        return await admin.post("/api/v1/stocktakes", body, Idempotency_Key=uuid.uuid4().hex)

    answers = await asyncio.gather(*(try_to_start() for _ in range(20)))

    assert Counter(problem(answer) for answer in answers) == {(201, ""): 1, (409, "stocktake-open"): 19}
    with pytest.raises(psycopg2.errors.UniqueViolation):
        sql(
            "INSERT INTO stocktakes (location_id, start_entry_id, started_by) "
            "SELECT location_id, 0, started_by FROM stocktakes"
        )
    await start(admin, 1)


async def test_a_start_that_is_sent_again_gets_the_same_stocktake(admin: Api, shelf: int) -> None:
    answers = [await admin.post("/api/v1/stocktakes", {"location_id": shelf}, Idempotency_Key="k") for _ in range(2)]

    assert created(answers[0]) == created(answers[1])


async def test_a_cancelled_stocktake_books_nothing_and_takes_no_scans(admin: Api, shelf: int) -> None:
    item = await stocked(admin, 2, shelf)
    stocktake = await start(admin, shelf)
    created(await count(admin, stocktake, item_id=item, quantity=0))

    cancelled = [(await admin.post(f"/api/v1/stocktakes/{stocktake}/cancel")).json() for _ in range(2)]

    assert cancelled[0] == cancelled[1]
    assert cancelled[0]["status"] == "cancelled"
    assert problem(await scan(admin, stocktake, item_id=item)) == (409, "stocktake-over")
    assert problem(await book(admin, stocktake)) == (409, "stocktake-over")
    assert await on_hand(admin, item) == {shelf: 2}
    await start(admin, shelf)


async def test_no_scan_gets_lost_beside_a_booking(admin: Api, shelf: int, postgres: Postgres, database: str) -> None:
    item = await stocked(admin, 100, shelf)
    stocktake = await start(admin, shelf)
    created(await scan(admin, stocktake, item_id=item))

    answers = await asyncio.gather(
        *(scan(admin, stocktake, item_id=item) for _ in range(30)),
        book(admin, stocktake),
        *(scan(admin, stocktake, item_id=item) for _ in range(30)),
    )
    taken = sum(answer.status_code == 201 for answer in answers)

    assert {problem(answer) for answer in answers} <= {(201, ""), (200, ""), (409, "stocktake-over")}
    assert await on_hand(admin, item) == {shelf: 1 + taken}
    assert await the_ledger_holds(postgres, database)


async def test_bookings_and_loans_at_once_leave_figures_that_add_up(
    admin: Api, shelf: int, sql: Sql, postgres: Postgres, database: str
) -> None:
    items = [await stocked(admin, 10, shelf) for _ in range(4)]
    stocktake = await start(admin, shelf)
    for item in items:
        created(await count(admin, stocktake, item_id=item, quantity=8))

    answers = await asyncio.gather(
        *(admin.check_out(item) for item in items for _ in range(4)),
        book(admin, stocktake),
        *(admin.check_out(item) for item in reversed(items) for _ in range(4)),
    )

    assert {answer.status_code for answer in answers} == {200, 201}
    assert [await on_hand(admin, item) for item in items] == [{}] * 4
    assert await the_ledger_holds(postgres, database)


async def test_what_is_set_aside_is_not_counted_away(admin: Api, shelf: int, sql: Sql) -> None:
    item = await stocked(admin, 3, shelf, sku="held")
    created(await admin.post("/api/v1/reservations", {"item_id": item, "quantity": 2}, Idempotency_Key="r"))
    stocktake = await start(admin, shelf)

    created(await count(admin, stocktake, item_id=item, quantity=1))
    refused = await book(admin, stocktake)
    created(await count(admin, stocktake, item_id=item, quantity=2))

    assert problem(refused) == (409, "reserved")
    assert "held" in refused.json()["detail"]
    assert (await book(admin, stocktake)).status_code == 200
    assert await on_hand(admin, item) == {shelf: 2}


async def test_who_waits_for_an_item_gets_what_is_found(admin: Api, shelf: int) -> None:
    item = await stocked(admin, 1, shelf)
    created(await admin.check_out(item))
    waiting = created(await admin.post("/api/v1/reservations", {"item_id": item, "quantity": 1}, Idempotency_Key="r"))
    stocktake = await start(admin, shelf)
    created(await scan(admin, stocktake, item_id=item))

    assert (await book(admin, stocktake)).status_code == 200
    assert (await admin.get(f"/api/v1/reservations/{waiting['id']}")).json()["status"] == "ready"


async def test_the_audit_says_who_started_booked_and_cancelled(admin: Api, shelf: int) -> None:
    booked = await start(admin, shelf)
    await book(admin, booked)
    cancelled = await start(admin, shelf)
    await admin.post(f"/api/v1/stocktakes/{cancelled}/cancel")

    events = (await admin.get("/api/v1/audit", params={"subject": "stocktake"})).json()["items"]
    assert [(event["action"], event["subject_id"]) for event in events] == [
        ("cancel", cancelled),
        ("start", cancelled),
        ("book", booked),
        ("start", booked),
    ]


async def test_kits_archived_items_and_unknown_things_are_not_counted(admin: Api, shelf: int, sql: Sql) -> None:
    kit = (await admin.item(0, tracking="kit"))["id"]
    archived = await stocked(admin, 0, shelf)
    sql("UPDATE items SET archived_at = now() WHERE id = %s", archived)
    stocktake = await start(admin, shelf)

    assert problem(await scan(admin, stocktake, item_id=kit)) == (409, "other-tracking")
    assert problem(await scan(admin, stocktake, item_id=archived)) == (409, "archived")
    assert problem(await scan(admin, stocktake, item_id=999999)) == (404, "not-found")
    assert problem(await scan(admin, stocktake, unit_id=999999)) == (404, "not-found")
    assert problem(await scan(admin, 999999, item_id=kit)) == (404, "not-found")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"item_id": 1, "code": "x"},
        {"item_id": 1, "unit_id": 1},
        {"code": ""},
        {"code": "a\0"},
        {"code": "x" * 101},
        {"item_id": 1, "quantity": 0},
        {"item_id": 1, "quantity": 1_000_001},
        {"item_id": 2**63},
    ],
)
async def test_a_scan_is_of_one_thing_within_bounds(admin: Api, shelf: int, body: dict[str, Any]) -> None:
    stocktake = await start(admin, shelf)

    assert (await scan(admin, stocktake, **body)).status_code == 422


async def test_more_than_anybody_could_count_is_no_figure_to_book(admin: Api, shelf: int) -> None:
    item = await stocked(admin, 1, shelf)
    stocktake = await start(admin, shelf)
    for _ in range(2):
        created(await scan(admin, stocktake, item_id=item, quantity=1_000_000))

    assert await lines(admin, stocktake, "items") == {item: (1, 2_000_000, "too-many")}
    assert problem(await book(admin, stocktake)) == (409, "count-again")


async def test_locations_are_due_by_their_policy_the_longest_first(admin: Api, sql: Sql) -> None:
    never = place(sql, "Never", count_every_days=30, created_at="2025-01-01T00:00:00Z")
    longest = place(sql, "Longest", count_every_days=30, counted_at="2024-06-01T00:00:00Z")
    place(sql, "Not due", count_every_days=3650, counted_at="2025-01-01T00:00:00Z")
    place(sql, "No policy")
    place(sql, "Gone", count_every_days=1, counted_at="2024-06-01T00:00:00Z", archived_at="2024-06-01T00:00:00Z")
    stocktake = await start(admin, never)

    async def due(**query: Any) -> dict[str, Any]:
        page: dict[str, Any] = (await admin.get("/api/v1/stocktakes/due", params=query)).json()
        return page

    page = await due(limit=1)
    rest = await due(cursor=page["next_cursor"])
    assert [(row["location_id"], row["stocktake_id"]) for row in page["items"] + rest["items"]] == [
        (longest, None),
        (never, stocktake),
    ]
    assert page["items"][0]["due_at"] == "2024-07-01T00:00:00Z"

    assert (await book(admin, stocktake)).status_code == 200
    assert [row["location_id"] for row in (await due())["items"]] == [longest]
    for cursor in ("id:1", "at:1", "at:1:0", f"at:{2**62}:1", f"at:{2**63}:1", "at:x:1"):
        encoded = base64.urlsafe_b64encode(cursor.encode()).decode().rstrip("=")
        assert (await admin.get(f"/api/v1/stocktakes/due?cursor={encoded}")).status_code == 422, cursor


async def test_the_history_of_a_location_is_listed_the_newest_first(admin: Api, shelf: int) -> None:
    ids = []
    for _ in range(3):
        ids.append(await start(admin, shelf))
        assert (await book(admin, ids[-1])).status_code == 200
    await start(admin, 1)

    page = (await admin.get("/api/v1/stocktakes", params={"location_id": shelf, "limit": 2})).json()
    rest = await admin.get("/api/v1/stocktakes", params={"location_id": shelf, "cursor": page["next_cursor"]})

    assert [each["id"] for each in page["items"] + rest.json()["items"]] == ids[::-1]


async def test_members_do_not_take_stock(member: Api, admin: Api, shelf: int) -> None:
    item = await stocked(admin, 1, shelf)
    stocktake = await start(admin, shelf)
    path = f"/api/v1/stocktakes/{stocktake}"

    refused = [
        await member.post("/api/v1/stocktakes", {"location_id": 1}, Idempotency_Key="k"),
        await scan(member, stocktake, item_id=item),
        await count(member, stocktake, item_id=item, quantity=1),
        await book(member, stocktake),
        await member.post(f"{path}/cancel"),
        await member.post(f"{path}/scans/1/undo"),
        *[await member.get(f"{path}{what}") for what in ("", "/scans", "/items", "/units")],
        await member.get("/api/v1/stocktakes"),
        await member.get("/api/v1/stocktakes/due"),
    ]

    assert {problem(answer) for answer in refused} == {(403, "not-permitted")}
