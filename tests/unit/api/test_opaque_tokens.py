from hypothesis import given
from hypothesis import strategies as st
from inventory_api import opaque_tokens

TOKENS = st.text(min_size=1, max_size=200)


def test_each_token_is_another_and_long_enough() -> None:
    tokens = {opaque_tokens.issue("inv_") for _ in range(100)}

    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {4 + 43}


@given(TOKENS, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_successor_is_the_same_each_time_and_another_for_each_token_and_salt(
    token: str, salt: bytes, other: bytes
) -> None:
    following = opaque_tokens.successor("invr_", token, salt)

    assert following == opaque_tokens.successor("invr_", token, salt)
    assert following != opaque_tokens.successor("invr_", token + "x", salt)
    assert salt == other or following != opaque_tokens.successor("invr_", token, other)
    assert opaque_tokens.digest(following) != opaque_tokens.digest(token)
