"""Files that come in: all of one or nothing, and what is wrong with each line."""

import asyncio
import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import psycopg2
import pytest
from fastapi import FastAPI
from inventory_api.ledger.command import check_stock
from inventory_api.resources import Resources
from inventory_api.transfer import endpoints, service
from sqlalchemy import event, text

from tests.integration.api.files import csv, errors_of, exported_rows, imported, send_file
from tests.integration.api.services import Api, client_of, created, ready, running, settings_for
from tests.integration.conditions import eventually, soon
from tests.integration.stores import SERVICE, Postgres

Service = Callable[..., Any]


@pytest.fixture
async def with_settings(postgres: Postgres, database: str) -> AsyncIterator[Service]:
    """Starts one more service on the database, with settings of its own; its admin is signed in."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> tuple[Api, FastAPI]:
            given = settings_for(postgres.url(database, SERVICE), **settings)
            app = await stack.enter_async_context(running(given))
            api = await stack.enter_async_context(client_of(app))
            await ready(api)
            await api.sign_in()
            return api, app

        yield start


@pytest.fixture(scope="module")
async def quiet_admin(postgres: Postgres) -> AsyncIterator[Api]:
    """One service for all tests of what leaves nothing behind."""
    async with running(settings_for(postgres.url(postgres.migrated_database(), SERVICE))) as app, client_of(app) as api:
        await ready(api)
        await api.sign_in()
        await imported(api, "items", csv("sku,name,tracking,quantity", "A,Drill,,2", "L,Laptop,units,"))
        yield api


async def stock_of(api: Api, sku: str) -> dict[str, int]:
    return {
        level["location"]: level["on_hand"] for level in await exported_rows(api, "stock-levels") if level["sku"] == sku
    }


async def plans_of_the_lookup(app: FastAPI) -> tuple[int, int]:
    """How often items were looked up by a plan made for it, and how often by one that is used again."""
    plans = (
        "SELECT sum(custom_plans)::integer, sum(generic_plans)::integer FROM pg_prepared_statements "
        "WHERE statement LIKE 'SELECT items.id, items.archived_at%'"
    )
    resources: Resources = app.state.resources
    async with resources.database.transaction() as session:
        custom, generic = (await session.execute(text(plans))).one()
    return custom, generic


async def the_ledger_holds(postgres: Postgres, database: str) -> bool:
    return await asyncio.to_thread(check_stock, settings_for(postgres.url(database, SERVICE))) == 0


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


async def test_units_come_with_serial_numbers_and_states(admin: Api, postgres: Postgres, database: str) -> None:
    await imported(admin, "items", csv("sku,name,tracking", "L,Laptop,units", "D,Drill,"))
    content = csv(
        "sku,serial,barcode,state,condition,location",
        "L,1,LB-1,,new,Lab/Rack",
        "L,2,,in-repair,,",
        "L,3,,retired,,",
        "L,4,,lost,,",
    )

    report = await imported(admin, "units", content, create_missing=True)

    assert (report["created"], report["created_locations"]) == (4, 2)
    item = (await exported_rows(admin, "items"))[0]
    assert (item["owned"], item["reserved"], item["available"]) == (2, 1, 1)
    units = await exported_rows(admin, "units")
    assert [(unit["serial"], unit["state"], unit["location"]) for unit in units] == [
        ("1", "lendable", "Lab/Rack"),
        ("2", "in-repair", "Main"),
        ("3", "retired", "Main"),
        ("4", "lost", "Main"),
    ]
    assert await the_ledger_holds(postgres, database)
    created(await admin.check_out(1, quantity=1))


async def test_what_is_wrong_with_units_is_said(admin: Api) -> None:
    await imported(admin, "items", csv("sku,name,tracking", "L,Laptop,units", "D,Drill,"))
    await imported(admin, "units", csv("sku,serial,barcode", "L,1,B-1", "L,2,B-2"))
    content = csv(
        "sku,serial,barcode,state",
        "X,1,,",
        "D,1,,",
        "L,,,",
        "L,3,B-1,",
        "L,4,,gone",
        "L,5,,",
        "L,5,,",
        "L,2,B-2,retired",
    )

    answer = await send_file(admin, "units", content, mode="upsert")

    assert errors_of(answer) == [
        (2, "sku"),
        (3, "sku"),
        (4, "serial"),
        (5, "barcode"),
        (6, "state"),
        (8, "serial"),
        (9, "state"),
    ]


async def test_of_units_that_are_there_barcode_and_condition_change(admin: Api) -> None:
    await imported(admin, "items", csv("sku,name,tracking", "L,Laptop,units"))
    await imported(admin, "locations", csv("path", "Lab"))
    await imported(admin, "units", csv("sku,serial,barcode,condition", "L,1,B-1,new", "L,2,B-2,new"))

    moved = await send_file(admin, "units", csv("sku,serial,location", "L,1,Lab"), mode="upsert")
    report = await imported(
        admin, "units", csv("sku,serial,barcode,condition", "L,1,,worn", "L,2,B-2,new"), mode="upsert"
    )

    assert errors_of(moved) == [(2, "location")]
    assert (report["updated"], report["unchanged"]) == (1, 1)
    units = await exported_rows(admin, "units")
    assert [(unit["barcode"], unit["condition"]) for unit in units] == [(None, "worn"), ("B-2", "new")]


async def test_a_place_brings_those_above_it_along(admin: Api) -> None:
    report = await imported(
        admin, "locations", csv("path,count_every_days", "Shed/Rack/Shelf,30", "Shed,7", "Attic,"), mode="upsert"
    )

    assert (report["created"], report["created_locations"]) == (3, 1)
    rows = await exported_rows(admin, "locations")
    assert {row["path"]: row["count_every_days"] for row in rows} == {
        "Main": None,
        "Shed": 7,
        "Attic": None,
        "Shed/Rack": None,
        "Shed/Rack/Shelf": 30,
    }
    again = await imported(admin, "locations", csv("path,count_every_days", "Shed,8", "Attic,"), mode="upsert")
    assert (again["updated"], again["unchanged"]) == (1, 1)


async def test_what_is_wrong_with_places_is_said(admin: Api) -> None:
    await imported(admin, "categories", csv("path", "Tools/Saws"))

    answer = await send_file(admin, "categories", csv("path", "Tools", "a//b", "New", "New", "x" * 201))
    locations = await send_file(admin, "locations", csv("path,count_every_days", "A,0", "B,4000", "C,soon"))

    assert errors_of(answer) == [(2, "path"), (3, "path"), (5, "path"), (6, "path")]
    assert errors_of(locations) == [(2, "count_every_days"), (3, "count_every_days"), (4, "count_every_days")]


async def test_stock_levels_say_what_is_to_be_there_however_often_they_are_sent(
    admin: Api, postgres: Postgres, database: str
) -> None:
    await imported(admin, "items", csv("sku,name,quantity", "A,Drill,3", "B,Saw,0"))
    content = csv("sku,location,on_hand", "A,Main,1", "A,Attic,4", "B,,0")

    report = await imported(admin, "stock-levels", content, mode="upsert", create_missing=True)
    again = await imported(admin, "stock-levels", content, mode="upsert", create_missing=True)

    assert (report["created"], report["updated"], again["unchanged"]) == (1, 1, 3)
    assert await stock_of(admin, "A") == {"Main": 1, "Attic": 4}
    entries = await exported_rows(admin, "stock-entries")
    assert [(entry["kind"], entry["location"], entry["on_hand"]) for entry in entries] == [
        ("receive", "Main", 3),
        ("adjust", "Main", -2),
        ("receive", "Attic", 4),
    ]
    assert await the_ledger_holds(postgres, database)


async def test_what_is_wrong_with_stock_levels_is_said(admin: Api) -> None:
    await imported(admin, "items", csv("sku,name,tracking,quantity", "A,Drill,,2", "L,Laptop,units,", "K,Kit,kit,"))
    await imported(admin, "units", csv("sku,serial,state", "L,1,in-repair"))
    content = csv(
        "sku,location,on_hand",
        "A,Main,2",
        "A,Main,2",
        "A,Attic,1",
        "X,Main,1",
        "K,Main,1",
        "L,Main,2",
        "A,Main,-1",
        "A,Main,",
    )

    answer = await send_file(admin, "stock-levels", content, mode="upsert")
    created_only = await send_file(admin, "stock-levels", csv("sku,on_hand", "A,5"))

    assert errors_of(answer) == [
        (3, "location"),
        (4, "location"),
        (5, "sku"),
        (6, "sku"),
        (7, "on_hand"),
        (8, "on_hand"),
        (9, "on_hand"),
    ]
    assert errors_of(created_only) == [(2, "on_hand")]


async def test_kits_are_made_of_what_a_file_says(admin: Api) -> None:
    await imported(
        admin, "items", csv("sku,name,tracking,quantity", "K,Kit,kit,", "D,Drill,,5", "B,Bit,,50", "L,Laptop,units,")
    )

    report = await imported(admin, "kit-parts", csv("kit,sku,quantity", "K,D,1", "K,B,10"))
    again = await imported(admin, "kit-parts", csv("kit,sku,quantity", "K,D,2", "K,B,10", "K,L,1"), mode="upsert")

    assert (report["created"], again["created"], again["updated"], again["unchanged"]) == (2, 1, 1, 1)
    rows = await exported_rows(admin, "kit-parts")
    assert [(row["kit"], row["sku"], row["quantity"]) for row in rows] == [("K", "D", 2), ("K", "B", 10), ("K", "L", 1)]
    event = (await admin.get("/api/v1/audit", params={"subject": "item"})).json()["items"][0]
    assert event["before"] == {"parts": {"2": 1, "3": 10}}
    assert event["after"] == {"parts": {"2": 2, "3": 10, "4": 1}}


async def test_what_is_wrong_with_kit_parts_is_said(admin: Api) -> None:
    items = [f"P{n},Part,,5" for n in range(51)]
    await imported(admin, "items", csv("sku,name,tracking,quantity", "K,Kit,kit,", "O,Out,kit,", "D,Drill,,5", *items))
    await imported(admin, "kit-parts", csv("kit,sku,quantity", "O,D,1"))
    created(await admin.check_out(2))
    content = csv("kit,sku,quantity", "X,D,1", "K,X,1", "D,K,1", "K,D,0", "K,D,1", "K,D,1", "O,D,2", "O,D,1")

    answer = await send_file(admin, "kit-parts", content, mode="upsert")
    changed = await send_file(admin, "kit-parts", csv("kit,sku,quantity", "O,D,2"))
    many = await send_file(admin, "kit-parts", csv("kit,sku,quantity", *(f"K,P{n},1" for n in range(51))))

    assert errors_of(answer) == [
        (2, "kit"),
        (3, "sku"),
        (4, "kit"),
        (4, "sku"),
        (5, "quantity"),
        (7, "sku"),
        (8, "sku"),
        (9, "sku"),
    ]
    assert errors_of(changed) == [(2, "sku")]
    assert errors_of(many) == [(52, "sku")]


async def test_people_come_without_a_password_and_sign_in_once_an_admin_has_given_them_one(admin: Api) -> None:
    content = csv("Email,Name,Role,Active", "Ada@Example.com,Ada,staff,", "bob@example.com,Bob,,no")

    report = await imported(admin, "users", content)

    people = {row["email"]: row for row in await exported_rows(admin, "users")}
    ada, bob = people["ada@example.com"], people["bob@example.com"]
    assert report["created"] == 2
    assert [(row["name"], row["role"], row["active"]) for row in (ada, bob)] == [
        ("Ada", "staff", True),
        ("Bob", "member", False),
    ]
    credentials = {"email": "ada@example.com", "password": "a long password"}
    for guess in ("", "!", "None", "nobody has this password", credentials["password"]):
        assert (await admin.post("/api/v1/auth/token", {**credentials, "password": guess})).status_code == 401
    created(await admin.check_out((await admin.item(1))["id"], user_id=ada["id"]))
    reset = {"new_password": credentials["password"]}
    assert (await admin.http.put(f"/api/v1/users/{ada['id']}/password", json=reset)).status_code == 204
    assert (await admin.post("/api/v1/auth/token", credentials)).status_code == 200
    audit = (await admin.get("/api/v1/audit", params={"subject": "user", "action": "create", "limit": 2})).json()
    assert {event["subject_id"] for event in audit["items"]} == {ada["id"], bob["id"]}
    assert [list(event["after"]) for event in audit["items"]] == [["name", "role", "email", "active"]] * 2


async def test_an_upsert_of_people_changes_their_names_and_nothing_else(admin: Api) -> None:
    await imported(admin, "users", csv("email,name", "ada@example.com,Ada", "bob@example.com,Bob"))
    ada = {row["email"]: row for row in await exported_rows(admin, "users")}["ada@example.com"]["id"]

    report = await imported(
        admin, "users", csv("email,name", "ADA@example.com,Ada L.", "bob@example.com,Bob"), mode="upsert"
    )
    refused = await send_file(
        admin,
        "users",
        csv("email,role,active", "ada@example.com,admin,true", "bob@example.com,member,no"),
        mode="upsert",
    )

    assert (report["created"], report["updated"], report["unchanged"]) == (0, 1, 1)
    assert (refused.status_code, errors_of(refused)) == (422, [(2, "role"), (3, "active")])
    shown = (await admin.get(f"/api/v1/users/{ada}")).json()
    assert (shown["name"], shown["role"], shown["version"]) == ("Ada L.", "member", 2)


async def test_what_is_wrong_with_people_is_said_and_nothing_of_the_file_kept(admin: Api) -> None:
    content = csv(
        "email,name,role,active",
        "fine@example.com,Fine,,",
        "no address,Ann,,",
        ",Ben,,",
        "c@example.com,,,",
        "d@example.com,Dan,king,",
        "e@example.com,Eve,,perhaps",
        "FINE@example.com,Again,,",
        "admin@example.com,Me,,",
    )
    wrong = [(3, "email"), (4, "email"), (5, "name"), (6, "role"), (7, "active"), (8, "email"), (9, "email")]

    dry = await send_file(admin, "users", content, dry_run=True)
    answer = await send_file(admin, "users", content)

    assert (dry.status_code, errors_of(dry)) == (200, wrong)
    assert (answer.status_code, errors_of(answer)) == (422, wrong)
    assert [row["email"] for row in await exported_rows(admin, "users")] == ["admin@example.com"]


async def test_only_an_admin_imports_people(admin: Api, app: FastAPI) -> None:
    staff = {"email": "staff@example.com", "name": "S", "role": "staff", "password": "another password"}
    created(await admin.post("/api/v1/users", staff))
    token = created(await admin.post("/api/v1/tokens", {"name": "t", "scopes": ["catalogue"]}))["token"]
    content = csv("email,name", "ada@example.com,Ada")

    async with client_of(app) as api:
        await api.sign_in(staff["email"], staff["password"])
        by_staff = await send_file(api, "users", content)
        api.http.headers["Authorization"] = f"Bearer {token}"
        by_token = await send_file(api, "users", content)

    assert (by_staff.status_code, by_token.status_code) == (403, 403)


async def test_what_is_lent_out_stays_so(admin: Api, postgres: Postgres, database: str) -> None:
    await imported(admin, "items", csv("sku,name,quantity", "A,Drill,3"))
    created(await admin.check_out(1, quantity=2))

    await imported(admin, "stock-levels", csv("sku,on_hand", "A,0"), mode="upsert")

    item = (await exported_rows(admin, "items"))[0]
    assert (item["owned"], item["on_loan"], item["available"]) == (2, 2, 0)
    assert await the_ledger_holds(postgres, database)


async def test_who_waits_for_an_item_gets_what_comes_with_a_file(with_settings: Service) -> None:
    api, _ = await with_settings(reservation_seconds_between_looks=3600)
    await imported(api, "items", csv("sku,name,tracking,quantity", "D,Drill,,1", "S,Saw,,1", "L,Laptop,units,"))
    await imported(api, "units", csv("sku,serial", "L,1"))
    for item in (1, 2, 3):
        created(await api.check_out(item))
    waiting = [
        created(await api.post("/api/v1/reservations", {"item_id": item}, Idempotency_Key=uuid.uuid4().hex))["id"]
        for item in (1, 2, 3)
    ]

    await imported(api, "items", csv("sku,quantity", "D,1"), mode="upsert")
    await imported(api, "stock-levels", csv("sku,on_hand", "S,1"), mode="upsert")
    await imported(api, "units", csv("sku,serial", "L,2"))

    for reservation in waiting:
        assert (await api.get(f"/api/v1/reservations/{reservation}")).json()["status"] == "ready"
    assert [row["reserved"] for row in await exported_rows(api, "items")] == [1, 1, 1]


@pytest.mark.usefixtures("app")  # an ingress may take the body first
async def test_members_do_not_import_and_are_told_before_they_send_anything(member: Api) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    answer = await send_file(member, "items", nothing())

    assert (answer.status_code, answer.json()["type"]) == (403, "urn:inventory:problem:not-permitted")


async def test_a_file_has_bounds(with_settings: Service) -> None:
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


async def test_a_slow_caller_keeps_no_connection(with_settings: Service) -> None:
    api, _ = await with_settings(database_pool_size=1, database_pool_overflow=0)
    other_is_served = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"sku,name\n"
        assert (await api.get("/api/v1/items")).status_code == 200
        other_is_served.set()
        yield b"A,Drill\n"

    assert (await send_file(api, "items", slow())).status_code == 200
    assert other_is_served.is_set()


@pytest.mark.usefixtures("app")
async def test_a_pod_has_so_many_imports_under_way_and_no_more(admin: Api) -> None:
    answers = []

    async def slow() -> AsyncIterator[bytes]:
        yield b"sku,name\n"
        answers.append(await send_file(admin, "items", csv("sku,name", "B,Saw")))
        yield b"A,Drill\n"

    assert (await send_file(admin, "items", slow())).status_code == 200
    assert [(answer.status_code, answer.headers["Retry-After"]) for answer in answers] == [(503, "10")]
    assert (await send_file(admin, "items", csv("sku,name", "B,Saw"))).status_code == 200


@pytest.fixture
async def hasty(with_settings: Service, monkeypatch: pytest.MonkeyPatch) -> tuple[Api, FastAPI]:
    """A service that gives an import a second, long before the limit of all requests ends it."""
    monkeypatch.setattr(endpoints, "_SOON_ENOUGH", 0.1)
    api, app = await with_settings(import_seconds=10)
    return api, app


async def test_a_body_that_does_not_come_is_not_awaited_for_ever(hasty: tuple[Api, FastAPI]) -> None:
    api, _ = hasty

    async def stuck() -> AsyncIterator[bytes]:
        yield b"sku,name\n"
        await asyncio.Event().wait()

    answer = await send_file(api, "items", stuck())
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:inventory:problem:import-too-long")
    assert (await send_file(api, "items", csv("sku,name", "B,Saw"))).status_code == 200


class Holder:
    """A transaction of somebody else's, which holds what an import is about."""

    def __init__(self, postgres: Postgres, database: str) -> None:
        self._postgres, self._database = postgres, database
        self._connection = psycopg2.connect(postgres.url(database))
        self.cursor = self._connection.cursor()
        # Whoever finds the deadlock first gives way: not this one.
        self.cursor.execute("SET deadlock_timeout = '60s'")

    def somebody_waits(self) -> bool:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        return bool(self._postgres.execute(waiting, self._database)[0][0])

    def commit(self) -> None:
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def holder(admin: Api, postgres: Postgres, database: str) -> Any:
    holder = Holder(postgres, database)
    yield holder
    holder.close()


