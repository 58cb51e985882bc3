"""Files that come in: all of one or nothing, and what is wrong with each line."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.api.files import (
    csv,
    errors_of,
    exported_rows,
    imported,
    send_file,
    stock_of,
)
from tests.integration.api.services import Api, StartService, client_of, ready, running, settings_for, the_ledger_holds
from tests.integration.stores import SERVICE, Postgres


@pytest.fixture(scope="module")
async def quiet_admin(postgres: Postgres) -> AsyncIterator[Api]:
    """One service for all tests of what leaves nothing behind."""
    async with running(settings_for(postgres.url(postgres.migrated_database(), SERVICE))) as app, client_of(app) as api:
        await ready(api)
        await api.sign_in()
        await imported(api, "items", csv("sku,name,tracking,quantity", "A,Drill,,2", "L,Laptop,units,"))
        yield api


def count(postgres: Postgres, database: str, table: str) -> int:
    return int(postgres.execute(f"SELECT count(*) FROM {table}", database=database)[0][0])  # noqa: S608 - our own


async def test_items_come_with_categories_and_stock(admin: Api, postgres: Postgres, database: str) -> None:
    content = csv(
        "SKU;Name;Category;Quantity;Location",
        "D-1;Drill;Tools/Power tools;3;Shed/Shelf 1",
        "S-1;Säge;Tools;0;",
        "B-1;Bit;;20;Main",
    )

    report = await imported(admin, "items", content, create_missing=True)

    assert (report["created"], report["created_categories"], report["created_locations"]) == (3, 2, 2)
    rows = {row["sku"]: row for row in await exported_rows(admin, "items")}
    assert {sku: (row["name"], row["category"], row["owned"]) for sku, row in rows.items()} == {
        "D-1": ("Drill", "Tools/Power tools", 3),
        "S-1": ("Säge", "Tools", 0),
        "B-1": ("Bit", None, 20),
    }
    assert await stock_of(admin, "D-1") == {"Shed/Shelf 1": 3}
    me = (await admin.get("/api/v1/users/me")).json()["email"]
    entries = await exported_rows(admin, "stock-entries")
    assert [(entry["sku"], entry["kind"], entry["on_hand"], entry["actor"], entry["reason"]) for entry in entries] == [
        ("D-1", "receive", 3, me, "import"),
        ("B-1", "receive", 20, me, "import"),
    ]
    assert await the_ledger_holds(postgres, database)


async def test_json_lines_say_the_same(admin: Api) -> None:
    lines = [
        {"sku": "D-1", "name": "Drill", "quantity": 3, "location": 1, "category": "Tools"},
        {"sku": "S-1", "name": "Saw", "category": None},
    ]

    report = await imported(admin, "items", "\n".join(map(json.dumps, lines)), format="jsonl", create_missing=True)

    assert report["created"] == 2
    assert await stock_of(admin, "D-1") == {"Main": 3}


WRONG = csv(
    "sku,name,quantity,category,location,tracking",
    "A,Good,1,,,",
    ",No SKU,1,,,",
    "B,,1,,,",
    "C,Not a number,many,,,",
    "D,Too many,2000000,,,",
    "E,No such category,1,Toys,,",
    "F,No such location,1,,Attic,",
    "A,Twice,1,,,",
    "G,Of units,1,,,units",
    "H,Short",
    "I,Strange,1,,,by weight",
    "J,\0,1,,,",
    f"K,{'x' * 201},1,a//b,,",
)


WRONG_FIELDS = [
    (3, "sku"),
    (4, "name"),
    (5, "quantity"),
    (6, "quantity"),
    (7, "category"),
    (8, "location"),
    (9, "sku"),
    (10, "quantity"),
    (11, ""),
    (12, "tracking"),
    (13, "name"),
    (14, "category"),
    (14, "name"),
]


async def test_a_dry_run_lists_what_is_wrong_with_each_line_and_changes_nothing(
    admin: Api, postgres: Postgres, database: str
) -> None:
    answer = await send_file(admin, "items", WRONG, dry_run=True)

    report = answer.json()
    assert answer.status_code == 200
    assert sorted(errors_of(answer)) == WRONG_FIELDS
    assert (report["lines"], report["created"], report["error_count"]) == (13, 1, 13)
    messages = {(error["line"], error["field"]): error["message"] for error in report["errors"]}
    assert "create_missing=true" in messages[7, "category"]
    assert "line 2" in messages[9, "sku"]
    assert count(postgres, database, "items") == 0


async def test_nothing_is_kept_if_any_line_is_wrong(admin: Api, postgres: Postgres, database: str) -> None:
    answer = await send_file(admin, "items", WRONG, create_missing=False)

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:inventory:problem:invalid-import")
    assert sorted(errors_of(answer)) == WRONG_FIELDS
    assert count(postgres, database, "items") == 0


async def test_a_dry_run_of_what_is_right_tells_what_it_would_do_and_changes_nothing(
    admin: Api, postgres: Postgres, database: str
) -> None:
    await imported(admin, "items", csv("sku,name", "A,Same", "B,Old name"))
    content = csv("sku,name,category,quantity,location", "A,Same,,,", "B,New name,,,", "C,New,Tools/Saws,1,Attic")

    query: dict[str, Any] = {"mode": "upsert", "create_missing": True}
    told = await imported(admin, "items", content, dry_run=True, **query)

    assert (told["created"], told["updated"], told["unchanged"]) == (1, 1, 1)
    assert (told["created_categories"], told["created_locations"]) == (2, 1)
    assert (count(postgres, database, "items"), count(postgres, database, "categories")) == (2, 0)
    assert await imported(admin, "items", content, **query) == {**told, "dry_run": False}
    assert (count(postgres, database, "items"), count(postgres, database, "categories")) == (3, 2)


async def test_a_thousand_errors_are_listed_and_all_are_counted(admin: Api) -> None:
    answer = await send_file(admin, "items", csv("sku,name", *([f"S-{n},"] for n in range(1500))))

    assert len(answer.json()["errors"]) == 1000
    assert "1500 errors, of which 1000 are listed" in answer.json()["detail"]


async def test_unknown_columns_are_refused_by_name(admin: Api) -> None:
    answer = await send_file(admin, "items", csv("sku,name,colour,weight", "A,B,red,1"))

    assert errors_of(answer) == [(1, "colour"), (1, "weight")]


async def test_what_is_there_is_not_changed_unless_asked_for(admin: Api) -> None:
    await imported(admin, "items", csv("sku,name", "A,Drill"))

    answer = await send_file(admin, "items", csv("sku,name", "A,Saw", "B,Saw"))

    assert errors_of(answer) == [(2, "sku")]
    assert "mode=upsert" in answer.json()["errors"][0]["message"]


async def test_an_upsert_changes_what_its_columns_say_and_nothing_else(
    admin: Api, postgres: Postgres, database: str
) -> None:
    await imported(
        admin, "items", csv("sku,name,category,quantity", "A,Drill,Tools,2", "B,Saw,Tools,2"), create_missing=True
    )

    report = await imported(admin, "items", csv("sku,category,quantity", "A,,3", "B,Tools,"), mode="upsert")

    assert (report["created"], report["updated"], report["unchanged"]) == (0, 1, 1)
    rows = {row["sku"]: row for row in await exported_rows(admin, "items")}
    assert (rows["A"]["name"], rows["A"]["category"], rows["A"]["owned"]) == ("Drill", None, 5)
    assert (rows["B"]["name"], rows["B"]["category"], rows["B"]["owned"]) == ("Saw", "Tools", 2)
    versions = postgres.execute("SELECT sku, version FROM items ORDER BY sku", database=database)
    assert versions == [("A", 2), ("B", 1)]


async def test_the_audit_says_what_a_file_has_made_and_changed(admin: Api) -> None:
    await imported(
        admin,
        "items",
        csv("sku,name,category,quantity,location,tracking", "A,Drill,Tools/Power,2,Shed,", "L,Laptop,,,,units"),
        create_missing=True,
    )
    await imported(admin, "items", csv("sku,name,quantity", "A,Saw,1", "L,Laptop,0"), mode="upsert")
    await imported(admin, "items", csv("sku,quantity", "A,1"), mode="upsert")
    await imported(admin, "units", csv("sku,serial", "L,1"))
    await imported(admin, "units", csv("sku,serial,barcode", "L,1,B-1"), mode="upsert")
    await imported(admin, "locations", csv("path,barcode", "Shed,SH-1"), mode="upsert")

    events = [
        event
        for event in (await admin.get("/api/v1/audit")).json()["items"]
        if event["subject"] in ("item", "unit", "category", "location")
    ]

    assert [(event["action"], event["subject"], event["subject_id"]) for event in reversed(events)] == [
        ("create", "category", 1),
        ("create", "category", 2),
        ("create", "location", 2),
        ("create", "item", 1),
        ("create", "item", 2),
        ("change", "item", 1),
        ("create", "unit", 1),
        ("change", "unit", 1),
        ("change", "location", 2),
    ]
    by_kind = {(event["action"], event["subject"], event["subject_id"]): event for event in events}
    changed = by_kind["change", "item", 1]
    assert (changed["before"], changed["after"]) == ({"name": "Drill"}, {"name": "Saw"})
    made = by_kind["create", "item", 1]["after"]
    assert (made["name"], made["category_id"], made["tracking"]) == ("Drill", 2, "quantity")
    assert by_kind["create", "category", 2]["after"] == {"name": "Power", "parent_id": 1}
    me = (await admin.get("/api/v1/users/me")).json()["id"]
    assert {event["actor_id"] for event in events} == {me}


async def test_how_an_item_is_tracked_stays_as_it_is(admin: Api) -> None:
    await imported(admin, "items", csv("sku,name,tracking", "A,Drill,units"))

    answer = await send_file(admin, "items", csv("sku,tracking", "A,quantity"), mode="upsert")

    assert errors_of(answer) == [(2, "tracking")]


async def test_what_is_archived_is_left_alone(admin: Api, postgres: Postgres, database: str) -> None:
    await imported(admin, "items", csv("sku,name", "A,Drill"))
    await imported(admin, "locations", csv("path", "Shed"))
    postgres.execute("UPDATE items SET archived_at = now() WHERE sku = 'A'", database=database)
    postgres.execute("UPDATE locations SET archived_at = now() WHERE name = 'Shed'", database=database)

    content = csv("sku,name,location", "A,Saw,", "B,Saw,Shed", "C,Saw,Shed/Rack")
    answer = await send_file(admin, "items", content, mode="upsert", create_missing=True)
    below = await send_file(admin, "locations", csv("path", "Shed/Rack"))

    assert errors_of(answer) == [(2, "sku"), (3, "location"), (4, "location")]
    assert errors_of(below) == [(2, "path")]


async def test_a_location_is_named_by_path_barcode_or_id(admin: Api, postgres: Postgres, database: str) -> None:
    await imported(admin, "locations", csv("path,barcode", "Shed/Shelf,SH-1", "SH-2,", "Attic,SH-2"))
    rows = postgres.execute("SELECT name, id FROM locations", database=database)
    shelf = dict(rows)["Shelf"]
    content = csv(
        "sku,name,quantity,location",
        "A,x,1, Shed / Shelf ",
        "B,x,1,SH-1",
        f"C,x,1,inv:location:{shelf}",
        # A path wins over a barcode.
        "D,x,1,SH-2",
        "E,x,1,",
    )

    await imported(admin, "items", content)

    levels = await exported_rows(admin, "stock-levels")
    assert [level["location"] for level in levels] == ["Shed/Shelf"] * 3 + ["SH-2", "Main"]


async def test_names_with_slashes_are_written_with_a_backslash(admin: Api) -> None:
    await imported(admin, "items", csv("sku,name,category", r"A,x,Audio\/Video/AC\/DC"), create_missing=True)

    assert [row["path"] for row in await exported_rows(admin, "categories")] == [
        r"Audio\/Video",
        r"Audio\/Video/AC\/DC",
    ]


async def test_a_file_that_is_sent_twice_is_imported_once(admin: Api) -> None:
    content = csv("sku,name,quantity", "A,Drill,3")

    first = await send_file(admin, "items", content, key="once", mode="upsert")
    again = await send_file(admin, "items", content, key="once", mode="upsert")
    other = await send_file(admin, "items", content + "B,Saw,1\n", key="once", mode="upsert")
    otherwise = await send_file(admin, "items", content, key="once")

    assert (first.status_code, again.status_code, first.json()) == (200, 200, again.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    for answer in (other, otherwise):
        assert answer.json()["type"] == "urn:inventory:problem:idempotency-key-reused"
    assert await stock_of(admin, "A") == {"Main": 3}


async def test_an_import_needs_a_key_and_a_dry_run_uses_none_up(admin: Api) -> None:
    query = {"kind": "items", "format": "csv"}
    content = csv("sku,name", "A,Drill")

    refused = await admin.http.post("/api/v1/import", params=query, content=content)
    dry = await admin.http.post("/api/v1/import", params={**query, "dry_run": "true"}, content=content)

    assert refused.json()["type"] == "urn:inventory:problem:idempotency-key-needed"
    assert dry.status_code == 200
    await imported(admin, "items", content, key="same", dry_run=True)
    await imported(admin, "items", content, key="same")


async def test_a_barcode_belongs_to_one(admin: Api) -> None:
    await imported(admin, "locations", csv("path,barcode", "A,1", "B,2"))

    answer = await send_file(admin, "locations", csv("path,barcode", "A,1", "B,1", "C,3", "D,3", "E,2"), mode="upsert")

    assert errors_of(answer) == [(3, "barcode"), (5, "barcode"), (6, "barcode")]


@pytest.mark.usefixtures("app")  # an ingress may take the body first
async def test_members_do_not_import_and_are_told_before_they_send_anything(member: Api) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    answer = await send_file(member, "items", nothing())

    assert (answer.status_code, answer.json()["type"]) == (403, "urn:inventory:problem:not-permitted")


async def test_a_file_has_bounds(with_settings: StartService) -> None:
    api, _ = await with_settings(import_max_bytes=10_000, import_max_lines=10, import_max_line_bytes=1024)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    assert (await send_file(api, "items", b"x" * 10_001)).status_code == 413
    assert (await send_file(api, "items", endless())).status_code == 413
    lines = await send_file(api, "items", csv("sku,name", *([f"S-{n},x"] for n in range(11))))
    assert (errors_of(lines), "10" in lines.json()["errors"][0]["message"]) == ([(12, "")], True)
    assert errors_of(await send_file(api, "items", "sku,name\nA," + "x" * 2000)) == [(2, "")]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"\0", b"sku\n\0\n", b'"', b"sku,name\nA,\xc3\x28\n", b"{}"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_no_bytes_are_an_error_of_the_service(quiet_admin: Api, content: bytes, form: str) -> None:
    answer = await send_file(quiet_admin, "items", content, format=form)

    # Nothing to import is no error where no header is missing.
    assert answer.status_code == (200 if (content, form) == (b"", "jsonl") else 422), answer.text


NASTY = ["\ud800", "\0", "x" * 5000, "", " ", "1e999", "9" * 400, "[1]", '{"a": "\\u0000"}', "=1+1", "inv:location:9"]


@pytest.mark.parametrize("kind", ["items", "kit-parts", "units", "stock-levels", "locations", "categories"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_no_value_is_an_error_of_the_service(quiet_admin: Api, kind: str, form: str) -> None:
    columns = {
        "items": ("sku", "name", "tracking", "quantity", "category", "location"),
        "units": ("sku", "serial", "barcode", "state", "condition", "location"),
        "kit-parts": ("kit", "sku", "quantity"),
        "stock-levels": ("sku", "on_hand", "location"),
        "locations": ("path", "barcode", "count_every_days"),
        "categories": ("path",),
    }[kind]
    values: list[Any] = NASTY if form == "csv" else [*NASTY, None, True, 10**300, -1, 1.5, [], {}, [None], {"a": "\0"}]
    good = {"sku": "A", "kit": "K", "quantity": "0", "name": "B", "serial": "1", "on_hand": "1", "path": "P"}
    rows = [{**good, column: value} for column in columns for value in values]
    rows = [{name: value for name, value in row.items() if name in columns} for row in rows]
    if form == "jsonl":
        content = "\n".join(map(json.dumps, rows)).encode()
    else:
        cells = [[str(row.get(name, "")).replace('"', '""') for name in columns] for row in rows]
        lines = [",".join(f'"{cell}"' for cell in row) for row in cells]
        content = "\n".join([",".join(columns), *lines]).encode(errors="replace")

    query: dict[str, Any] = {"format": form, "dry_run": True, "mode": "upsert", "create_missing": True}
    answer = await send_file(quiet_admin, kind, content, **query)

    assert answer.status_code == 200, answer.text


async def test_formulas_are_kept_as_they_are(admin: Api) -> None:
    await imported(admin, "items", csv("sku,name", "=1+1,+49 89", "@A,-x"))

    assert [(row["sku"], row["name"]) for row in await exported_rows(admin, "items")] == [
        ("=1+1", "+49 89"),
        ("@A", "-x"),
    ]
