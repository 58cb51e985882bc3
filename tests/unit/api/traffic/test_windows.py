"""Counting within a time, in one pod."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inventory_api.traffic import windows
from inventory_api.traffic.windows import LocalWindows, Policy

FIVE = Policy("writes", 5, 60)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("inventory_api.traffic.windows.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def admitted(local: LocalWindows, caller: str, times: int) -> int:
    return sum(local.take(FIVE, caller).admitted for _ in range(times))


def test_so_many_are_admitted_and_no_more(clock: Clock) -> None:
    local = LocalWindows()

    counts = [local.take(FIVE, "a") for _ in range(6)]

    assert [count.remaining for count in counts] == [4, 3, 2, 1, 0, 0]
    assert [count.admitted for count in counts] == [True] * 5 + [False]
    assert counts[-1].reset == 60


def test_when_the_time_is_over_it_begins_anew(clock: Clock) -> None:
    local = LocalWindows()
    admitted(local, "a", 9)
    clock.now += 59.9
    before = local.take(FIVE, "a")
    clock.now += 0.1

    assert (before.admitted, admitted(local, "a", 9)) == (False, 5)


def test_callers_and_kinds_do_not_count_for_one_another(clock: Clock) -> None:
    local = LocalWindows()
    admitted(local, "a", 9)

    assert local.take(FIVE, "b").admitted
    assert local.take(Policy("reads", 5, 60), "a").admitted


def test_who_is_forgotten_begins_anew(clock: Clock) -> None:
    local = LocalWindows()
    admitted(local, "a", 9)

    local.forget(FIVE, "a")

    assert admitted(local, "a", 9) == 5


def test_memory_is_bounded_however_many_callers_come(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "CALLERS", 10)
    local = LocalWindows()
    admitted(local, "first", 9)

    for number in range(9):
        local.take(FIVE, str(number))
    kept = local.take(FIVE, "first").admitted
    for number in range(10):
        local.take(FIVE, str(number))

    assert (kept, local.take(FIVE, "first").admitted) == (False, True)


@given(
    amount=st.integers(1, 1000),
    before=st.integers(0, 1000),
    before_left=st.integers(0, 60_000),
    now=st.integers(0, 1000),
    now_left=st.integers(0, 120_000),
)
def test_what_is_left_and_when_there_is_more_stay_within_the_policy(
    amount: int, before: int, before_left: int, now: int, now_left: int
) -> None:
    count = windows._count(Policy("x", amount, 60), True, before, before_left, now, now_left)

    assert 0 <= count.remaining <= amount
    assert 0 <= count.reset <= 60
