"""The catalogue: what is known of an item, and what may be done to it when."""

import asyncio
import uuid
from typing import Any

import httpx
import psycopg2
import pytest

from tests.integration.api.services import Api, created
from tests.integration.conditions import soon
from tests.integration.stores import Postgres

WHOLE = {
    "name": "Cordless drill",
    "sku": "DRILL-1",
    "quantity": 3,
    "description": "With two batteries",
    "barcode": "4006381333931",
    "attributes": {"voltage": 18, "weight": 1.6, "colour": "green", "new": True},
    "minimum_stock": 2,
    "photo_links": ["https://example.com/drill.jpg"],
    "unit_value_cents": 12_900,
}
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"


async def change(api: Api, item: int, if_match: str = "*", **body: Any) -> httpx.Response:
    return await api.http.patch(f"/api/v1/items/{item}", json=body, headers={"If-Match": if_match})


async def set_parts(api: Api, kit: int, parts: dict[int, int], if_match: str = "*") -> httpx.Response:
    body = {"parts": [{"item_id": item, "quantity": quantity} for item, quantity in parts.items()]}
    return await api.http.put(f"/api/v1/items/{kit}/parts", json=body, headers={"If-Match": if_match})


async def shown(api: Api, item: int) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(f"/api/v1/items/{item}")).json()
    return found


def kind_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rsplit(":", 1)[1]


async def test_an_item_is_shown_with_all_that_is_known_and_where_it_is(admin: Api) -> None:
    shelf = created(await admin.post("/api/v1/locations", {"name": "Shelf"}))["id"]
    category = created(await admin.post("/api/v1/categories", {"name": "Tools"}))["id"]
    item = created(await admin.post("/api/v1/items", {**WHOLE, "category_id": category, "location_id": shelf}))
    created(await admin.check_out(item["id"]))

    found = await shown(admin, item["id"])

    assert {name: found[name] for name in WHOLE} == WHOLE
    assert (found["category_id"], found["tracking"], found["version"]) == (category, "quantity", 1)
    assert found["stock"] == [{"location_id": shelf, "on_hand": 2, "on_loan": 1, "reserved": 0, "available": 2}]
    assert found["parts"] == []


async def test_the_opening_stock_is_in_the_ledger(admin: Api) -> None:
    item = created(await admin.post("/api/v1/items", WHOLE))["id"]

    entries = (await admin.get("/api/v1/stock/entries", params={"item_id": item})).json()["items"]

    me = (await admin.get("/api/v1/users/me")).json()["id"]
    assert [(each["kind"], each["location_id"], each["on_hand"], each["actor_id"]) for each in entries] == [
        ("receive", 1, 3, me)
    ]


async def test_what_is_not_there_or_archived_is_refused(admin: Api) -> None:
    shelf = created(await admin.post("/api/v1/locations", {"name": "Shelf"}))["id"]
    await admin.post(f"/api/v1/locations/{shelf}/archive")

    assert (await admin.post("/api/v1/items", {**WHOLE, "category_id": 999_999})).status_code == 404
    assert (await admin.post("/api/v1/items", {**WHOLE, "location_id": 999_999})).status_code == 404
    assert kind_of(await admin.post("/api/v1/items", {**WHOLE, "location_id": shelf})) == (409, "archived")
    assert (await admin.get("/api/v1/items")).json()["items"] == []


async def test_only_what_is_given_changes(admin: Api) -> None:
    item = created(await admin.post("/api/v1/items", WHOLE))["id"]

    changed = (await change(admin, item, name="Drill", barcode=None, attributes={"voltage": 12})).json()

    expected = {**WHOLE, "name": "Drill", "barcode": None, "attributes": {"voltage": 12}}
    assert {name: changed[name] for name in WHOLE} == expected
    assert changed["version"] == 2
    assert (await change(admin, item, name=None)).status_code == 422
    assert (await change(admin, item, tracking="units")).status_code == 422
    assert (await change(admin, item, quantity=5)).status_code == 422


