import time

import jwt
import pytest
from inventory_api.tokens import Claims, Tokens

KEY = "k" * 32


def token_for_no_time(*, ahead: int) -> str:
    """Issued by a pod whose clock is ahead by so many seconds, and expired as soon as issued."""
    then = time.time() + ahead
    return jwt.encode({"sub": "7", "iss": "inventory-api", "iat": then, "exp": then}, KEY, algorithm="HS256")


def user_id(claims: Claims | None) -> int | None:
    return claims.user_id if claims else None


def test_a_token_says_whose_it_is_and_of_which_session() -> None:
    tokens = Tokens(KEY, 60)

    claims = tokens.read(tokens.issue(7, 3))

    assert claims is not None
    assert (claims.user_id, claims.session_id) == (7, 3)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        Tokens(KEY, -40).issue(7, 3),
        Tokens("another key" * 4, 60).issue(7, 3),
        jwt.encode({"sub": "7", "iss": "inventory-api", "iat": 0}, KEY, algorithm="HS256"),
        jwt.encode({"sub": "7", "iss": "other", "iat": 0, "exp": 2**40}, KEY, algorithm="HS256"),
        jwt.encode({"sub": "7", "sid": "x", "iss": "inventory-api", "iat": 0, "exp": 2**40}, KEY, algorithm="HS256"),
        jwt.encode({"sub": "x", "iss": "inventory-api", "iat": 0, "exp": 2**40}, KEY, algorithm="HS256"),
        jwt.encode({"sub": "7", "iss": "inventory-api", "iat": 0, "exp": 2**40}, None, algorithm="none"),
    ],
)
def test_another_token_is_nobodys(token: str) -> None:
    assert Tokens(KEY, 60).read(token) is None


@pytest.mark.parametrize("seconds", [20, -20])
def test_a_token_holds_although_clocks_differ_by_some_seconds(seconds: int) -> None:
    assert user_id(Tokens(KEY, 0).read(token_for_no_time(ahead=seconds))) == 7


@pytest.mark.parametrize("seconds", [40, -40])
def test_a_token_is_nobodys_when_clocks_differ_by_more(seconds: int) -> None:
    assert Tokens(KEY, 0).read(token_for_no_time(ahead=seconds)) is None


def test_a_token_that_was_read_before_is_nobodys_once_it_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(KEY, 60)
    token = tokens.issue(7, 3)
    assert user_id(tokens.read(token)) == user_id(tokens.read(token)) == 7

    now = time.time() + 60 + 31
    monkeypatch.setattr(time, "time", lambda: now)

    assert tokens.read(token) is None


def test_what_is_like_a_token_that_was_read_before_is_nobodys() -> None:
    tokens = Tokens(KEY, 60)
    head, claims, signature = tokens.issue(7, 3).split(".")
    assert tokens.read(f"{head}.{claims}.{signature}") is not None

    assert tokens.read(f"{head}.{claims}.{signature[::-1]}") is None


OLD, NEW = "o" * 32, "n" * 32


@pytest.mark.parametrize(
    ("signs", "reads"),
    [
        (Tokens(OLD, 60), Tokens(OLD, 60, [NEW])),
        (Tokens(OLD, 60, [NEW]), Tokens(OLD, 60)),
        (Tokens(OLD, 60, [NEW]), Tokens(NEW, 60, [OLD])),
        (Tokens(NEW, 60, [OLD]), Tokens(OLD, 60, [NEW])),
        (Tokens(NEW, 60, [OLD]), Tokens(NEW, 60)),
    ],
)
def test_in_each_step_of_a_change_of_keys_a_pod_reads_what_another_signs(signs: Tokens, reads: Tokens) -> None:
    assert user_id(reads.read(signs.issue(7, 3))) == 7


def test_a_key_that_is_taken_away_is_known_no_more() -> None:
    assert Tokens(NEW, 60).read(Tokens(OLD, 60).issue(7, 3)) is None


def test_a_token_of_a_release_that_named_no_key_is_known_by_each() -> None:
    claims = {"sub": "7", "iss": "inventory-api", "iat": time.time(), "exp": time.time() + 60}
    token = jwt.encode(claims, OLD, algorithm="HS256")

    read = Tokens(NEW, 60, [OLD]).read(token)

    assert read is not None
    assert (read.user_id, read.session_id) == (7, None)


def test_a_token_names_the_key_and_gives_nothing_of_it_away() -> None:
    tokens = Tokens(OLD, 60, [NEW])
    header = jwt.get_unverified_header(tokens.issue(7, 3))

    assert header["kid"] not in OLD
    claims = {"sub": "7", "iss": "inventory-api", "iat": time.time(), "exp": time.time() + 60}
    for kid, key in (("other", OLD), (header["kid"], NEW)):
        assert tokens.read(jwt.encode(claims, key, algorithm="HS256", headers={"kid": kid})) is None
