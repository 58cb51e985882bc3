"""The first release writes figures itself. It may serve beside this one, and come back after it: its own statements."""

from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from inventory_api.database import Database
from inventory_api.reservations.service import pass_on_all

from tests.integration.api.services import Api, created, settings_for, the_ledger_holds
from tests.integration.api.test_stock import levels
from tests.integration.stores import SERVICE, Postgres

NEW_ITEM = "INSERT INTO items (name, sku, quantity) VALUES ('Saw', %s, %s) RETURNING id"
TAKE = "UPDATE items SET on_loan = on_loan + %s WHERE id = %s AND quantity - on_loan >= %s RETURNING id"
LEND = (
    "INSERT INTO loans (item_id, user_id, quantity, lent_by, due_at) "
    "VALUES (%s, 1, %s, 1, now() + interval '1 day') RETURNING id"
)
CLOSE = "UPDATE loans SET returned_at = now() WHERE id = %s AND returned_at IS NULL RETURNING quantity, item_id"
PUT_BACK = "UPDATE items SET on_loan = on_loan - %s WHERE id = %s"


class OldRelease:
    def __init__(self, postgres: Postgres, database: str) -> None:
        self._postgres, self._database = postgres, database

    def item(self, quantity: int) -> int:
        with self._postgres.connected(self._database, SERVICE) as cursor:
            cursor.execute(NEW_ITEM, (f"old-{quantity}", quantity))
            return int(cursor.fetchone()[0])

    def lend(self, item: int, quantity: int) -> int:
        with self._postgres.connected(self._database, SERVICE) as cursor:
            cursor.execute("BEGIN")
            cursor.execute(TAKE, (quantity, item, quantity))
            assert cursor.fetchone()
            cursor.execute(LEND, (item, quantity))
            loan = int(cursor.fetchone()[0])
            cursor.execute("COMMIT")
            return loan

    def take_back(self, loan: int) -> None:
        with self._postgres.connected(self._database, SERVICE) as cursor:
            cursor.execute("BEGIN")
            cursor.execute(CLOSE, (loan,))
            quantity, item = cursor.fetchone()
            cursor.execute(PUT_BACK, (quantity, item))
            cursor.execute("COMMIT")


@pytest.fixture
def old(postgres: Postgres, database: str) -> OldRelease:
    return OldRelease(postgres, database)


async def test_what_the_old_release_adds_and_lends_is_in_the_ledger(
    admin: Api, old: OldRelease, postgres: Postgres, database: str
) -> None:
    item = old.item(5)
    loan = old.lend(item, 2)
    assert await levels(admin, item) == {1: (3, 2, 3)}

    shown = (await admin.get(f"/api/v1/loans/{loan}")).json()
    assert (shown["location_id"], shown["outstanding"]) == (1, 2)
    old.take_back(loan)
    assert (await admin.get(f"/api/v1/loans/{loan}")).json()["outstanding"] == 0
    assert await levels(admin, item) == {1: (5, 0, 5)}
    assert await the_ledger_holds(postgres, database)


async def test_each_release_takes_back_what_the_other_has_lent(
    admin: Api, old: OldRelease, postgres: Postgres, database: str
) -> None:
    item = old.item(5)
    theirs = old.lend(item, 1)
    ours = created(await admin.check_out(item, quantity=3))["id"]
    await admin.post(f"/api/v1/loans/{ours}/return", {"quantity": 1}, Idempotency_Key="part")
    created(await admin.check_out(item))

    old.take_back(ours)
    assert (await admin.post(f"/api/v1/loans/{theirs}/return")).json()["outstanding"] == 0

    assert await levels(admin, item) == {1: (4, 1, 4)}
    assert await the_ledger_holds(postgres, database)


async def test_the_old_release_takes_from_a_location_that_has_enough(
    admin: Api, old: OldRelease, postgres: Postgres, database: str
) -> None:
    item = old.item(2)
    shelf = postgres.execute("INSERT INTO locations (name) VALUES ('Shelf') RETURNING id", database=database)[0][0]
    body = {"item_id": item, "quantity": 5, "location_id": shelf}
    created(await admin.post("/api/v1/stock/receive", body, Idempotency_Key="r"))

    loan = old.lend(item, 4)
    assert await levels(admin, item) == {1: (2, 0, 2), shelf: (1, 4, 1)}
    old.take_back(loan)
    assert await levels(admin, item) == {1: (2, 0, 2), shelf: (5, 0, 5)}


async def test_what_the_old_release_cannot_know_of_it_is_told_to_try_later(admin: Api, old: OldRelease) -> None:
    item = (await admin.item(0, tracking="units"))["id"]
    created(await admin.post(f"/api/v1/items/{item}/units", {"serial": "1"}, Idempotency_Key="u"))

    with pytest.raises(psycopg2.errors.LockNotAvailable, match="knows nothing of units"):
        old.lend(item, 1)


async def test_the_old_release_lends_what_is_reserved_for_later_and_is_told_to_try_later_for_the_rest(
    admin: Api, old: OldRelease, postgres: Postgres, database: str
) -> None:
    item = old.item(3)
    for hours, quantity in (((12, 14), 2), ((48, 50), 3)):
        since, until = ((datetime.now(UTC) + timedelta(hours=hour)).isoformat() for hour in hours)
        body = {"item_id": item, "quantity": quantity, "starts_at": since, "ends_at": until}
        created(await admin.post("/api/v1/reservations", body, Idempotency_Key=f"{quantity}"))

    loan = old.lend(item, 1)
    with pytest.raises(psycopg2.errors.LockNotAvailable, match="3 are owned"):
        old.lend(item, 1)
    old.take_back(loan)
    old.lend(item, 1)

    assert await the_ledger_holds(postgres, database)


async def test_the_old_release_does_not_lend_what_is_set_aside(
    admin: Api, old: OldRelease, postgres: Postgres, database: str
) -> None:
    item = old.item(1)
    created(await admin.post("/api/v1/reservations", {"item_id": item}, Idempotency_Key="r"))

    with pytest.raises(psycopg2.errors.LockNotAvailable, match="is reserved"):
        old.lend(item, 1)


async def test_what_the_old_release_takes_back_goes_to_who_waits(
    admin: Api, old: OldRelease, postgres: Postgres, database: str
) -> None:
    item = old.item(1)
    loan = old.lend(item, 1)
    waiting = created(await admin.post("/api/v1/reservations", {"item_id": item}, Idempotency_Key="r"))
    assert waiting["status"] == "waiting"

    old.take_back(loan)
    pod = Database(settings_for(postgres.url(database, SERVICE)))
    await pass_on_all(pod)
    await pod.close()

    assert (await admin.get(f"/api/v1/reservations/{waiting['id']}")).json()["status"] == "ready"
