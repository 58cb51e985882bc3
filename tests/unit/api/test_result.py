import json

from hypothesis import given
from hypothesis import strategies as st
from inventory_api.migrations.result import Result


@given(st.text(max_size=3000))
def test_a_result_is_one_line_of_json_with_the_whole_error(error: str) -> None:
    line = Result("failed", error=error).line()

    assert "\n" not in line
    assert json.loads(line)["error"] == error


@given(st.text(min_size=1, max_size=3000), st.integers(300, 5000))
def test_a_short_result_fits_and_keeps_the_beginning_of_the_error(error: str, limit: int) -> None:
    line = Result("failed", error=error).short_line(limit)

    assert len(line.encode()) <= limit
    kept = json.loads(line)["error"]
    assert error.startswith(kept.removesuffix("…"))
