"""The page of failure modes names a test for each failure, and each test that it names is there."""

import re

import pytest

from tests.cluster.local.state import CHECKOUT

PAGE = (CHECKOUT / "docs" / "failure-modes.md").read_text()
FAILURES = {
    int(number): re.findall(r"`(test_\w+)`", text.partition("Tested:")[2])
    for number, text in re.findall(r"^### (\d+)\. (.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
TESTS = {
    name
    for path in (CHECKOUT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
}


def test_there_are_the_sixteen() -> None:
    assert list(FAILURES) == list(range(1, 17))


@pytest.mark.parametrize("number", FAILURES)
def test_each_has_a_test_that_there_is(number: int) -> None:
    named = FAILURES[number]

    assert named
    assert set(named) <= TESTS
