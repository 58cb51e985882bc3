"""No moment is promised to more people than there are pieces: what the database itself holds, whoever writes to it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.integration.stores import SERVICE, Postgres

OWNED = 2
MINUTES = 8
# Far enough that none of these minutes comes while the test runs.
BASE = (datetime.now(UTC) + timedelta(days=7)).replace(second=0, microsecond=0)

BOOK = (
    "INSERT INTO reservations (item_id, user_id, quantity, status, starts_at, ends_at, set_aside_at, hold_seconds, "
    "created_by) VALUES (%(item)s, 1, %(quantity)s, 'booked', %(since)s, %(until)s, %(since)s, 3600, 1) RETURNING id"
)
SET_ASIDE = "UPDATE reservations SET status = 'ready', expires_at = ends_at, location_id = 1 WHERE id = %(id)s"
CANCEL = "UPDATE reservations SET status = 'cancelled', closed_at = now() WHERE id = %(id)s"
RESCHEDULE = (
    "UPDATE reservations SET starts_at = %(since)s, ends_at = %(until)s, quantity = %(quantity)s WHERE id = %(id)s"
)
LEND = (
    "INSERT INTO loans (item_id, user_id, quantity, lent_by, due_at, location_id) "
    "VALUES (%(item)s, 1, %(quantity)s, 1, %(until)s, 1) RETURNING id"
)
RENEW = "UPDATE loans SET due_at = %(until)s WHERE id = %(id)s"
RETURN_ONE = (
    "UPDATE loans SET returned = returned + 1, "
    "returned_at = CASE WHEN returned + 1 = quantity THEN now() END WHERE id = %(id)s"
)


@pytest.fixture(scope="module")
def cursor(postgres: Postgres) -> Iterator[Any]:
    database = postgres.migrated_database()
    user = "INSERT INTO users (email, name, role, password_hash) VALUES ('a@b.example', 'A', 'member', '')"
    postgres.execute(user, database=database)
    with postgres.connected(database, SERVICE) as cursor:
        yield cursor
    postgres.drop(database)


quantities = st.integers(1, OWNED + 1)
ends = st.integers(1, MINUTES)
spans = st.tuples(ends, ends).map(lambda pair: range(min(pair) - 1, max(pair)))


class Claim:
    """What somebody has of an item: how many, and in which minutes."""

    def __init__(self, identifier: int, quantity: int, minutes: range) -> None:
        self.identifier, self.quantity, self.minutes = identifier, quantity, minutes


class Claims(RuleBasedStateMachine):
    """People reserve and borrow one item; what they may is told by counting each minute by itself."""

    def __init__(self, cursor: Any) -> None:
        super().__init__()
        self.cursor = cursor
        self.item = new_item(cursor, OWNED)
        self.booked: list[Claim] = []
        self.ready: list[Claim] = []
        self.lent: list[Claim] = []

    @rule(minutes=spans, quantity=quantities)
    def book(self, minutes: range, quantity: int) -> None:
        self.add(self.booked, BOOK, quantity, minutes)

    @rule(end=ends, quantity=quantities)
    def lend(self, end: int, quantity: int) -> None:
        # More isn't on the shelf; that is for the ledger to refuse.
        if quantity + sum(claim.quantity for claim in self.lent) <= OWNED:
            self.add(self.lent, LEND, quantity, range(end))

    @precondition(lambda self: self.lent)
    @rule(data=st.data(), end=ends)
    def renew(self, data: st.DataObject, end: int) -> None:
        self.change(data.draw(st.sampled_from(self.lent)), RENEW, range(end))

    @precondition(lambda self: self.lent)
    @rule(data=st.data())
    def return_one(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.lent))
        assert did(self.cursor, RETURN_ONE, id=claim.identifier)
        claim.quantity -= 1
        self.lent = [claim for claim in self.lent if claim.quantity]

    @precondition(lambda self: self.booked)
    @rule(data=st.data())
    def set_aside(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.booked))
        if self.change(claim, SET_ASIDE, range(claim.minutes.stop)):
            self.booked.remove(claim)
            self.ready.append(claim)

    @precondition(lambda self: self.booked)
    @rule(data=st.data(), minutes=spans)
    def reschedule(self, data: st.DataObject, minutes: range) -> None:
        self.change(data.draw(st.sampled_from(self.booked)), RESCHEDULE, minutes)

    @precondition(lambda self: self.ready)
    @rule(data=st.data(), end=ends)
    def keep_for_another_time(self, data: st.DataObject, end: int) -> None:
        self.change(data.draw(st.sampled_from(self.ready)), RESCHEDULE, range(end))

    @precondition(lambda self: self.booked or self.ready)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.booked + self.ready))
        assert did(self.cursor, CANCEL, id=claim.identifier)
        (self.booked if claim in self.booked else self.ready).remove(claim)

    @invariant()
    def is_told_as_it_is(self) -> None:
        until = BASE + timedelta(minutes=MINUTES)
        self.cursor.execute("SELECT at, claimed FROM claimed_over_time(%s, %s, %s)", (self.item, BASE, until))
        changes = [((at - BASE) / timedelta(minutes=1), claimed) for at, claimed in self.cursor.fetchall()]
        told = [max(change for change in changes if change[0] <= minute)[1] for minute in range(MINUTES)]
        assert told == counted(self.all())

    def add(self, claims: list[Claim], statement: str, quantity: int, minutes: range) -> None:
        claim = Claim(0, quantity, minutes)
        accepted = did(self.cursor, statement, item=self.item, quantity=quantity, **dates(minutes))
        assert accepted == fits([*self.all(), claim])
        if accepted:
            claim.identifier = self.cursor.fetchone()[0]
            claims.append(claim)

    def change(self, claim: Claim, statement: str, minutes: range) -> bool:
        before, claim.minutes = claim.minutes, minutes
        accepted = did(self.cursor, statement, id=claim.identifier, quantity=claim.quantity, **dates(minutes))
        assert accepted == fits(self.all())
        if not accepted:
            claim.minutes = before
        return accepted

    def all(self) -> list[Claim]:
        return [*self.booked, *self.ready, *self.lent]


def test_the_database_counts_what_is_claimed_in_each_minute(cursor: Any) -> None:
    class OfThisDatabase(Claims):
        def __init__(self) -> None:
            super().__init__(cursor)

    run_state_machine_as_test(OfThisDatabase, settings=settings(max_examples=60, stateful_step_count=25, deadline=None))


def counted(claims: list[Claim]) -> list[int]:
    return [sum(claim.quantity for claim in claims if minute in claim.minutes) for minute in range(MINUTES)]


def fits(claims: list[Claim]) -> bool:
    return max(counted(claims)) <= OWNED


def dates(minutes: range) -> dict[str, datetime]:
    return {"since": BASE + timedelta(minutes=minutes.start), "until": BASE + timedelta(minutes=minutes.stop)}


def did(cursor: Any, statement: str, **values: Any) -> bool:
    try:
        cursor.execute(statement, values)
    except psycopg2.Error as error:
        if error.pgcode != "RV001":
            raise
        return False
    return True


def new_item(cursor: Any, owned: int, tracking: str = "quantity") -> int:
    cursor.execute(
        "INSERT INTO items (name, sku, quantity, tracking) VALUES ('a', gen_random_uuid(), %s, %s) RETURNING id",
        (owned, tracking),
    )
    return int(cursor.fetchone()[0])


@pytest.fixture
def unit(cursor: Any) -> int:
    item = new_item(cursor, 0, "units")
    cursor.execute("INSERT INTO units (item_id, serial, location_id) VALUES (%s, '1', 1) RETURNING id", (item,))
    return int(cursor.fetchone()[0])


@pytest.fixture
def reservation(cursor: Any) -> int:
    cursor.execute(BOOK, {"item": new_item(cursor, 1), "quantity": 1, **dates(range(30))})
    return int(cursor.fetchone()[0])


def book_unit(cursor: Any, unit: int, reservation: int, minutes: range) -> None:
    cursor.execute(
        "INSERT INTO unit_bookings (unit_id, reservation_id, during) VALUES (%s, %s, tstzrange(%s, %s))",
        (unit, reservation, *dates(minutes).values()),
    )


def lend_unit(cursor: Any, unit: int, minutes: range) -> int:
    cursor.execute("SELECT item_id FROM units WHERE id = %s", (unit,))
    cursor.execute(LEND, {"item": cursor.fetchone()[0], "quantity": 1, **dates(minutes)})
    loan = int(cursor.fetchone()[0])
    cursor.execute("INSERT INTO loan_units (loan_id, unit_id) VALUES (%s, %s)", (loan, unit))
    return loan


def test_a_unit_is_never_booked_by_two_for_the_same_moment(cursor: Any, unit: int, reservation: int) -> None:
    book_unit(cursor, unit, reservation, range(10, 20))
    for minutes in (range(19, 25), range(5, 11), range(12, 13), range(5, 25), range(10, 20)):
        with pytest.raises(psycopg2.errors.ExclusionViolation):
            book_unit(cursor, unit, reservation, minutes)
    book_unit(cursor, unit, reservation, range(20, 25))
    book_unit(cursor, unit, reservation, range(5, 10))


def test_a_loan_books_its_unit_until_it_is_due(cursor: Any, unit: int, reservation: int) -> None:
    book_unit(cursor, unit, reservation, range(10, 20))

    with pytest.raises(psycopg2.errors.ExclusionViolation):
        lend_unit(cursor, unit, range(11))
    loan = lend_unit(cursor, unit, range(8))
    with pytest.raises(psycopg2.errors.ExclusionViolation):
        book_unit(cursor, unit, reservation, range(7, 9))
    with pytest.raises(psycopg2.errors.ExclusionViolation):
        cursor.execute(RENEW, {"id": loan, **dates(range(12))})
    cursor.execute(RENEW, {"id": loan, **dates(range(10))})
    with pytest.raises(psycopg2.errors.ExclusionViolation):
        book_unit(cursor, unit, reservation, range(9, 10))


@pytest.mark.parametrize(
    "end",
    [
        "UPDATE loan_units SET returned_at = now() WHERE loan_id = %s",
        "UPDATE loan_units SET lost = true WHERE loan_id = %s",
    ],
)
def test_a_unit_that_is_back_or_lost_is_booked_no_more(cursor: Any, unit: int, reservation: int, end: str) -> None:
    loan = lend_unit(cursor, unit, range(10))

    cursor.execute(end, (loan,))

    book_unit(cursor, unit, reservation, range(5, 15))


def test_a_reservation_that_ends_frees_its_unit(cursor: Any, unit: int, reservation: int) -> None:
    book_unit(cursor, unit, reservation, range(10, 20))

    cursor.execute(CANCEL, {"id": reservation})

    cursor.execute("SELECT count(*) FROM unit_bookings WHERE unit_id = %s", (unit,))
    assert cursor.fetchone() == (0,)


@pytest.mark.parametrize("during", ["empty", "(2030-01-01,2030-01-02)", "[2030-01-01,2030-01-02]", "[2030-01-01,)"])
def test_a_booking_is_from_one_moment_until_before_another(
    cursor: Any, unit: int, reservation: int, during: str
) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation):
        cursor.execute(
            "INSERT INTO unit_bookings (unit_id, reservation_id, during) VALUES (%s, %s, %s)",
            (unit, reservation, during),
        )


def test_what_is_set_aside_is_claimed_before_its_time_too_and_for_no_longer(cursor: Any) -> None:
    item = new_item(cursor, 1)
    assert did(cursor, BOOK, item=item, quantity=1, **dates(range(10, 20)))
    reservation = cursor.fetchone()[0]
    assert did(cursor, SET_ASIDE, id=reservation)

    assert not did(cursor, LEND, item=item, quantity=1, **dates(range(5)))
    assert did(cursor, BOOK, item=item, quantity=1, **dates(range(20, 30)))
    assert not did(cursor, RESCHEDULE, id=reservation, quantity=1, **dates(range(10, 25)))


def test_what_is_claimed_already_is_kept_when_stock_leaves(cursor: Any) -> None:
    item = new_item(cursor, 2)
    assert did(cursor, BOOK, item=item, quantity=1, **dates(range(10, 20)))
    assert did(cursor, BOOK, item=item, quantity=1, **dates(range(10, 20)))
    reservation = cursor.fetchone()[0]
    cursor.execute(
        "INSERT INTO stock_entries (item_id, location_id, kind, on_hand) VALUES (%s, 1, 'write-off', -1)", (item,)
    )

    assert did(cursor, SET_ASIDE, id=reservation)
    assert did(cursor, RESCHEDULE, id=reservation, quantity=1, **dates(range(12, 18)))
    assert not did(cursor, BOOK, item=item, quantity=1, **dates(range(9, 10)))


def test_an_overdue_loan_is_expected_back_at_any_moment(cursor: Any) -> None:
    item = new_item(cursor, 1)
    cursor.execute(LEND, {"item": item, "quantity": 1, "until": datetime.now(UTC) - timedelta(days=1)})

    assert did(cursor, BOOK, item=item, quantity=1, **dates(range(10, 20)))


def test_what_concurrent_callers_claim_is_counted_too(postgres: Postgres, cursor: Any) -> None:
    item = new_item(cursor, 1)
    database = cursor.connection.info.dbname
    values = {"item": item, "quantity": 1, **dates(range(30))}
    with postgres.connected(database, SERVICE) as first, postgres.connected(database, SERVICE) as second:
        first.execute("BEGIN")
        first.execute(LEND, values)
        second.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            second.execute(BOOK, values)
        first.execute("COMMIT")
        assert not did(second, BOOK, **values)
