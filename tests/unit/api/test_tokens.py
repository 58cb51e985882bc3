import time

import jwt
import pytest
from inventory_api.tokens import Tokens

KEY = "k" * 32


def token_for_no_time(*, ahead: int) -> str:
    """Issued by a pod whose clock is ahead by so many seconds, and expired as soon as issued."""
    then = time.time() + ahead
    return jwt.encode({"sub": "7", "iss": "inventory-api", "iat": then, "exp": then}, KEY, algorithm="HS256")


def test_a_token_says_whose_it_is() -> None:
    tokens = Tokens(KEY, 60)

    assert tokens.user_id(tokens.issue(7)) == 7


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        Tokens(KEY, -40).issue(7),
        Tokens("another key" * 4, 60).issue(7),
        jwt.encode({"sub": "7", "iss": "inventory-api", "iat": 0}, KEY, algorithm="HS256"),
        jwt.encode({"sub": "7", "iss": "other", "iat": 0, "exp": 2**40}, KEY, algorithm="HS256"),
        jwt.encode({"sub": "x", "iss": "inventory-api", "iat": 0, "exp": 2**40}, KEY, algorithm="HS256"),
        jwt.encode({"sub": "7", "iss": "inventory-api", "iat": 0, "exp": 2**40}, None, algorithm="none"),
    ],
)
def test_another_token_is_nobodys(token: str) -> None:
    assert Tokens(KEY, 60).user_id(token) is None


@pytest.mark.parametrize("seconds", [20, -20])
def test_a_token_holds_although_clocks_differ_by_some_seconds(seconds: int) -> None:
    assert Tokens(KEY, 0).user_id(token_for_no_time(ahead=seconds)) == 7


@pytest.mark.parametrize("seconds", [40, -40])
def test_a_token_is_nobodys_when_clocks_differ_by_more(seconds: int) -> None:
    assert Tokens(KEY, 0).user_id(token_for_no_time(ahead=seconds)) is None
