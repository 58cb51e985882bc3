"""How many requests are let in while the event loop keeps up, and while it does not."""

from hypothesis import given
from hypothesis import strategies as st
from inventory_api.traffic.overload import Saturation

LATE, IN_TIME = 0.5, 0.01


def after(*samples: tuple[float, float], most: int = 200) -> int:
    """The limit after these looks, each (late by, at)."""
    saturation = Saturation(most, 0.25)
    for lateness, now in samples:
        saturation.observe(lateness, now)
    return saturation.limit


def test_all_are_let_in_that_may_be_while_the_loop_keeps_up() -> None:
    assert after((IN_TIME, 0), (IN_TIME, 0.1)) == 200


def test_one_late_moment_is_no_queue() -> None:
    assert after((5.0, 0), (IN_TIME, 5), (5.0, 10), (IN_TIME, 15)) == 200


def test_a_delay_that_stands_lets_fewer_and_fewer_in() -> None:
    samples = [(LATE, number * 0.6) for number in range(40)]

    assert after(*samples[:2]) == 200
    assert after(*samples[:3]) == 150
    assert after(*samples[:4]) == 112
    assert after(*samples) == 8


def test_when_it_keeps_up_again_the_limit_comes_back() -> None:
    late = [(LATE, number * 0.6) for number in range(40)]
    in_time = [(IN_TIME, 100 + number * 0.1) for number in range(20)]

    assert after(*late, *in_time[:1]) == 18
    assert after(*late, *in_time) == 200


def test_a_service_that_is_drained_lets_all_in_again() -> None:
    saturation = Saturation(200, 0.25)
    for number in range(40):
        saturation.observe(LATE, number * 0.6)

    saturation.drained()

    assert saturation.limit == 200


@given(most=st.integers(8, 10_000), looks=st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 10))))
def test_the_limit_stays_between_the_least_and_the_most(most: int, looks: list[tuple[float, float]]) -> None:
    saturation, now = Saturation(most, 0.25), 0.0
    for lateness, apart in looks:
        now += apart
        saturation.observe(lateness, now)
        assert 8 <= saturation.limit <= most
