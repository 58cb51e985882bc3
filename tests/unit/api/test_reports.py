from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inventory_api.reports.schemas import MAX_USE_DAYS, UseQuery
from inventory_api.reports.service import months
from pydantic import ValidationError

MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, st.timedeltas(timedelta(seconds=1), timedelta(days=MAX_USE_DAYS)))
def test_the_months_of_a_range_fill_it_without_a_gap_and_each_is_of_one_month(since: datetime, long: timedelta) -> None:
    found = list(months(since, since + long))

    assert (found[0][0], found[-1][1]) == (since, since + long)
    assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]
    assert all(start < end for start, end in found)
    assert all(
        (start.year, start.month) == ((end - timedelta.resolution).year, (end - timedelta.resolution).month)
        for start, end in found
    )
    assert len(found) <= MAX_USE_DAYS // 28


@pytest.mark.parametrize("days", [0, -1, MAX_USE_DAYS + 1])
def test_a_range_that_is_empty_or_too_long_is_refused(days: int) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValidationError, match="until must be after since"):
        UseQuery(since=since, until=since + timedelta(days=days))


def test_the_last_year_is_the_range_where_none_is_given() -> None:
    assert timedelta(days=364) < UseQuery().until - UseQuery().since < timedelta(days=366)
