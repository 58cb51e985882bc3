"""Units: single pieces with a serial number."""

import uuid
from typing import Any

import pytest

from tests.integration.api.services import Api, created, tomorrow
from tests.integration.stores import Postgres


async def units_item(api: Api, count: int) -> tuple[int, list[int]]:
    item = (await api.item(0, tracking="units"))["id"]
    return item, [(await unit(api, item))["id"] for _ in range(count)]


async def unit(api: Api, item_id: int, **more: Any) -> dict[str, Any]:
    body = {"serial": uuid.uuid4().hex, **more}
    return created(await api.post(f"/api/v1/items/{item_id}/units", body, Idempotency_Key=uuid.uuid4().hex))


async def figures(api: Api, item_id: int) -> tuple[int, int, int]:
    item = (await api.get(f"/api/v1/items/{item_id}")).json()
    return item["quantity"], item["on_loan"], item["available"]


async def test_a_unit_is_lent_and_comes_back(admin: Api) -> None:
    item, (first, second) = await units_item(admin, 2)

    loan = created(await admin.check_out(item, unit_ids=[second]))

    assert [each["unit_id"] for each in loan["units"]] == [second]
    assert (await admin.get(f"/api/v1/units/{second}")).json()["loan_id"] == loan["id"]
    assert await figures(admin, item) == (2, 1, 1)

    back = (await admin.post(f"/api/v1/loans/{loan['id']}/return", {"condition": "scratched"})).json()
    assert back["units"][0]["condition"] == "scratched"
    shown = (await admin.get(f"/api/v1/units/{second}")).json()
    assert (shown["loan_id"], shown["condition"]) == (None, "scratched")
    assert await figures(admin, item) == (2, 0, 2)
    assert first != second


async def test_units_come_back_one_by_one_and_one_that_is_back_changes_nothing(admin: Api) -> None:
    item, (first, second, third) = await units_item(admin, 3)
    loan = created(await admin.check_out(item, quantity=3))

    for unit_ids in ([first], [first, second], [second]):
        answer = await admin.post(f"/api/v1/loans/{loan['id']}/return", {"unit_ids": unit_ids})
        assert answer.status_code == 200, answer.text
    now = (await admin.get(f"/api/v1/loans/{loan['id']}")).json()
    assert (now["outstanding"], now["returned"], now["returned_at"]) == (1, 2, None)

    end = (await admin.post(f"/api/v1/loans/{loan['id']}/return")).json()
    assert (end["outstanding"], end["returned"]) == (0, 3)
    assert end["returned_at"] is not None
    assert third in {each["unit_id"] for each in end["units"]}


async def test_a_unit_that_is_out_or_in_repair_is_not_lent(admin: Api) -> None:
    item, (first, second) = await units_item(admin, 2)
    created(await admin.check_out(item, unit_ids=[first]))
    await admin.post(f"/api/v1/units/{second}/state", {"state": "in-repair", "reason": "cable"})

    assert (await admin.check_out(item, unit_ids=[first])).json()["type"].endswith(":out-of-stock")
    assert (await admin.check_out(item, unit_ids=[second])).json()["type"].endswith(":not-lendable")
    assert (await admin.check_out(item)).json()["type"].endswith(":out-of-stock")
    assert await figures(admin, item) == (2, 1, 0)


async def test_a_units_state_shows_in_what_is_owned_and_available(admin: Api) -> None:
    item, (only,) = await units_item(admin, 1)
    seen = []
    for state in ("in-repair", "lendable", "retired", "in-repair", "lendable"):
        answer = await admin.post(f"/api/v1/units/{only}/state", {"state": state})
        assert answer.status_code == 200, answer.text
        seen.append(await figures(admin, item))

    assert seen == [(1, 0, 0), (1, 0, 1), (0, 0, 0), (1, 0, 0), (1, 0, 1)]


async def test_a_unit_on_loan_is_neither_moved_nor_retired(admin: Api, postgres: Postgres, database: str) -> None:
    item, (only,) = await units_item(admin, 1)
    shelf = postgres.execute("INSERT INTO locations (name) VALUES ('Shelf') RETURNING id", database=database)[0][0]
    created(await admin.check_out(item))

    assert (await admin.post(f"/api/v1/units/{only}/state", {"state": "retired"})).status_code == 409
    assert (await admin.post(f"/api/v1/units/{only}/move", {"location_id": shelf})).status_code == 409


async def test_a_unit_goes_where_it_is_moved_or_returned_to(admin: Api, postgres: Postgres, database: str) -> None:
    item, (only,) = await units_item(admin, 1)
    shelf, desk = (
        postgres.execute("INSERT INTO locations (name) VALUES (%s) RETURNING id", name, database=database)[0][0]
        for name in ("Shelf", "Desk")
    )

    await admin.post(f"/api/v1/units/{only}/move", {"location_id": shelf})
    loan = created(await admin.check_out(item, location_id=shelf))
    await admin.post(f"/api/v1/loans/{loan['id']}/return", {"location_id": desk})

    assert (await admin.get(f"/api/v1/units/{only}")).json()["location_id"] == desk
    levels = (await admin.get(f"/api/v1/items/{item}/stock")).json()["levels"]
    assert {level["location_id"]: level["on_hand"] for level in levels if level["on_hand"]} == {desk: 1}


