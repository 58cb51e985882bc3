"""Set aside, waiting in line, and passed on to who comes next."""

import asyncio

import pytest
from inventory_api.database import Database
from inventory_api.reservations import repository
from inventory_api.reservations.service import pass_on_all

from tests.integration.api.reserving import (
    BEGIN,
    EXPIRE,
    PATIENT,
    at,
    book,
    cancel,
    give_back,
    kind,
    receive,
    reserve,
    shown,
    soon,
    statuses,
    units_item,
    wait,
)
from tests.integration.api.services import Api, client_of, created, ready, running, settings_for, the_ledger_holds
from tests.integration.conditions import soon as eventually_true
from tests.integration.stores import SERVICE, Postgres

pytestmark = PATIENT


async def test_what_starts_soon_is_set_aside(admin: Api, postgres: Postgres, database: str) -> None:
    item = (await admin.item(2))["id"]

    booked = created(await reserve(admin, item_id=item, starts_at=soon(0.5), ends_at=soon(5)))

    assert (booked["status"], booked["location_id"], booked["expires_at"]) == ("ready", 1, booked["ends_at"])
    assert await admin.available(item) == 1
    assert await the_ledger_holds(postgres, database)


async def test_what_has_no_dates_is_set_aside_at_once_or_waits_in_line(admin: Api) -> None:
    item = (await admin.item(1))["id"]
    first, second, third = [await wait(admin, item) for _ in range(3)]

    assert first["status"] == "ready"
    assert [second["status"], second["position"], third["position"]] == ["waiting", 1, 2]
    assert [(await shown(admin, each))["position"] for each in (first, second, third)] == [None, 1, 2]
    assert await admin.available(item) == 0

    await cancel(admin, first)
    assert await statuses(admin, first, second, third) == ["cancelled", "ready", "waiting"]
    assert (await shown(admin, third))["position"] == 1


async def test_units_are_set_aside_for_those_who_wait(admin: Api, postgres: Postgres, database: str) -> None:
    item, units = await units_item(admin, 2)
    both, one = await wait(admin, item, quantity=2), await wait(admin, item)
    assert (both["unit_ids"], one["unit_ids"]) == (units, [])
    assert await the_ledger_holds(postgres, database)

    await cancel(admin, both)

    assert (await shown(admin, one))["unit_ids"] == units[:1]
    assert await admin.available(item) == 1
    assert await the_ledger_holds(postgres, database)


async def test_a_hold_that_nobody_comes_for_passes_on(
    admin: Api, pod: Database, postgres: Postgres, database: str
) -> None:
    item = (await admin.item(1))["id"]
    first, second, third = [await wait(admin, item) for _ in range(3)]
    for late in (first, second):
        postgres.execute(EXPIRE, late["id"], database=database)
        await pass_on_all(pod)

    assert await statuses(admin, first, second, third) == ["expired", "expired", "ready"]
    assert await the_ledger_holds(postgres, database)


async def test_every_pod_passes_on_what_is_due_by_itself(postgres: Postgres, database: str) -> None:
    settings = settings_for(postgres.url(database, SERVICE), reservation_seconds_between_looks=0.1)
    async with running(settings) as app, client_of(app) as admin:
        await ready(admin)
        await admin.sign_in()
        item = (await admin.item(1))["id"]
        first, second = await wait(admin, item), await wait(admin, item)
        postgres.execute(EXPIRE, first["id"], database=database)

        async def passed_on() -> bool:
            return await statuses(admin, first, second) == ["expired", "ready"]

        await eventually_true(passed_on)


async def test_pods_that_pass_on_at_once_give_out_each_piece_once(
    admin: Api, postgres: Postgres, database: str, redis_url: str
) -> None:
    items = [(await admin.item(1))["id"] for _ in range(5)]
    lines = [[await wait(admin, item) for _ in range(3)] for item in items]
    for first, *_ in lines:
        postgres.execute(EXPIRE, first["id"], database=database)
    pods = [Database(settings_for(postgres.url(database, SERVICE))) for _ in range(4)]

    await asyncio.gather(*(pass_on_all(pod) for pod in pods))

    assert [await statuses(admin, *line) for line in lines] == [["expired", "ready", "waiting"]] * 5
    assert await the_ledger_holds(postgres, database)
    for pod in pods:
        await pod.close()


async def test_who_wants_much_is_not_overtaken_by_who_wants_little(admin: Api) -> None:
    item = (await admin.item(3))["id"]
    much_before = await wait(admin, item, quantity=2)
    much, little = await wait(admin, item, quantity=3), await wait(admin, item, quantity=1)

    assert await statuses(admin, much, little) == ["waiting", "waiting"]
    await cancel(admin, much_before)
    assert await statuses(admin, much, little) == ["ready", "waiting"]