async def test_a_change_names_the_version_that_was_read(admin: Api) -> None:
    posted = await admin.post("/api/v1/items", WHOLE)
    item = created(posted)["id"]
    read = (await admin.get(f"/api/v1/items/{item}")).headers["ETag"]

    assert read == posted.headers["ETag"]
    first = await change(admin, item, read, name="First")
    assert first.headers["ETag"] == (await admin.get(f"/api/v1/items/{item}")).headers["ETag"] != read
    assert (await change(admin, item, read, name="Second")).status_code == 412
    assert (await admin.http.patch(f"/api/v1/items/{item}", json={"name": "Third"})).status_code == 428
    assert (await shown(admin, item))["name"] == "First"


async def test_lending_does_not_make_the_version_another_one(admin: Api) -> None:
    item = created(await admin.post("/api/v1/items", WHOLE))["id"]
    read = (await admin.get(f"/api/v1/items/{item}")).headers["ETag"]
    created(await admin.check_out(item))

    assert (await change(admin, item, read, name="Drill")).status_code == 200


async def test_of_two_who_change_the_same_version_at_once_one_wins(
    admin: Api, postgres: Postgres, database: str
) -> None:
    item = created(await admin.post("/api/v1/items", WHOLE))["id"]

    async def both_wait() -> bool:
        return bool(postgres.execute(WAITING, database)[0][0] == 2)

    with psycopg2.connect(postgres.url(database)) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT FROM items WHERE id = %s FOR UPDATE", [item])
        changes = [asyncio.create_task(change(admin, item, '"1"', name=name)) for name in ("One", "Other")]
        await soon(both_wait)
        holder.rollback()
        answers = await asyncio.gather(*changes)

    assert sorted(answer.status_code for answer in answers) == [200, 412]


async def test_a_sku_and_a_barcode_lead_to_one_item(admin: Api) -> None:
    created(await admin.post("/api/v1/items", WHOLE))
    other = (await admin.item())["id"]

    assert kind_of(await admin.post("/api/v1/items", {**WHOLE, "barcode": "x"})) == (409, "sku-taken")
    assert kind_of(await admin.post("/api/v1/items", {**WHOLE, "sku": "x"})) == (409, "barcode-taken")
    assert kind_of(await change(admin, other, sku=WHOLE["sku"])) == (409, "sku-taken")
    assert kind_of(await change(admin, other, barcode=WHOLE["barcode"])) == (409, "barcode-taken")


async def test_what_is_archived_is_left_out_not_lent_and_comes_back(admin: Api) -> None:
    item = created(await admin.post("/api/v1/items", WHOLE))["id"]

    async def listed(archived: bool) -> list[int]:
        page = (await admin.get("/api/v1/items", params={"archived": archived})).json()
        return [each["id"] for each in page["items"]]

    for _ in range(2):
        archived = await admin.post(f"/api/v1/items/{item}/archive")
        assert (archived.status_code, archived.headers["ETag"]) == (200, '"2"')
    assert (await listed(False), await listed(True)) == ([], [item])
    assert kind_of(await admin.check_out(item)) == (409, "archived")
    assert (await shown(admin, item))["archived_at"] is not None

    for _ in range(2):
        assert (await admin.post(f"/api/v1/items/{item}/unarchive")).headers["ETag"] == '"3"'
    assert (await listed(False), await listed(True)) == ([item], [])
    created(await admin.check_out(item))


async def test_what_is_on_loan_or_reserved_is_not_archived(admin: Api) -> None:
    item = created(await admin.post("/api/v1/items", WHOLE))["id"]

    async def refusal() -> tuple[int, str]:
        return kind_of(await admin.post(f"/api/v1/items/{item}/archive"))

    loan = created(await admin.check_out(item))["id"]
    assert await refusal() == (409, "still-used")
    await admin.post(f"/api/v1/loans/{loan}/return")
    body = {"item_id": item, "quantity": 1}
    reserved = created(await admin.post("/api/v1/reservations", body, Idempotency_Key="r"))["id"]
    assert await refusal() == (409, "still-used")
    await admin.post(f"/api/v1/reservations/{reserved}/cancel")
    assert (await admin.post(f"/api/v1/items/{item}/archive")).status_code == 200