async def test_a_lost_unit_is_owned_no_more(admin: Api) -> None:
    item, (first, _second) = await units_item(admin, 2)
    loan = created(await admin.check_out(item, unit_ids=[first]))

    lost = (await admin.post(f"/api/v1/loans/{loan['id']}/lost", {"reason": "in the river"})).json()

    assert (lost["lost"], lost["outstanding"]) == (1, 0)
    assert (await admin.get(f"/api/v1/units/{first}")).json()["state"] == "lost"
    assert await figures(admin, item) == (1, 0, 1)


async def test_a_serial_number_is_one_units_own_within_its_item(admin: Api) -> None:
    item, _ = await units_item(admin, 0)
    await unit(admin, item, serial="A-1")

    answer = await admin.post(f"/api/v1/items/{item}/units", {"serial": "A-1"}, Idempotency_Key="again")

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:inventory:problem:serial-taken")


@pytest.mark.parametrize("body", [{"quantity": 2, "unit_ids": [1]}, {"quantity": 1, "unit_ids": []}])
async def test_quantity_and_units_must_agree(admin: Api, body: dict[str, Any]) -> None:
    item, _ = await units_item(admin, 1)

    assert (await admin.check_out(item, **body)).status_code == 422


async def test_stock_of_units_is_not_moved_by_quantity(admin: Api) -> None:
    item, _ = await units_item(admin, 1)

    answer = await admin.post("/api/v1/stock/receive", {"item_id": item, "quantity": 1}, Idempotency_Key="no")

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:inventory:problem:other-tracking")


async def test_units_are_listed_by_item_state_and_loan(admin: Api) -> None:
    item, units = await units_item(admin, 3)
    created(await admin.check_out(item, unit_ids=[units[0]]))

    async def listed(**query: Any) -> list[int]:
        page = (await admin.get("/api/v1/units", params={"item_id": item, **query})).json()
        return [each["id"] for each in page["items"]]

    assert await listed() == units
    assert await listed(on_loan=True) == units[:1]
    assert await listed(state="lendable", on_loan=False) == units[1:]


async def test_a_kit_is_lent_and_returned_as_one(admin: Api, postgres: Postgres, database: str) -> None:
    camera, (body,) = await units_item(admin, 1)
    battery = (await admin.item(4))["id"]
    kit = (await admin.item(0, tracking="kit"))["id"]
    for item, quantity in ((camera, 1), (battery, 3)):
        postgres.execute("INSERT INTO kit_parts VALUES (%s, %s, %s)", kit, item, quantity, database=database)

    loan = created(await admin.check_out(kit))
    assert (await figures(admin, camera), await figures(admin, battery)) == ((1, 1, 0), (4, 3, 1))
    parts = (await admin.get("/api/v1/loans", params={"kit_loan_id": loan["id"]})).json()["items"]
    assert [(part["item_id"], part["quantity"]) for part in parts] == [(camera, 1), (battery, 3)]
    assert (await admin.post(f"/api/v1/loans/{parts[0]['id']}/return")).json()["type"].endswith(":part-of-kit")
    assert (await admin.check_out(kit)).status_code == 409
    assert (await figures(admin, battery)) == (4, 3, 1)

    renewed = await admin.post(f"/api/v1/loans/{loan['id']}/renew", {"due_at": tomorrow()})
    assert renewed.status_code == 200, renewed.text
    assert (await admin.post(f"/api/v1/loans/{loan['id']}/return")).json()["outstanding"] == 0
    assert (await figures(admin, camera), await figures(admin, battery)) == ((1, 0, 1), (4, 0, 4))
    assert body


async def test_a_part_of_a_kit_may_be_lost(admin: Api, postgres: Postgres, database: str) -> None:
    battery = (await admin.item(4))["id"]
    kit = (await admin.item(0, tracking="kit"))["id"]
    postgres.execute("INSERT INTO kit_parts VALUES (%s, %s, 3)", kit, battery, database=database)
    loan = created(await admin.check_out(kit))
    (part,) = (await admin.get("/api/v1/loans", params={"kit_loan_id": loan["id"]})).json()["items"]

    lost = await admin.post(f"/api/v1/loans/{part['id']}/lost", {"quantity": 1}, Idempotency_Key="one")
    assert lost.status_code == 200, lost.text
    await admin.post(f"/api/v1/loans/{loan['id']}/return")

    assert await figures(admin, battery) == (3, 0, 3)


async def test_what_a_unit_is_called_changes_with_its_version_and_leaves_a_trace(admin: Api) -> None:
    item, (only,) = await units_item(admin, 1)
    path = f"/api/v1/units/{only}"
    tag = (await admin.get(path)).headers["ETag"]

    assert (await admin.http.patch(path, json={"serial": "B-2"})).status_code == 428
    changed = await admin.http.patch(path, json={"serial": "B-2"}, headers={"If-Match": tag})
    assert (changed.status_code, changed.json()["serial"]) == (200, "B-2")
    assert (await admin.http.patch(path, json={"serial": "C-3"}, headers={"If-Match": tag})).status_code == 412

    query = {"subject": "unit", "subject_id": only}
    events = (await admin.get("/api/v1/audit", params=query)).json()["items"]
    assert [event["action"] for event in events] == ["change", "create"]
    assert (events[0]["before"]["serial"] != "B-2", events[0]["after"]) == (True, {"serial": "B-2"})
    assert item
