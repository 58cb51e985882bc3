"""What a file of each kind brings in besides items: units, places, stock levels, kits, people."""

import uuid

from fastapi import FastAPI

from tests.integration.api.files import csv, errors_of, exported_rows, imported, send_file, stock_of
from tests.integration.api.services import Api, StartService, client_of, created, the_ledger_holds
from tests.integration.stores import Postgres


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


async def test_who_waits_for_an_item_gets_what_comes_with_a_file(with_settings: StartService) -> None:
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