async def start_import(holder: Holder, api: Api, content: str) -> "asyncio.Task[Any]":
    """An upsert of items that waits for the holder."""
    task = asyncio.create_task(send_file(api, "items", content, mode="upsert"))
    await asyncio.to_thread(eventually, holder.somebody_waits)
    return task


async def test_of_two_that_wait_for_each_other_the_import_gives_way_with_503(
    admin: Api, holder: Holder, postgres: Postgres, database: str
) -> None:
    await imported(admin, "items", csv("sku,name,quantity", "A,Drill,1", "B,Saw,1"))
    holder.cursor.execute("UPDATE items SET name = 'Theirs' WHERE sku = 'B'")
    task = await start_import(holder, admin, csv("sku,name", "B,Ours", "A,Ours"))
    other = threading.Thread(target=holder.cursor.execute, args=["UPDATE items SET name = 'Theirs' WHERE sku = 'A'"])
    other.start()

    answer = await task

    assert (answer.status_code, answer.json()["type"]) == (503, "urn:inventory:problem:unavailable")
    assert "Retry-After" in answer.headers
    await asyncio.to_thread(other.join)
    holder.commit()
    names = postgres.execute("SELECT name FROM items", database=database)
    assert names == [("Theirs",), ("Theirs",)]


async def test_an_import_that_takes_too_long_keeps_nothing(
    hasty: tuple[Api, FastAPI], holder: Holder, postgres: Postgres, database: str
) -> None:
    api, app = hasty
    await imported(api, "items", csv("sku,name", "A,Drill"))
    holder.cursor.execute("UPDATE items SET name = 'Theirs' WHERE sku = 'A'")

    answer = await send_file(api, "items", csv("sku,name", "A,Ours", "B,New"), mode="upsert")

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:inventory:problem:import-too-long")
    holder.commit()
    assert postgres.execute("SELECT sku, name FROM items", database=database) == [("A", "Theirs")]
    assert app.state.resources.database.engine.pool.checkedout() == 0


