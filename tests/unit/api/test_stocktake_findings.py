"""What a count means: nothing that can't be told for certain is booked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inventory_api.stocktakes.findings import (
    TO_BE_CLEARED,
    CountedItem,
    CountedUnit,
    Finding,
    Whereabouts,
    of_item,
    of_unit,
)

MOST = 1000
HERE, ELSEWHERE, ON_LOAN, LOST, RETIRED = Whereabouts


@pytest.mark.parametrize(
    ("expected", "counted", "moved", "finding"),
    [
        (5, 5, False, Finding.MATCHES),
        (5, 6, False, Finding.MORE),
        (5, 4, False, Finding.FEWER),
        (0, 0, False, Finding.MATCHES),
        (5, 5, True, Finding.MOVED),
        (5, 4, True, Finding.MOVED),
        (5, 1001, False, Finding.TOO_MANY),
        (1001, 1001, False, Finding.MATCHES),
    ],
)
def test_a_quantity_is_compared_with_what_was_there_when_it_was_counted(
    expected: int, counted: int, moved: bool, finding: Finding
) -> None:
    assert of_item(CountedItem(expected, counted, moved), MOST) is finding


@pytest.mark.parametrize(
    ("seen", "moved", "now", "finding"),
    [
        (True, False, HERE, Finding.MATCHES),
        (True, False, ELSEWHERE, Finding.ELSEWHERE),
        (True, False, ON_LOAN, Finding.ON_LOAN),
        (True, False, LOST, Finding.LOST_BEFORE),
        (True, False, RETIRED, Finding.RETIRED),
        (True, True, HERE, Finding.MATCHES),
        (True, True, ON_LOAN, Finding.MATCHES),
        (True, True, ELSEWHERE, Finding.MOVED),
        (True, True, LOST, Finding.MOVED),
        (True, True, RETIRED, Finding.RETIRED),
        (False, False, HERE, Finding.MISSING),
        (False, True, HERE, Finding.MOVED),
        (False, False, ELSEWHERE, Finding.MATCHES),
        (False, True, ON_LOAN, Finding.MATCHES),
        (False, False, LOST, Finding.MATCHES),
    ],
)
def test_a_unit_is_taken_to_be_where_it_was_seen_unless_it_moved_since(
    seen: bool, moved: bool, now: Whereabouts, finding: Finding
) -> None:
    assert of_unit(CountedUnit(seen, moved, now)) is finding


@given(st.integers(0, 2 * MOST), st.integers(0, 2 * MOST))
def test_what_moved_while_it_was_counted_is_never_booked(expected: int, counted: int) -> None:
    assert of_item(CountedItem(expected, counted, moved=True), MOST) in TO_BE_CLEARED


@given(st.booleans(), st.sampled_from(Whereabouts))
def test_a_unit_that_moved_after_it_was_counted_is_neither_moved_nor_lost(seen: bool, now: Whereabouts) -> None:
    booked = {Finding.ELSEWHERE, Finding.MISSING, Finding.LOST_BEFORE}

    assert of_unit(CountedUnit(seen, moved=True, now=now)) not in booked
