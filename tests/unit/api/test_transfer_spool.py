import hashlib
import os

import pytest
from inventory_api.transfer.spool import Spool, TooLargeError


def test_what_came_is_given_back_in_small_pieces_as_often_as_it_is_asked_for() -> None:
    content = os.urandom(300_000) + b"a" * 3_000_000
    spool = Spool(len(content))
    for start in range(0, len(content), 10_000):
        spool.add(content[start : start + 10_000])
    spool.end()

    for _ in range(2):
        pieces = list(spool.chunks())
        assert b"".join(pieces) == content
        assert max(map(len, pieces)) <= 64 * 1024
    assert spool.digest == hashlib.sha256(content).hexdigest()


def test_nothing_may_come_as_well() -> None:
    spool = Spool(10)
    spool.end()

    assert b"".join(spool.chunks()) == b""


def test_no_more_comes_than_may() -> None:
    spool = Spool(10)
    spool.add(b"0123456789")

    with pytest.raises(TooLargeError):
        spool.add(b"x")