async def test_who_wants_more_than_is_owned_cannot_wait_and_keeps_nobody_waiting(
    admin: Api, pod: Database, postgres: Postgres, database: str
) -> None:
    item = (await admin.item(2))["id"]
    assert kind(await reserve(admin, item_id=item, quantity=3)) == (409, "out-of-stock")
    all_of_it = await wait(admin, item, quantity=2)
    much, little = await wait(admin, item, quantity=2), await wait(admin, item)
    await cancel(admin, all_of_it)
    await cancel(admin, much)
    much = await wait(admin, item, quantity=2)
    body = {"item_id": item, "quantity": 1, "location_id": 1, "reason": "broken"}
    created(await admin.post("/api/v1/stock/write-off", body, Idempotency_Key="gone"))
    await cancel(admin, little)

    last = await wait(admin, item)

    assert await statuses(admin, much, last) == ["waiting", "ready"]


async def test_who_waits_elsewhere_keeps_nobody_waiting(admin: Api, shelf: int) -> None:
    item = (await admin.item(1))["id"]
    there = await wait(admin, item, location_id=shelf)
    anywhere = await wait(admin, item)
    assert await statuses(admin, there, anywhere) == ["waiting", "ready"]

    await receive(admin, item, 1, shelf)

    assert await statuses(admin, there) == ["ready"]


async def test_what_comes_back_late_goes_to_who_has_booked_it_before_it_goes_to_who_waits(
    admin: Api, pod: Database, postgres: Postgres, database: str
) -> None:
    item = (await admin.item(1))["id"]
    loan = created(await admin.check_out(item, due_at=at(1)))
    waiting = await wait(admin, item)
    booked = created(await book(admin, item, 2, 4))
    postgres.execute("UPDATE loans SET due_at = now() - interval '1 hour'", database=database)
    postgres.execute(BEGIN, booked["id"], database=database)
    await pass_on_all(pod)
    assert await statuses(admin, booked, waiting) == ["booked", "waiting"]

    await give_back(admin, loan)

    assert await statuses(admin, booked, waiting) == ["ready", "waiting"]


async def test_nobody_who_waits_gets_what_another_has_booked_for_that_time(
    admin: Api, postgres: Postgres, database: str
) -> None:
    item = (await admin.item(1))["id"]
    created(await reserve(admin, item_id=item, starts_at=soon(24), ends_at=soon(30)))

    assert (await wait(admin, item))["status"] == "waiting"


async def test_what_was_booked_and_never_there_ends_with_its_time(
    admin: Api, pod: Database, postgres: Postgres, database: str
) -> None:
    item, _ = await units_item(admin, 1)
    booked = created(await book(admin, item, 2, 4))
    past = (
        "UPDATE reservations SET starts_at = now() - interval '2 hours', ends_at = now() - interval '1 hour', "
        "set_aside_at = now() WHERE id = %s"
    )
    postgres.execute(past, booked["id"], database=database)

    await pass_on_all(pod)

    assert await statuses(admin, booked) == ["expired"]
    assert (await shown(admin, booked))["unit_ids"] == []


async def test_another_unit_is_set_aside_where_the_chosen_one_is_out_of_use(
    admin: Api, pod: Database, postgres: Postgres, database: str
) -> None:
    item, (first, second) = await units_item(admin, 2)
    booked = created(await book(admin, item, 2, 4))
    assert booked["unit_ids"] == [first]
    await admin.post(f"/api/v1/units/{first}/state", {"state": "in-repair"})
    postgres.execute("UPDATE reservations SET set_aside_at = now()", database=database)

    await pass_on_all(pod)

    assert (await shown(admin, booked))["unit_ids"] == [second]
    assert await statuses(admin, booked) == ["ready"]
    assert await the_ledger_holds(postgres, database)


async def test_however_many_holds_end_at_once_they_all_pass_on(
    admin: Api, pod: Database, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "BATCH", 2)
    item, _ = await units_item(admin, 5)
    held = [await wait(admin, item) for _ in range(5)]
    last = await wait(admin, item, quantity=5)
    postgres.execute("UPDATE reservations SET expires_at = now() WHERE status = 'ready'", database=database)
    past = "UPDATE unit_bookings SET during = tstzrange(now() - interval '2 hours', now() - interval '1 hour')"
    postgres.execute(past, database=database)

    for _ in range(3):
        await pass_on_all(pod)

    assert set(await statuses(admin, *held)) == {"expired"}
    assert await statuses(admin, last) == ["ready"]
    assert await the_ledger_holds(postgres, database)