async def test_an_item_without_history_is_deleted_and_any_other_is_not(admin: Api) -> None:
    fresh = (await admin.item(0))["id"]
    assert (await admin.http.delete(f"/api/v1/items/{fresh}")).status_code == 204
    assert (await admin.get(f"/api/v1/items/{fresh}")).status_code == 404

    stocked = (await admin.item(1))["id"]
    pieces = (await admin.item(0, tracking="units"))["id"]
    created(await admin.post(f"/api/v1/items/{pieces}/units", {"serial": "1"}, Idempotency_Key="u"))
    part = (await admin.item(0))["id"]
    kit = (await admin.item(0, tracking="kit"))["id"]
    assert (await set_parts(admin, kit, {part: 1})).status_code == 200
    for item in (stocked, pieces, part):
        assert kind_of(await admin.http.delete(f"/api/v1/items/{item}")) == (409, "still-used")
        assert (await admin.get(f"/api/v1/items/{item}")).status_code == 200
    for item in (kit, part):
        assert (await admin.http.delete(f"/api/v1/items/{item}")).status_code == 204


async def test_a_kit_is_made_of_its_parts_and_lent_with_them(admin: Api) -> None:
    camera, battery = [(await admin.item(quantity))["id"] for quantity in (1, 4)]
    kit = (await admin.item(0, tracking="kit"))["id"]

    answer = await set_parts(admin, kit, {camera: 1, battery: 3}, '"1"')
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"2"')
    assert (await set_parts(admin, kit, {camera: 1, battery: 3})).headers["ETag"] == '"2"'
    assert (await shown(admin, kit))["parts"] == [
        {"item_id": camera, "quantity": 1},
        {"item_id": battery, "quantity": 3},
    ]

    loan = created(await admin.check_out(kit))["id"]
    assert kind_of(await set_parts(admin, kit, {battery: 1})) == (409, "on-loan")
    assert kind_of(await admin.post(f"/api/v1/items/{kit}/archive")) == (409, "still-used")
    await admin.post(f"/api/v1/loans/{loan}/return")
    assert (await set_parts(admin, kit, {})).status_code == 200
    assert (await shown(admin, kit))["parts"] == []


async def test_not_everything_is_a_part_of_a_kit(admin: Api) -> None:
    item, gone = [(await admin.item())["id"] for _ in range(2)]
    kit, other = [(await admin.item(0, tracking="kit"))["id"] for _ in range(2)]
    await admin.post(f"/api/v1/items/{gone}/archive")

    assert kind_of(await set_parts(admin, item, {gone: 1})) == (409, "other-tracking")
    assert kind_of(await set_parts(admin, kit, {other: 1})) == (409, "kit-in-kit")
    assert kind_of(await set_parts(admin, kit, {kit: 1})) == (409, "kit-in-kit")
    assert kind_of(await set_parts(admin, kit, {gone: 1})) == (409, "archived")
    assert (await set_parts(admin, kit, {999_999: 1})).status_code == 404
    assert (await set_parts(admin, kit, {item: 0})).status_code == 422
    assert (await set_parts(admin, kit, {item: 1}, '"7"')).status_code == 412
    assert (await admin.http.put(f"/api/v1/items/{kit}/parts", json={"parts": []})).status_code == 428
    twice = {"parts": [{"item_id": item, "quantity": 1}] * 2}
    answer = await admin.http.put(f"/api/v1/items/{kit}/parts", json=twice, headers={"If-Match": "*"})
    assert answer.status_code == 422
    assert (await shown(admin, kit))["parts"] == []


async def test_each_change_is_in_the_audit(admin: Api) -> None:
    item = created(await admin.post("/api/v1/items", {**WHOLE, "quantity": 0}))["id"]
    await change(admin, item, name="Drill", sku=WHOLE["sku"])
    await admin.post(f"/api/v1/items/{item}/archive")
    await admin.post(f"/api/v1/items/{item}/unarchive")
    await admin.http.delete(f"/api/v1/items/{item}")
    kit, part = (await admin.item(0, tracking="kit"))["id"], (await admin.item())["id"]
    await set_parts(admin, kit, {part: 2})

    async def events(identifier: int) -> list[dict[str, Any]]:
        query = {"subject": "item", "subject_id": identifier}
        found: list[dict[str, Any]] = (await admin.get("/api/v1/audit", params=query)).json()["items"]
        return found

    found = await events(item)
    assert [event["action"] for event in found] == ["delete", "unarchive", "archive", "change", "create"]
    assert (found[3]["before"], found[3]["after"]) == ({"name": "Cordless drill"}, {"name": "Drill"})
    assert (await events(kit))[0]["after"] == {"parts": {str(part): 2}}


