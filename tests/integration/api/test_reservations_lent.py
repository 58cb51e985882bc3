"""What is reserved becomes a loan."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.integration.api.reserving import (
    BEGIN,
    EXPIRE,
    PATIENT,
    book,
    borrow,
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
from tests.integration.api.services import Api, created, the_ledger_holds
from tests.integration.stores import Postgres

pytestmark = PATIENT


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
    assert await the_ledger_holds(postgres, database)
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
    assert await the_ledger_holds(postgres, database)


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
    assert await the_ledger_holds(postgres, database)


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
    assert await the_ledger_holds(postgres, database)


async def test_another_unit_is_lent_where_the_one_set_aside_is_out_of_use(
    admin: Api, postgres: Postgres, database: str
) -> None:
    item, (first, second) = await units_item(admin, 2)
    reservation = await wait(admin, item)
    assert reservation["unit_ids"] == [first]
    await admin.post(f"/api/v1/units/{first}/state", {"state": "in-repair"})

    loan = created(await borrow(admin, reservation))

    assert [each["unit_id"] for each in loan["units"]] == [second]
    assert await the_ledger_holds(postgres, database)


async def test_a_reservation_that_is_borrowed_by_many_requests_becomes_one_loan(
    admin: Api, postgres: Postgres, database: str
) -> None:
    reservation = await wait(admin, (await admin.item(5))["id"])

    answers = await asyncio.gather(*(borrow(admin, reservation) for _ in range(10)))

    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 9}
    assert await the_ledger_holds(postgres, database)


@pytest.mark.parametrize("more", [{"item_id": 1}, {"quantity": 1}, {"user_id": 1}, {"unit_ids": [1]}])
async def test_a_reservation_says_what_is_lent(admin: Api, more: dict[str, Any]) -> None:
    assert (await borrow(admin, {"id": 1}, **more)).status_code == 422