async def test_who_has_booked_more_than_is_there_keeps_nobody_waiting_who_has_booked_less(
    admin: Api, pod: Database, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "BATCH", 1)
    item = (await admin.item(3))["id"]
    created(await admin.check_out(item, quantity=2, due_at=at(1)))
    much, little = created(await book(admin, item, 2, 4, quantity=2)), created(await book(admin, item, 3, 4))
    postgres.execute("UPDATE reservations SET set_aside_at = now()", database=database)

    await pass_on_all(pod)

    assert await statuses(admin, much, little) == ["booked", "ready"]


async def test_of_those_who_have_booked_who_comes_first_has_it_first(
    admin: Api, pod: Database, postgres: Postgres, database: str
) -> None:
    item = (await admin.item(2))["id"]
    second, first = created(await book(admin, item, 2, 4)), created(await book(admin, item, 2, 4))
    for reservation, hours in ((second, 1), (first, 2)):
        begun = "UPDATE reservations SET starts_at = now() - %s * interval '1 hour' WHERE id = %s"
        postgres.execute(begun, hours, reservation["id"], database=database)
    body = {"item_id": item, "quantity": 1, "location_id": 1, "reason": "broken"}
    created(await admin.post("/api/v1/stock/write-off", body, Idempotency_Key="gone"))
    postgres.execute("UPDATE reservations SET set_aside_at = now()", database=database)

    await pass_on_all(pod)

    assert await statuses(admin, second, first) == ["booked", "ready"]


async def test_who_wants_much_at_one_location_is_not_overtaken_there(admin: Api, shelf: int) -> None:
    item = (await admin.item(1))["id"]
    await receive(admin, item, 1, shelf)
    here = await wait(admin, item, location_id=1)
    much, little = await wait(admin, item, quantity=2, location_id=shelf), await wait(admin, item, location_id=1)
    anywhere = await wait(admin, item)
    assert await statuses(admin, here, much, little, anywhere) == ["ready", "waiting", "waiting", "waiting"]

    await cancel(admin, little)
    await cancel(admin, here)

    assert await statuses(admin, much, anywhere) == ["waiting", "ready"]
    assert (await shown(admin, anywhere))["location_id"] == 1


async def test_what_cannot_be_set_aside_where_it_is_wanted_keeps_nobody_elsewhere_waiting(
    admin: Api, pod: Database, postgres: Postgres, database: str, shelf: int
) -> None:
    item = (await admin.item(2))["id"]
    there = created(await book(admin, item, 10, 12, location_id=shelf))
    here = created(await book(admin, item, 11, 12, location_id=1))
    postgres.execute("UPDATE reservations SET set_aside_at = now()", database=database)

    await pass_on_all(pod)

    assert await statuses(admin, there, here) == ["booked", "ready"]


async def test_what_is_set_aside_early_is_refused_to_others_before_its_time_too(
    admin: Api, pod: Database, postgres: Postgres, database: str
) -> None:
    item = (await admin.item(1))["id"]
    first = created(await reserve(admin, item_id=item, starts_at=soon(10), ends_at=soon(20)))
    before = created(await reserve(admin, item_id=item, starts_at=soon(3), ends_at=soon(9)))
    postgres.execute("UPDATE reservations SET set_aside_at = now()", database=database)
    await pass_on_all(pod)
    assert await statuses(admin, first, before) == ["booked", "ready"]

    assert kind(await reserve(admin, item_id=item, starts_at=soon(2), ends_at=soon(2.5))) == (409, "reserved")
    await cancel(admin, before)
    assert await statuses(admin, first) == ["ready"]
    assert kind(await reserve(admin, item_id=item, starts_at=soon(2), ends_at=soon(4))) == (409, "reserved")


async def test_one_item_that_fails_keeps_no_other_waiting(
    admin: Api, pod: Database, postgres: Postgres, database: str
) -> None:
    items = [(await admin.item(1))["id"] for _ in range(2)]
    first, second = [await wait(admin, item) for item in items]
    postgres.execute("UPDATE reservations SET expires_at = now() - interval '1 second'", database=database)
    with postgres.connected(database) as blocker:
        blocker.execute("BEGIN")
        blocker.execute("SELECT FROM items WHERE id = %s FOR UPDATE", (items[0],))
        await pass_on_all(pod)
        assert await statuses(admin, first, second) == ["ready", "expired"]
        blocker.execute("ROLLBACK")
    await pass_on_all(pod)

    assert await statuses(admin, first) == ["expired"]
