"""Reservations: booked for dates, waiting in line, set aside, and what the database refuses."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from inventory_api.database import Database
from inventory_api.ledger.command import check_stock
from inventory_api.reservations import repository
from inventory_api.reservations.service import pass_on_all
from inventory_api.resources import Resources
from sqlalchemy import event

from tests.integration.api.services import Api, client_of, created, ready, running, settings_for
from tests.integration.conditions import soon as eventually_true
from tests.integration.stores import SERVICE, Postgres

MONDAY = (datetime.now(UTC) + timedelta(days=7)).replace(hour=0, minute=0, second=0, microsecond=0)


def at(hours: float) -> str:
    """So many hours after the beginning of a day that is to come."""
    return (MONDAY + timedelta(hours=hours)).isoformat()


def soon(hours: float = 1) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


async def reserve(api: Api, key: str | None = None, **body: Any) -> httpx.Response:
    return await api.post("/api/v1/reservations", body, Idempotency_Key=key or uuid.uuid4().hex)


async def book(api: Api, item_id: int, since: float, until: float, **more: Any) -> httpx.Response:
    return await reserve(api, item_id=item_id, starts_at=at(since), ends_at=at(until), **more)


async def wait(api: Api, item_id: int, **more: Any) -> dict[str, Any]:
    return created(await reserve(api, item_id=item_id, **more))


async def shown(api: Api, reservation: dict[str, Any]) -> dict[str, Any]:
    answer = await api.get(f"/api/v1/reservations/{reservation['id']}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def statuses(api: Api, *reservations: dict[str, Any]) -> list[str]:
    return [(await shown(api, each))["status"] for each in reservations]


async def cancel(api: Api, reservation: dict[str, Any]) -> httpx.Response:
    return await api.post(f"/api/v1/reservations/{reservation['id']}/cancel")


async def give_back(api: Api, loan: dict[str, Any]) -> None:
    answer = await api.post(f"/api/v1/loans/{loan['id']}/return")
    assert answer.status_code == 200, answer.text


async def units_item(api: Api, count: int) -> tuple[int, list[int]]:
    item = (await api.item(0, tracking="units"))["id"]
    bodies = [{"serial": uuid.uuid4().hex} for _ in range(count)]
    path = f"/api/v1/items/{item}/units"
    return item, [created(await api.post(path, body, Idempotency_Key=body["serial"]))["id"] for body in bodies]


def kind(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:inventory:problem:")


@pytest.fixture
async def app(postgres: Postgres, database: str) -> AsyncIterator[FastAPI]:
    """A service that passes on what is due only when a test does, for people who may reserve a lot."""
    given = {"reservation_seconds_between_looks": 3600, "reservations_per_person": 1000}
    async with running(settings_for(postgres.url(database, SERVICE), **given)) as app:
        yield app


@pytest.fixture
def pod(app: FastAPI) -> Database:
    """The database as a pod of the service has it."""
    resources: Resources = app.state.resources
    return resources.database


async def receive(api: Api, item_id: int, quantity: int, location_id: int | None = None) -> None:
    body = {"item_id": item_id, "quantity": quantity, "location_id": location_id}
    created(await api.post("/api/v1/stock/receive", body, Idempotency_Key=uuid.uuid4().hex))


async def stock_adds_up(postgres: Postgres, database: str) -> bool:
    return await asyncio.to_thread(check_stock, settings_for(postgres.url(database, SERVICE))) == 0


# Booked for dates


async def test_what_is_booked_is_refused_to_others_for_that_time_only(admin: Api) -> None:
    item = (await admin.item(3))["id"]
    created(await book(admin, item, 10, 12, quantity=2))

    refused = await book(admin, item, 11, 13, quantity=2)
    assert kind(refused) == (409, "reserved")
    assert at(11).replace("+00:00", "Z") in refused.json()["detail"]
    created(await book(admin, item, 11, 13, quantity=1))
    created(await book(admin, item, 8, 10, quantity=3))
    created(await book(admin, item, 13, 15, quantity=3))


async def test_a_reservation_is_refused_where_a_loan_lasts_into_it(admin: Api) -> None:
    item = (await admin.item(1))["id"]
    created(await admin.check_out(item, due_at=at(10)))

    assert kind(await book(admin, item, 9, 11)) == (409, "reserved")
    created(await book(admin, item, 10, 11))


async def test_a_loan_is_refused_where_it_would_last_into_a_reservation(admin: Api) -> None:
    item = (await admin.item(2))["id"]
    created(await book(admin, item, 10, 12))

    created(await admin.check_out(item, due_at=at(20)))
    refused = await admin.check_out(item, due_at=at(11))
    assert kind(refused) == (409, "reserved")
    assert at(10).replace("+00:00", "Z") in refused.json()["detail"]
    loan = created(await admin.check_out(item, due_at=at(9)))
    assert kind(await renew(admin, loan, at(11))) == (409, "reserved")
    assert (await renew(admin, loan, at(10))).status_code == 200


async def test_a_loan_of_a_unit_is_refused_where_it_would_last_into_a_reservation(admin: Api) -> None:
    item, (unit,) = await units_item(admin, 1)
    created(await book(admin, item, 10, 12))

    refused = await admin.check_out(item, due_at=at(11), unit_ids=[unit])
    assert kind(refused) == (409, "reserved")
    assert at(10).replace("+00:00", "Z") in refused.json()["detail"]
    loan = created(await admin.check_out(item, due_at=at(9)))
    assert kind(await book(admin, item, 8, 9)) == (409, "reserved")
    assert kind(await renew(admin, loan, at(11))) == (409, "reserved")
    assert (await renew(admin, loan, at(10))).status_code == 200
    assert kind(await book(admin, item, 9, 10)) == (409, "reserved")
    await give_back(admin, loan)
    created(await book(admin, item, 8, 10))


async def test_a_unit_is_lent_that_nobody_has_reserved_before_it_is_due(admin: Api) -> None:
    item, units = await units_item(admin, 2)
    (booked,) = created(await book(admin, item, 10, 12))["unit_ids"]

    loan = created(await admin.check_out(item, due_at=at(11)))

    assert [each["unit_id"] for each in loan["units"]] == [unit for unit in units if unit != booked]
    assert (await admin.check_out(item, due_at=at(11))).status_code == 409


async def test_a_kit_is_not_lent_where_a_part_is_reserved(admin: Api, postgres: Postgres, database: str) -> None:
    battery, kit = (await admin.item(4))["id"], (await admin.item(0, tracking="kit"))["id"]
    postgres.execute("INSERT INTO kit_parts VALUES (%s, %s, 3)", kit, battery, database=database)
    created(await book(admin, battery, 10, 12, quantity=2))

    assert kind(await admin.check_out(kit, due_at=at(11))) == (409, "reserved")
    loan = created(await admin.check_out(kit, due_at=at(10)))
    assert kind(await renew(admin, loan, at(11))) == (409, "reserved")


async def renew(api: Api, loan: dict[str, Any], due_at: str) -> httpx.Response:
    return await api.post(f"/api/v1/loans/{loan['id']}/renew", {"due_at": due_at})


async def test_units_are_chosen_and_refused_to_others_for_that_time_only(admin: Api) -> None:
    item, units = await units_item(admin, 2)
    first = created(await book(admin, item, 10, 12))
    second = created(await book(admin, item, 11, 13))

    assert sorted(first["unit_ids"] + second["unit_ids"]) == units
    assert kind(await book(admin, item, 11, 12)) == (409, "reserved")
    assert created(await book(admin, item, 13, 14, quantity=2))["unit_ids"] == units


async def test_the_one_unit_that_will_do_may_be_named(admin: Api) -> None:
    _, (unit, other) = await units_item(admin, 2)
    dates = {"starts_at": at(10), "ends_at": at(12)}

    reservation = created(await reserve(admin, unit_id=unit, **dates))

    assert (reservation["unit_id"], reservation["unit_ids"]) == (unit, [unit])
    assert kind(await reserve(admin, unit_id=unit, **dates)) == (409, "reserved")
    created(await reserve(admin, unit_id=other, **dates))


async def test_units_are_chosen_so_that_long_gaps_stay_whole(admin: Api) -> None:
    item, _ = await units_item(admin, 2)
    for since, until in ((1, 2), (1, 4), (5, 6)):
        created(await book(admin, item, since, until))

    created(await book(admin, item, 3, 9))


async def test_a_unit_in_repair_is_not_reserved(admin: Api) -> None:
    item, (unit,) = await units_item(admin, 1)
    await admin.post(f"/api/v1/units/{unit}/state", {"state": "in-repair"})

    assert kind(await book(admin, item, 10, 12)) == (409, "reserved")
    assert kind(await reserve(admin, unit_id=unit, starts_at=at(1), ends_at=at(2))) == (409, "not-lendable")


async def test_a_reservation_that_is_sent_again_is_made_once(admin: Api) -> None:
    item = (await admin.item(1))["id"]

    first, second = [await book(admin, item, 10, 12, key="once") for _ in range(2)]

    assert created(first) == created(second)
    assert second.headers["Idempotency-Replayed"] == "true"


async def test_a_kit_is_not_reserved_and_nothing_that_is_archived(
    admin: Api, postgres: Postgres, database: str
) -> None:
    kit = (await admin.item(0, tracking="kit"))["id"]
    old = (await admin.item(1))["id"]
    postgres.execute("UPDATE items SET archived_at = now() WHERE id = %s", old, database=database)

    assert kind(await book(admin, kit, 10, 12)) == (409, "kit")
    assert kind(await admin.get(f"/api/v1/items/{kit}/availability")) == (409, "kit")
    assert kind(await book(admin, old, 10, 12)) == (409, "archived")


async def test_of_a_hundred_callers_none_is_promised_what_another_has(
    admin: Api, postgres: Postgres, database: str
) -> None:
    owned, item = 4, (await admin.item(4))["id"]
    wanted = [(start, start + length, quantity) for start in range(20) for length in (1, 4, 9) for quantity in (1, 3)]
    wanted = sorted(wanted, key=lambda each: (each[0] * 7 + each[1] * 13 + each[2]) % 11)[:100]

    answers = await asyncio.gather(*(book(admin, item, s, u, quantity=q) for s, u, q in wanted))

    assert set(map(kind_or_status, answers)) == {(201, ""), (409, "reserved")}
    taken = [0] * 40
    for (since, until, quantity), answer in zip(wanted, answers, strict=True):
        if answer.status_code == 201:
            taken = [n + quantity if since <= hour < until else n for hour, n in enumerate(taken)]
    assert max(taken) <= owned
    for (since, until, quantity), answer in zip(wanted, answers, strict=True):
        if answer.status_code == 409:
            assert max(taken[since:until]) + quantity > owned
    assert await stock_adds_up(postgres, database)


def kind_or_status(answer: httpx.Response) -> tuple[int, str]:
    return (201, "") if answer.status_code == 201 else kind(answer)


async def test_whatever_mix_of_reservations_loans_and_returns_comes_at_once_no_moment_is_promised_twice(
    admin: Api, postgres: Postgres, database: str
) -> None:
    owned, item = 6, (await admin.item(6))["id"]
    lent = [created(await admin.check_out(item, due_at=at(hour))) for hour in (3, 9, 15)]
    held = [await wait(admin, item) for _ in range(3)]

    async def mixed(number: int) -> httpx.Response:
        if number % 3 == 0:
            return await admin.check_out(item, due_at=at(number % 20 + 1), quantity=1 + number % 2)
        if number % 29 == 1:
            return await admin.post(f"/api/v1/loans/{lent[number % 3]['id']}/return")
        if number % 29 == 2:
            return await borrow(admin, held[number % 3], due_at=at(number % 20 + 1))
        return await book(admin, item, number % 20, number % 20 + 1 + number % 7, quantity=1 + number % 3)

    answers = await asyncio.gather(*(mixed(number) for number in range(100)))

    refusals = {kind(answer) for answer in answers if answer.status_code not in (200, 201)}
    assert refusals <= {(409, "reserved"), (409, "out-of-stock"), (409, "reservation-over")}
    busiest = "SELECT max(claimed) FROM claimed_over_time(%s, now(), 'infinity')"
    assert postgres.execute(busiest, item, database=database)[0][0] <= owned
    assert await stock_adds_up(postgres, database)


async def test_of_a_hundred_callers_none_is_promised_a_unit_that_another_has(
    admin: Api, postgres: Postgres, database: str
) -> None:
    item, units = await units_item(admin, 4)
    wanted = [(start % 17, start % 17 + 1 + start % 5, 1 + start % 2) for start in range(100)]

    answers = await asyncio.gather(*(book(admin, item, s, u, quantity=q) for s, u, q in wanted))

    assert set(map(kind_or_status, answers)) == {(201, ""), (409, "reserved")}
    taken: set[tuple[int, int]] = set()
    for (since, until, _), answer in zip(wanted, answers, strict=True):
        if answer.status_code == 201:
            hours = {(unit, hour) for unit in answer.json()["unit_ids"] for hour in range(since, until)}
            assert not hours & taken
            taken |= hours
    for (since, until, quantity), answer in zip(wanted, answers, strict=True):
        if answer.status_code == 409:
            free = [unit for unit in units if not {(unit, hour) for hour in range(since, until)} & taken]
            assert len(free) < quantity
    assert await stock_adds_up(postgres, database)


# Set aside, waiting in line, passed on


async def test_what_starts_soon_is_set_aside(admin: Api, postgres: Postgres, database: str) -> None:
    item = (await admin.item(2))["id"]

    booked = created(await reserve(admin, item_id=item, starts_at=soon(0.5), ends_at=soon(5)))

    assert (booked["status"], booked["location_id"], booked["expires_at"]) == ("ready", 1, booked["ends_at"])
    assert await admin.available(item) == 1
    assert await stock_adds_up(postgres, database)


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
    assert await stock_adds_up(postgres, database)

    await cancel(admin, both)

    assert (await shown(admin, one))["unit_ids"] == units[:1]
    assert await admin.available(item) == 1
    assert await stock_adds_up(postgres, database)


async def test_a_hold_that_nobody_comes_for_passes_on(
    admin: Api, pod: Database, postgres: Postgres, database: str
) -> None:
    item = (await admin.item(1))["id"]
    first, second, third = [await wait(admin, item) for _ in range(3)]
    for late in (first, second):
        postgres.execute(EXPIRE, late["id"], database=database)
        await pass_on_all(pod)

    assert await statuses(admin, first, second, third) == ["expired", "expired", "ready"]
    assert await stock_adds_up(postgres, database)


BEGIN = "UPDATE reservations SET starts_at = now() - interval '1 second', set_aside_at = now() WHERE id = %s"
EXPIRE = "UPDATE reservations SET expires_at = now() - interval '1 second' WHERE id = %s"


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
    assert await stock_adds_up(postgres, database)
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
    assert await stock_adds_up(postgres, database)


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
    assert await stock_adds_up(postgres, database)


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


# Cancelled


async def test_a_reservation_is_cancelled_once_however_often_it_is_said(admin: Api) -> None:
    item = (await admin.item(1))["id"]
    reservation = created(await book(admin, item, 10, 12))

    first, second = await cancel(admin, reservation), await cancel(admin, reservation)

    assert (first.status_code, first.json()) == (200, second.json())
    assert first.json()["status"] == "cancelled"
    created(await book(admin, item, 10, 12))


async def test_what_is_over_is_not_cancelled(admin: Api, pod: Database, postgres: Postgres, database: str) -> None:
    reservation = await wait(admin, (await admin.item(1))["id"])
    postgres.execute(EXPIRE, reservation["id"], database=database)
    await pass_on_all(pod)

    assert kind(await cancel(admin, reservation)) == (409, "reservation-over")


# Becoming a loan


async def borrow(api: Api, reservation: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"reservation_id": reservation["id"], "due_at": soon(24), **more}
    return await api.post("/api/v1/loans", body, Idempotency_Key=uuid.uuid4().hex)


async def test_what_is_set_aside_becomes_a_loan(
    admin: Api, member: Api, postgres: Postgres, database: str, shelf: int
) -> None:
    item = (await admin.item(1))["id"]
    await receive(admin, item, 3, shelf)
    reservation, next_in_line = await wait(member, item, quantity=2), await wait(admin, item, quantity=3)
    assert (reservation["status"], reservation["location_id"]) == ("ready", shelf)

    loan = created(await borrow(member, reservation))

    assert (loan["item_id"], loan["quantity"], loan["location_id"]) == (item, 2, shelf)
    assert loan["user_id"] == reservation["user_id"]
    now = await shown(member, reservation)
    assert (now["status"], now["loan_id"]) == ("fulfilled", loan["id"])
    assert kind(await borrow(member, reservation)) == (409, "reservation-over")
    assert kind(await cancel(member, reservation)) == (409, "reservation-over")
    assert await stock_adds_up(postgres, database)
    await give_back(member, loan)
    assert await statuses(admin, next_in_line) == ["ready"]


async def test_units_that_are_set_aside_become_a_loan(admin: Api, postgres: Postgres, database: str) -> None:
    item, units = await units_item(admin, 3)
    created(await admin.check_out(item, unit_ids=units[:1]))
    reservation = created(await reserve(admin, item_id=item, quantity=2, starts_at=soon(0.5), ends_at=soon(5)))
    assert (reservation["status"], reservation["unit_ids"]) == ("ready", units[1:])

    loan = created(await borrow(admin, reservation))

    assert [each["unit_id"] for each in loan["units"]] == units[1:]
    assert (await shown(admin, reservation))["unit_ids"] == []
    assert await stock_adds_up(postgres, database)


async def test_what_is_set_aside_is_not_lent_to_others(admin: Api, member: Api) -> None:
    item, (unit, _) = await units_item(admin, 2)
    reservation = await wait(member, item)
    assert reservation["unit_ids"] == [unit]

    assert kind(await admin.check_out(item, unit_ids=[unit])) == (409, "reserved")
    created(await admin.check_out(item))
    assert kind(await admin.check_out(item)) == (409, "out-of-stock")
    created(await borrow(member, reservation))


async def test_a_reservation_becomes_the_loan_of_who_has_it_only(admin: Api, member: Api) -> None:
    item = (await admin.item(2))["id"]
    theirs, mine = await wait(admin, item), await wait(member, item)

    assert (await borrow(member, theirs)).status_code == 404
    assert created(await borrow(admin, mine))["user_id"] == mine["user_id"]


async def test_a_reserved_loan_may_not_last_into_another_reservation(
    admin: Api, postgres: Postgres, database: str
) -> None:
    item = (await admin.item(1))["id"]
    reservation = await wait(admin, item)
    created(await reserve(admin, item_id=item, starts_at=soon(72), ends_at=soon(80)))

    assert kind(await borrow(admin, reservation, due_at=soon(73))) == (409, "reserved")
    assert await statuses(admin, reservation) == ["ready"]
    created(await borrow(admin, reservation, due_at=soon(71)))
    assert await stock_adds_up(postgres, database)


async def test_what_is_not_ready_is_not_lent(admin: Api, postgres: Postgres, database: str) -> None:
    item = (await admin.item(1))["id"]
    booked, held, waiting = created(await book(admin, item, 50, 60)), await wait(admin, item), await wait(admin, item)
    late = await wait(admin, (await admin.item(1))["id"])
    postgres.execute(EXPIRE, late["id"], database=database)

    assert kind(await borrow(admin, booked)) == (409, "not-ready")
    assert kind(await borrow(admin, waiting)) == (409, "not-ready")
    assert kind(await borrow(admin, late)) == (409, "reservation-over")
    assert await statuses(admin, held) == ["ready"]


async def test_what_is_booked_for_now_is_lent_also_before_it_is_set_aside(
    admin: Api, postgres: Postgres, database: str
) -> None:
    item, (unit,) = await units_item(admin, 1)
    booked = created(await book(admin, item, 10, 12))
    postgres.execute(BEGIN, booked["id"], database=database)

    loan = created(await borrow(admin, booked))

    assert [each["unit_id"] for each in loan["units"]] == [unit]
    assert await statuses(admin, booked) == ["fulfilled"]
    assert await stock_adds_up(postgres, database)


async def test_another_unit_is_lent_where_the_one_set_aside_is_out_of_use(
    admin: Api, postgres: Postgres, database: str
) -> None:
    item, (first, second) = await units_item(admin, 2)
    reservation = await wait(admin, item)
    assert reservation["unit_ids"] == [first]
    await admin.post(f"/api/v1/units/{first}/state", {"state": "in-repair"})

    loan = created(await borrow(admin, reservation))

    assert [each["unit_id"] for each in loan["units"]] == [second]
    assert await stock_adds_up(postgres, database)


async def test_a_reservation_that_is_borrowed_by_many_requests_becomes_one_loan(
    admin: Api, postgres: Postgres, database: str
) -> None:
    reservation = await wait(admin, (await admin.item(5))["id"])

    answers = await asyncio.gather(*(borrow(admin, reservation) for _ in range(10)))

    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 9}
    assert await stock_adds_up(postgres, database)


@pytest.mark.parametrize("more", [{"item_id": 1}, {"quantity": 1}, {"user_id": 1}, {"unit_ids": [1]}])
async def test_a_reservation_says_what_is_lent(admin: Api, more: dict[str, Any]) -> None:
    assert (await borrow(admin, {"id": 1}, **more)).status_code == 422


# Rights and limits


async def test_a_member_reserves_for_themselves_and_sees_only_their_own(admin: Api, member: Api) -> None:
    item = (await admin.item(2))["id"]
    theirs = created(await book(admin, item, 10, 12))
    mine = created(await book(member, item, 10, 12))

    assert (await book(member, item, 13, 14, user_id=theirs["user_id"])).status_code == 403
    assert (await member.get(f"/api/v1/reservations/{theirs['id']}")).status_code == 404
    assert (await cancel(member, theirs)).status_code == 404
    assert [each["id"] for each in (await member.get("/api/v1/reservations")).json()["items"]] == [mine["id"]]
    answer = await member.get("/api/v1/reservations", params={"user_id": theirs["user_id"]})
    assert answer.status_code == 403


async def test_staff_reserve_and_cancel_for_others(admin: Api, member: Api) -> None:
    me = (await member.get("/api/v1/users/me")).json()["id"]
    item = (await admin.item(1))["id"]

    reservation = created(await book(admin, item, 10, 12, user_id=me))

    assert (reservation["user_id"], reservation["created_by"] != me) == (me, True)
    assert await statuses(member, reservation) == ["booked"]
    assert (await cancel(admin, reservation)).status_code == 200
    assert (await book(admin, item, 10, 12, user_id=999_999)).status_code == 404


async def test_the_policy_bounds_when_for_how_long_and_how_much(postgres: Postgres, database: str) -> None:
    settings = settings_for(
        postgres.url(database, SERVICE),
        reservation_max_days_ahead=7,
        reservation_max_days=2,
        reservations_per_person=2,
        reservation_hold_hours=3,
        reservation_lead_minutes=0,
    )
    async with running(settings) as app, client_of(app) as admin:
        await ready(admin)
        await admin.sign_in()
        item = (await admin.item(1))["id"]
        refused = [
            await reserve(admin, item_id=item, starts_at=soon(-1), ends_at=soon(1)),
            await reserve(admin, item_id=item, starts_at=soon(170), ends_at=soon(171)),
            await reserve(admin, item_id=item, starts_at=soon(1), ends_at=soon(50)),
        ]
        held = await wait(admin, item)
        booked = created(await reserve(admin, item_id=item, starts_at=soon(4), ends_at=soon(20)))
        refused.append(await reserve(admin, item_id=item))
        await cancel(admin, held)
        created(await reserve(admin, item_id=item))

    assert [kind(answer) for answer in refused] == [
        (422, "starts-in-the-past"),
        (422, "starts-too-late"),
        (422, "too-long"),
        (409, "too-many-reservations"),
    ]
    kept = datetime.fromisoformat(held["expires_at"]) - datetime.fromisoformat(held["starts_at"])
    assert (kept, booked["status"]) == (timedelta(hours=3), "booked")


async def test_of_many_at_once_no_more_are_made_than_a_person_may_have(postgres: Postgres, database: str) -> None:
    settings = settings_for(postgres.url(database, SERVICE), reservations_per_person=3)
    async with running(settings) as app, client_of(app) as admin:
        await ready(admin)
        await admin.sign_in()
        items = [(await admin.item(1))["id"] for _ in range(12)]

        answers = await asyncio.gather(*(book(admin, item, 10, 12) for item in items))

    assert Counter(answer.status_code for answer in answers) == {201: 3, 409: 9}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"item_id": 1, "unit_id": 1},
        {"item_id": 1, "starts_at": at(1)},
        {"item_id": 1, "ends_at": at(1)},
        {"item_id": 1, "starts_at": at(2), "ends_at": at(1)},
        {"item_id": 1, "starts_at": at(1), "ends_at": at(1)},
        {"item_id": 1, "quantity": 0},
        {"item_id": 1, "quantity": 1_000_001},
        {"item_id": 1, "unknown": 1},
        {"unit_id": 1},
        {"unit_id": 1, "quantity": 2, "starts_at": at(1), "ends_at": at(2)},
        {"item_id": 1, "starts_at": "2030-01-01T00:00:00", "ends_at": at(1)},
    ],
)
async def test_what_makes_no_sense_is_refused(anybody: Api, admin: Api, body: dict[str, Any]) -> None:
    assert (await reserve(admin, **body)).status_code == 422
    assert (await reserve(anybody, **body)).status_code == 401


async def test_what_is_not_there_is_not_found(admin: Api) -> None:
    item = (await admin.item(1))["id"]
    answers = [
        await book(admin, 999_999, 1, 2),
        await reserve(admin, unit_id=999_999, starts_at=at(1), ends_at=at(2)),
        await book(admin, item, 1, 2, location_id=999_999),
        await admin.get("/api/v1/reservations/999999"),
        await admin.post("/api/v1/reservations/999999/cancel"),
        await admin.get("/api/v1/items/999999/availability"),
    ]

    assert [answer.status_code for answer in answers] == [404] * 6


# Lists


async def test_reservations_are_listed_by_item_person_status_and_time(admin: Api, member: Api) -> None:
    item, other = (await admin.item(2))["id"], (await admin.item(1))["id"]
    first = created(await book(admin, item, 10, 12))
    second = created(await book(member, item, 12, 14))
    third = created(await book(admin, other, 10, 11))
    await cancel(admin, third)

    async def listed(**query: Any) -> list[int]:
        answer = await admin.get("/api/v1/reservations", params=query)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["items"]]

    everything = [first["id"], second["id"], third["id"]]
    assert await listed() == everything
    assert await listed(item_id=item) == everything[:2]
    assert await listed(user_id=second["user_id"]) == [second["id"]]
    assert await listed(status="cancelled") == [third["id"]]
    assert await listed(**{"from": at(12)}) == [second["id"]]
    assert await listed(until=at(12)) == [first["id"], third["id"]]
    page = (await admin.get("/api/v1/reservations", params={"limit": 2})).json()
    assert await listed(limit=2, cursor=page["next_cursor"]) == [third["id"]]


async def test_a_list_asks_the_database_as_often_for_many_as_for_few(admin: Api, pod: Database) -> None:
    item, _ = await units_item(admin, 8)
    statements: list[str] = []
    event.listen(pod.engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    counts = []
    for _ in range(2):
        for _ in range(6):
            await wait(admin, item)
        statements.clear()
        page = (await admin.get("/api/v1/reservations")).json()["items"]
        counts.append(len(statements))

    assert len(page) == 12
    assert counts[0] == counts[1]


async def test_those_for_whom_too_little_is_left_are_listed(
    admin: Api, pod: Database, postgres: Postgres, database: str
) -> None:
    fine, item, (units, (unit, _)) = (
        (await admin.item(1))["id"],
        (await admin.item(2))["id"],
        await units_item(admin, 2),
    )
    created(await book(admin, fine, 10, 12))
    overlapping = [created(await book(admin, item, *hours)) for hours in ((10, 12), (11, 13))]
    created(await book(admin, item, 20, 22))
    of_unit = created(await reserve(admin, unit_id=unit, starts_at=at(1), ends_at=at(2)))
    created(await book(admin, units, 1, 2))
    late = (await admin.item(1))["id"]
    loan = created(await admin.check_out(late, due_at=at(1)))
    awaited = created(await book(admin, late, 1, 2))

    async def at_risk() -> list[int]:
        answer = await admin.get("/api/v1/reservations", params={"at_risk": True})
        return [each["id"] for each in answer.json()["items"]]

    assert await at_risk() == []
    body = {"item_id": item, "quantity": 1, "location_id": 1, "reason": "broken"}
    created(await admin.post("/api/v1/stock/write-off", body, Idempotency_Key="gone"))
    await admin.post(f"/api/v1/units/{unit}/state", {"state": "in-repair"})
    postgres.execute("UPDATE loans SET due_at = now() WHERE id = %s", loan["id"], database=database)
    postgres.execute(BEGIN, awaited["id"], database=database)

    assert await at_risk() == [*(each["id"] for each in overlapping), of_unit["id"], awaited["id"]]


# Availability


async def test_the_availability_of_an_item_is_told_step_by_step(admin: Api, member: Api) -> None:
    item = (await admin.item(5))["id"]
    created(await admin.check_out(item, quantity=1, due_at=at(2)))
    created(await book(admin, item, 1, 4, quantity=2))
    created(await book(admin, item, 4, 5, quantity=2))

    answer = await member.get(f"/api/v1/items/{item}/availability", params={"from": at(0), "until": at(8)})

    told = answer.json()
    assert answer.status_code == 200, answer.text
    steps = [(moment(step["from"]), moment(step["until"]), step["available"]) for step in told["steps"]]
    assert steps == [(0, 1, 4), (1, 2, 2), (2, 5, 3), (5, 8, 5)]
    assert (told["item_id"], moment(told["from"]), moment(told["until"])) == (item, 0, 8)


def moment(time: str) -> float:
    return (datetime.fromisoformat(time) - MONDAY) / timedelta(hours=1)


async def test_the_availability_of_units_counts_those_in_use(admin: Api) -> None:
    item, (first, *_) = await units_item(admin, 3)
    created(await book(admin, item, 1, 2, quantity=2))
    await admin.post(f"/api/v1/units/{first}/state", {"state": "in-repair"})

    query = {"from": at(0), "until": at(3)}
    steps = (await admin.get(f"/api/v1/items/{item}/availability", params=query)).json()["steps"]

    assert [step["available"] for step in steps] == [2, 0, 2]


async def test_the_availability_is_told_from_now_on_and_for_a_month_if_nothing_is_said(admin: Api) -> None:
    item = (await admin.item(1))["id"]

    told = (await admin.get(f"/api/v1/items/{item}/availability", params={"from": "2020-01-01T00:00:00Z"})).json()

    since, until = datetime.fromisoformat(told["from"]), datetime.fromisoformat(told["until"])
    assert abs(since - datetime.now(UTC)) < timedelta(minutes=1)
    assert until - since == timedelta(days=30)
    assert [step["available"] for step in told["steps"]] == [1]


@pytest.mark.parametrize(
    "query", [{"until": at(-1000)}, {"from": at(2), "until": at(1)}, {"until": at(9000)}, {"x": 1}]
)
async def test_the_availability_is_told_for_a_year_at_most(admin: Api, query: dict[str, Any]) -> None:
    item = (await admin.item(1))["id"]

    assert (await admin.get(f"/api/v1/items/{item}/availability", params=query)).status_code == 422


async def test_very_many_steps_are_told_up_to_a_time(admin: Api, postgres: Postgres, database: str) -> None:
    item = (await admin.item(1))["id"]
    many = (
        "INSERT INTO reservations (item_id, user_id, quantity, status, starts_at, ends_at, set_aside_at, hold_seconds, "
        "created_by) SELECT %s, 1, 1, 'booked', at, at + interval '1 minute', at, 60, 1 "
        "FROM (SELECT %s::timestamptz + n * interval '3 minutes' AS at FROM generate_series(1, 400) AS n) AS times"
    )
    postgres.execute(many, item, at(0), database=database)

    told = (await admin.get(f"/api/v1/items/{item}/availability", params={"from": at(0), "until": at(48)})).json()

    assert len(told["steps"]) == 500
    assert told["steps"][-1]["until"] == told["until"] != at(48)
