import json

from hypothesis import given
from hypothesis import strategies as st
from inventory_api.migrations.result import TERMINATION_MESSAGE_BYTES, Result
from inventory_api.migrations.rule import DatabaseSchema, ImageSchema, spelled_out


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


def line_of(prefix: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.integers(0, 2000).map(lambda last: tuple(f"{prefix}{number:04}" for number in range(1, last + 1)))


images = st.builds(ImageSchema, line_of(""), line_of("c"))
databases = st.builds(DatabaseSchema, line_of(""), line_of("c"))


@given(images, databases, line_of(""), line_of("c"), st.text(max_size=3000))
def test_a_short_result_fits_and_keeps_each_revision_however_many_there_are(
    image: ImageSchema,
    database: DatabaseSchema,
    applied: tuple[str, ...],
    reverted: tuple[str, ...],
    error: str,
) -> None:
    line = Result("failed", image, database, applied, reverted, error).short_line()

    assert len(line.encode()) <= TERMINATION_MESSAGE_BYTES
    said = json.loads(line)
    assert spelled_out(said["expand"]["image"]) == image.expand
    assert spelled_out(said["expand"]["schema"]) == database.expand
    assert spelled_out(said["contract"]["image"]) == image.contract
    assert spelled_out(said["contract"]["schema"]) == database.contract
    assert (spelled_out(said["applied"]), spelled_out(said["reverted"])) == (applied, reverted)
    assert error.startswith(said["error"].removesuffix("…"))


@given(st.integers(1, 100), st.text(max_size=3000))
def test_revisions_that_leave_room_enough_are_not_abbreviated(last: int, error: str) -> None:
    expand = tuple(f"{number:04}" for number in range(1, last + 1))

    line = Result("failed", ImageSchema(expand, ()), DatabaseSchema(expand, ()), error=error).short_line()

    assert json.loads(line)["expand"] == {"image": " ".join(expand), "schema": " ".join(expand)}
