import pytest
from hypothesis import given
from hypothesis import strategies as st
from inventory_api.migrations.rule import DatabaseSchema, ImageSchema, abbreviated, objections, spelled_out

EXPAND = tuple(f"{number:04}" for number in range(1, 6))
CONTRACT = tuple(f"c{number:04}" for number in range(1, 6))


def beginning_of(line: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.integers(0, len(line)).map(lambda length: line[:length])


databases = st.builds(DatabaseSchema, beginning_of(EXPAND), beginning_of(CONTRACT))
images = st.builds(ImageSchema, beginning_of(EXPAND), beginning_of(CONTRACT), beginning_of(CONTRACT))


@given(images, databases)
def test_a_release_runs_exactly_where_it_has_what_it_needs_and_knows_what_was_removed(
    image: ImageSchema, database: DatabaseSchema
) -> None:
    runs = (
        len(image.expand) <= len(database.expand)
        and len(database.contract) <= len(image.contract)
        and len(image.required_contract) <= len(database.contract)
    )

    assert (not objections(image, database)) == runs


@given(images, databases, beginning_of(EXPAND))
def test_more_expand_migrations_never_hinder_a_release(
    image: ImageSchema, database: DatabaseSchema, more: tuple[str, ...]
) -> None:
    expanded = DatabaseSchema(max(database.expand, more, key=len), database.contract)

    assert len(objections(image, expanded)) <= len(objections(image, database))


@given(images, databases)
def test_each_revision_in_the_way_is_named(image: ImageSchema, database: DatabaseSchema) -> None:
    said = " ".join(objections(image, database))
    in_the_way = {
        *set(image.expand).difference(database.expand),
        *set(database.contract).difference(image.contract),
        *set(image.required_contract).difference(database.contract),
    }

    assert all(revision in said for revision in in_the_way)
    assert bool(said) == bool(in_the_way)


def test_an_objection_is_a_sentence() -> None:
    image = ImageSchema(("0001", "0002"), ())
    database = DatabaseSchema(("0001",), ("c0001",))

    assert objections(image, database) == (
        "The expand migration 0002 is not applied, and this release needs it.",
        "The contract migration c0001 is applied, and this release does not know it: it may use what was removed.",
    )


near_one_another = st.integers(0, 30) | st.integers(9990, 9999) | st.integers(0, 9999)
revisions = st.lists(st.builds("{}{:04}".format, st.sampled_from(["", "c", "other"]), near_one_another))


@given(revisions | revisions.map(sorted))
def test_revisions_are_read_as_they_were_written_abbreviated_or_not(written: list[str]) -> None:
    assert spelled_out(abbreviated(written)) == tuple(written)
    assert spelled_out(" ".join(written)) == tuple(written)


def test_revisions_in_a_row_are_abbreviated() -> None:
    assert abbreviated(["0001", "0002", "0003", "0005", "c0001", "c0002"]) == "0001..0003 0005 c0001..c0002"


@pytest.mark.parametrize(
    "text", ["0003..0001", "0001..0001", "0001..c0002", "..", "1..2", "0001..99999", "0001..0002.."]
)
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no range"):
        spelled_out(text)
