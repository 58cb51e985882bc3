"""The page for operators says of every setting what it is."""

import re
from pathlib import Path
from typing import Any

import pytest
from inventory_api.secret_files import is_secret
from inventory_api.settings import ServiceSettings
from pydantic.fields import FieldInfo

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"
# name: (default, about it)
ROWS = {
    name: (default, about)
    for name, default, about in re.findall(
        r"^\| `INVENTORY_(\w+)` \| (.*?) \| (.*) \|$", PAGE.read_text(), re.MULTILINE
    )
}


def written(field: FieldInfo) -> str:
    """A default as the page writes it."""
    if field.default_factory:
        return "the package's"
    default: Any = field.default
    if field.is_required():
        return "required"
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, float):
        return f"{default:g}"
    return ",".join(default) or "none" if isinstance(default, tuple) else str(default or "none").lower()


def test_it_lists_the_settings_that_there_are_in_their_order() -> None:
    assert list(ROWS) == [name.upper() for name in ServiceSettings.model_fields]


@pytest.mark.parametrize("name", ServiceSettings.model_fields)
def test_it_says_the_default_and_what_is_secret(name: str) -> None:
    field = ServiceSettings.model_fields[name]
    default, about = ROWS[name.upper()]

    assert default.lower() == written(field)
    assert about.startswith("secret; ") is is_secret(field.annotation)
