from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from inventory_api.reservations.availability import steps_of

START = datetime(2030, 1, 1, tzinfo=UTC)
END = 30


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


@given(st.dictionaries(st.integers(1, END - 1), st.integers(0, 5)), st.integers(0, 5), st.integers(0, 5))
def test_the_steps_tell_every_hour_without_gap_or_repetition(changes: dict[int, int], first: int, owned: int) -> None:
    claimed = dict(sorted({0: first, **changes}.items()))

    steps = steps_of([(hour(at), count) for at, count in claimed.items()], hour(END), owned)

    told = [next(step.available for step in steps if step.since <= hour(at) < step.until) for at in range(END)]
    assert told == [max(0, owned - claimed[max(known for known in claimed if known <= at)]) for at in range(END)]
    assert (steps[0].since, steps[-1].until) == (hour(0), hour(END))
    for one, other in pairwise(steps):
        assert one.until == other.since
        assert one.available != other.available