async def test_what_changed_while_the_file_was_read_undoes_the_import(admin: Api, holder: Holder) -> None:
    await imported(admin, "items", csv("sku,name", "A,Drill"))
    holder.cursor.execute("UPDATE items SET archived_at = now() WHERE sku = 'A'")
    task = await start_import(holder, admin, csv("sku,name", "A,Ours", "B,New"))

    holder.commit()
    answer = await task

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:inventory:problem:changed-meanwhile")
    assert "line 2" in answer.json()["detail"]
    assert await exported_rows(admin, "items") == []


async def test_a_location_that_is_used_is_not_archived_meanwhile(admin: Api, holder: Holder) -> None:
    await imported(admin, "locations", csv("path", "Shed"))
    holder.cursor.execute("SELECT id FROM locations WHERE name = 'Shed' FOR UPDATE")
    task = await start_import(holder, admin, csv("sku,name,quantity,location", "A,Drill,1,Shed"))

    holder.cursor.execute("UPDATE locations SET archived_at = now() WHERE name = 'Shed'")
    holder.commit()
    answer = await task

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:inventory:problem:changed-meanwhile")
    assert "archived" in answer.json()["detail"]
    assert await exported_rows(admin, "items") == []


async def test_one_import_at_a_time_is_written_whatever_the_pods(
    admin: Api, holder: Holder, with_settings: Service
) -> None:
    other_pod, _ = await with_settings()
    await imported(admin, "items", csv("sku,name", "A,Drill"))
    holder.cursor.execute("UPDATE items SET name = 'Theirs' WHERE sku = 'A'")
    task = await start_import(holder, admin, csv("sku,name", "A,Ours"))

    refused = await send_file(other_pod, "items", csv("sku,name", "B,Saw"))
    dry = await send_file(other_pod, "items", csv("sku,name", "B,Saw"), dry_run=True)

    assert (refused.status_code, refused.headers["Retry-After"], dry.status_code) == (503, "10", 200)
    holder.commit()
    assert (await task).status_code == 200
    await imported(other_pod, "items", csv("sku,name", "B,Saw"))


