"""Labels with codes to scan, one by one and on a sheet to print."""

import uuid
import xml.etree.ElementTree as ElementTree

import httpx
import pytest

from tests.integration.api.services import Api, created
from tests.integration.stores import Postgres

_TEXT = "{http://www.w3.org/2000/svg}text"


def texts(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/svg+xml; charset=utf-8"
    return [each.text or "" for each in ElementTree.fromstring(answer.text).iter(_TEXT)]  # noqa: S314 - our own


async def unit_of(api: Api, item_id: int, **more: str) -> int:
    body = {"serial": "SN-1", **more}
    answer = await api.post(f"/api/v1/items/{item_id}/units", body, Idempotency_Key=uuid.uuid4().hex)
    return int(created(answer)["id"])


async def test_what_has_no_barcode_is_labelled_with_a_name_that_stays(admin: Api) -> None:
    item = (await admin.item(0, name="Laptop", sku="L-1", tracking="units"))["id"]
    unit = await unit_of(admin, item)

    assert texts(await admin.get(f"/api/v1/items/{item}/label.svg")) == ["Laptop", "L-1", f"inv:item:{item}"]
    assert texts(await admin.get(f"/api/v1/units/{unit}/label.svg")) == ["Laptop", "SN-1", "L-1", f"inv:unit:{unit}"]
    assert texts(await admin.get("/api/v1/locations/1/label.svg")) == ["Main", "inv:location:1"]


async def test_a_barcode_is_what_the_label_says(admin: Api, postgres: Postgres, database: str) -> None:
    item = (await admin.item(0, tracking="units"))["id"]
    unit = await unit_of(admin, item, barcode="U-77")
    postgres.execute("UPDATE items SET barcode = 'I-77'", database=database)
    postgres.execute("UPDATE locations SET barcode = 'L-77'", database=database)

    for path, code in ((f"items/{item}", "I-77"), (f"units/{unit}", "U-77"), ("locations/1", "L-77")):
        assert texts(await admin.get(f"/api/v1/{path}/label.svg"))[-1] == code


async def test_a_sheet_has_the_labels_in_the_order_asked_for(admin: Api) -> None:
    first, second = [(await admin.item(0, name=name))["id"] for name in ("Drill", "Saw")]

    answer = await admin.get(
        "/api/v1/labels", params={"item_ids": [second, first, second], "location_ids": 1, "columns": 2}
    )

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert [part.split("<")[0] for part in answer.text.split("<title>")[1:]] == [
        "Labels",
        "Saw",
        "Drill",
        "Saw",
        "Main",
    ]
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"]


async def test_a_name_is_never_markup(admin: Api) -> None:
    item = (await admin.item(0, name="<script>alert('x')</script>", sku="<b>"))["id"]

    one = await admin.get(f"/api/v1/items/{item}/label.svg")
    sheet = await admin.get("/api/v1/labels", params={"item_ids": item})

    for answer in (one, sheet):
        assert "<script" not in answer.text
        assert "<b>" not in answer.text
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"item_ids": [1] * 101},
        {"item_ids": [1] * 60, "location_ids": [1] * 41},
        {"item_ids": [0]},
        {"item_ids": ["x"]},
        {"item_ids": [1], "columns": 7},
        {"item_ids": [1], "colour": "red"},
    ],
)
async def test_a_sheet_has_bounds(admin: Api, query: dict[str, object]) -> None:
    await admin.item(0)

    assert (await admin.get("/api/v1/labels", params=query)).status_code == 422


async def test_what_is_not_there_has_no_label_and_is_named(admin: Api) -> None:
    item = (await admin.item(0))["id"]

    assert (await admin.get("/api/v1/items/999/label.svg")).status_code == 404
    answer = await admin.get("/api/v1/labels", params={"item_ids": item, "unit_ids": 998})
    assert (answer.status_code, "unit: 998" in answer.json()["detail"]) == (404, True)


async def test_labels_are_for_those_who_are_signed_in(anybody: Api, member: Api, admin: Api) -> None:
    item = (await admin.item(0))["id"]

    assert (await anybody.get(f"/api/v1/items/{item}/label.svg")).status_code == 401
    assert (await member.get(f"/api/v1/items/{item}/label.svg")).status_code == 200
