"""Booked for dates: what is promised to one is refused to others for that time."""

import asyncio
from functools import partial
from typing import Any

import httpx

from tests.integration.api.reserving import (
    PATIENT,
    at,
    book,
    borrow,
    give_back,
    kind,
    reserve,
    units_item,
    wait,
)
from tests.integration.api.services import Api, created, insist, the_ledger_holds
from tests.integration.stores import Postgres

pytestmark = PATIENT


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

    answers = await asyncio.gather(*(insist(partial(book, admin, item, s, u, quantity=q)) for s, u, q in wanted))

    assert set(map(kind_or_status, answers)) == {(201, ""), (409, "reserved")}
    taken = [0] * 40
    for (since, until, quantity), answer in zip(wanted, answers, strict=True):
        if answer.status_code == 201:
            taken = [n + quantity if since <= hour < until else n for hour, n in enumerate(taken)]
    assert max(taken) <= owned
    for (since, until, quantity), answer in zip(wanted, answers, strict=True):
        if answer.status_code == 409:
            assert max(taken[since:until]) + quantity > owned
    assert await the_ledger_holds(postgres, database)


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

    answers = await asyncio.gather(*(insist(partial(mixed, number)) for number in range(100)))

    refusals = {kind(answer) for answer in answers if answer.status_code not in (200, 201)}
    assert refusals <= {(409, "reserved"), (409, "out-of-stock"), (409, "reservation-over")}
    busiest = "SELECT max(claimed) FROM claimed_over_time(%s, now(), 'infinity')"
    assert postgres.execute(busiest, item, database=database)[0][0] <= owned
    assert await the_ledger_holds(postgres, database)


async def test_of_a_hundred_callers_none_is_promised_a_unit_that_another_has(
    admin: Api, postgres: Postgres, database: str
) -> None:
    item, units = await units_item(admin, 4)
    wanted = [(start % 17, start % 17 + 1 + start % 5, 1 + start % 2) for start in range(100)]

    answers = await asyncio.gather(*(insist(partial(book, admin, item, s, u, quantity=q)) for s, u, q in wanted))

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
    assert await the_ledger_holds(postgres, database)