async def test_members_see_items_and_change_nothing(member: Api, admin: Api) -> None:
    item = (await admin.item())["id"]

    assert (await member.get(f"/api/v1/items/{item}")).status_code == 200
    refused = [
        await member.post("/api/v1/items", WHOLE),
        await change(member, item, name="mine"),
        await set_parts(member, item, {}),
        await member.post(f"/api/v1/items/{item}/archive"),
        await member.post(f"/api/v1/items/{item}/unarchive"),
        await member.http.delete(f"/api/v1/items/{item}"),
    ]
    assert {answer.status_code for answer in refused} == {403}


async def test_a_unit_is_not_taken_back_into_use_at_a_location_that_is_archived(admin: Api) -> None:
    shelf = created(await admin.post("/api/v1/locations", {"name": "Shelf"}))["id"]
    item = (await admin.item(0, tracking="units"))["id"]
    body = {"serial": "1", "location_id": shelf}
    unit = created(await admin.post(f"/api/v1/items/{item}/units", body, Idempotency_Key="u"))["id"]
    await admin.post(f"/api/v1/units/{unit}/state", {"state": "retired"})
    assert (await admin.post(f"/api/v1/locations/{shelf}/archive")).status_code == 200

    assert kind_of(await admin.post(f"/api/v1/units/{unit}/state", {"state": "lendable"})) == (409, "archived")


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("4006381333931", [("item", "barcode")]),
        ("drill-1", [("item", "sku")]),
        ("SN 1", [("unit", "serial")]),
        ("sn 1", [("unit", "serial")]),
        ("UNIT-1", [("unit", "barcode")]),
        ("LOC-1", [("location", "barcode")]),
        ("inv:unit:{unit}", [("unit", "reference")]),
        ("INV:LOCATION:{shelf}", [("location", "reference")]),
        ("BOTH", [("item", "barcode"), ("location", "barcode"), ("unit", "serial")]),
    ],
)
async def test_a_scanned_code_leads_to_what_has_it(admin: Api, code: str, found: list[tuple[str, str]]) -> None:
    item = created(await admin.post("/api/v1/items", {**WHOLE, "quantity": 0, "tracking": "units"}))["id"]
    shelf = created(await admin.post("/api/v1/locations", {"name": "Shelf", "barcode": "LOC-1"}))["id"]
    created(await admin.post("/api/v1/locations", {"name": "Both", "barcode": "BOTH"}))
    await admin.item(barcode="BOTH", sku="both")
    units = []
    for serial, barcode in (("SN 1", "UNIT-1"), ("Both", None)):
        unit = {"serial": serial, "barcode": barcode}
        key = uuid.uuid4().hex
        units.append(created(await admin.post(f"/api/v1/items/{item}/units", unit, Idempotency_Key=key))["id"])

    answer = await admin.get("/api/v1/lookup", params={"code": code.format(unit=units[0], shelf=shelf)})

    things = answer.json()["found"]
    assert [(thing["kind"], thing["by"]) for thing in things] == found
    assert all((thing["item_id"] is None) == (thing["kind"] == "location") for thing in things)


async def test_a_code_that_nothing_has_is_not_found_and_one_of_an_archived_item_is(admin: Api) -> None:
    item = created(await admin.post("/api/v1/items", WHOLE))["id"]
    await admin.post(f"/api/v1/items/{item}/archive")

    for code in ("nothing", "inv:item:999999", "inv:item:9" + "9" * 18, "%", "DRILL-_"):
        assert (await admin.get("/api/v1/lookup", params={"code": code})).status_code == 404
    assert (await admin.get("/api/v1/lookup", params={"code": ""})).status_code == 422
    (thing,) = (await admin.get("/api/v1/lookup", params={"code": WHOLE["sku"]})).json()["found"]
    assert (thing["id"], thing["archived"]) == (item, True)
