import jwt
import pytest
from inventory_api.tokens import Tokens

KEY = "k" * 32


def test_a_token_says_whose_it_is() -> None:
    tokens = Tokens(KEY, 60)

    assert tokens.user_id(tokens.issue(7)) == 7


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        Tokens(KEY, -1).issue(7),
        Tokens("another key" * 4, 60).issue(7),
        jwt.encode({"sub": "7", "iss": "inventory-api", "iat": 0}, KEY, algorithm="HS256"),
        jwt.encode({"sub": "7", "iss": "other", "iat": 0, "exp": 2**40}, KEY, algorithm="HS256"),
        jwt.encode({"sub": "x", "iss": "inventory-api", "iat": 0, "exp": 2**40}, KEY, algorithm="HS256"),
        jwt.encode({"sub": "7", "iss": "inventory-api", "iat": 0, "exp": 2**40}, None, algorithm="none"),
    ],
)
def test_another_token_is_nobodys(token: str) -> None:
    assert Tokens(KEY, 60).user_id(token) is None
