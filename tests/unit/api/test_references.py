import pytest
from inventory_api.fields import MAX_ID
from inventory_api.references import Kind, read_reference, reference


@pytest.mark.parametrize("kind", ["item", "unit", "location"])
@pytest.mark.parametrize("identifier", [1, 12, MAX_ID])
def test_a_reference_is_read_as_what_it_was_made_of(kind: Kind, identifier: int) -> None:
    assert read_reference(reference(kind, identifier)) == (kind, identifier)
    assert read_reference(f" {reference(kind, identifier).upper()}\n") == (kind, identifier)


@pytest.mark.parametrize(
    "text",
    ["", "12", "inv:item:", "inv:item:0", "inv:item:-1", "inv:user:1", f"inv:item:{MAX_ID + 1}", "inv:item:1\u0662"],
)
def test_anything_else_is_none(text: str) -> None:
    assert read_reference(text) is None
