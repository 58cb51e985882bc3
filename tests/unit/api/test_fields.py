"""What a caller may give."""

import pytest
from inventory_api.fields import Email, Input, Name
from pydantic import ValidationError


class _Given(Input):
    name: Name
    email: Email


@pytest.mark.parametrize("space", [*"\x1c\x1d\x1e\x1f\x85\ufeff", " ", "\t", "\u2003"])
def test_what_is_a_space_to_one_pattern_is_one_to_all(space: str) -> None:
    """Those of the contract are read by others, whose `\\s` is another one."""
    for given in ({"name": space, "email": "a@b"}, {"name": "a", "email": f"a{space}a@b"}):
        with pytest.raises(ValidationError, match=r"should match pattern|at least 1 character"):
            _Given.model_validate(given)