async def test_checking_out_goes_on_while_files_come_in_and_the_ledger_holds(
    admin: Api, postgres: Postgres, database: str
) -> None:
    await imported(admin, "items", csv("sku,name,quantity", *([f"S-{n},x,50"] for n in range(20))))
    more = csv("sku,quantity", *([f"S-{n},1"] for n in reversed(range(20))))

    async def lend(item_id: int) -> int:
        return (await admin.check_out(item_id)).status_code

    answers = await asyncio.gather(
        *(lend(1 + n % 20) for n in range(60)),
        *(_until_done(admin, more) for _ in range(3)),
    )

    assert set(answers) <= {201, 200}
    owned = {row["owned"] for row in await exported_rows(admin, "items")}
    assert owned == {53}
    assert await the_ledger_holds(postgres, database)


async def _until_done(api: Api, content: str) -> int:
    """Sends it again as long as another one is under way, as callers are told to."""
    key = uuid.uuid4().hex
    answers: list[httpx.Response] = []

    async def is_done() -> bool:
        answers.append(await send_file(api, "items", content, key=key, mode="upsert"))
        return answers[-1].status_code != 503

    await soon(is_done)
    return answers[-1].status_code


async def test_lines_are_looked_up_and_written_many_at_a_time(admin: Api, app: FastAPI) -> None:
    statements = 0

    def count_one(*_: object) -> None:
        nonlocal statements
        statements += 1

    event.listen(app.state.resources.database.engine.sync_engine, "before_cursor_execute", count_one)
    rows = [f"S-{n},x,{n % 5},Tools/Kind {n % 40},Shelf {n % 10}" for n in range(2000)]

    await imported(admin, "items", csv("sku,name,quantity,category,location", *rows), create_missing=True)

    # Twice four batches, with a handful of statements each.
    assert statements < 70


async def test_it_looks_things_up_by_plans_for_tables_as_large_as_they_are_by_then(
    with_settings: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan from before the import, when there was nothing, would go through the whole table for each batch."""
    monkeypatch.setattr(service, "SIZE", 1)
    api, app = await with_settings(database_pool_size=1, database_pool_overflow=0)

    await imported(api, "items", csv("sku,name,quantity", *(f"S-{number},Drill,1" for number in range(20))))

    assert await plans_of_the_lookup(app) == (40, 0)
