import pytest
from hypothesis import given
from hypothesis import strategies as st
from inventory_api.transfer.paths import join_path, split_path
from inventory_api.trees.service import MAX_DEPTH

names = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=30).map(str.strip).filter(bool)


@given(st.lists(names, min_size=1, max_size=MAX_DEPTH))
def test_any_names_make_a_path_that_has_them(wanted: list[str]) -> None:
    assert split_path(join_path(wanted)) == tuple(wanted)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("Tools", ("Tools",)),
        (" Tools / Power tools ", ("Tools", "Power tools")),
        (r"AC\/DC", ("AC/DC",)),
        (r"a\\/b", ("a\\", "b")),
        (r"C:\tools", (r"C:\tools",)),
        ("a\\", ("a\\",)),
    ],
)
def test_a_path_is_read(text: str, path: tuple[str, ...]) -> None:
    assert split_path(text) == path


@pytest.mark.parametrize(
    "text", ["", " ", "/", "/a", "a/", "a//b", "a\0", "x" * 201, "/".join("a" * (MAX_DEPTH + 1)), "a" * 10_001]
)
def test_a_path_has_bounds(text: str) -> None:
    with pytest.raises(ValueError, match="has"):
        split_path(text)
