"""Which events want a look at an app."""

from typing import Any

import pytest
from inventory_operator.handlers import Asked

KEY = ("shop", "a")
BEFORE: dict[str, Any] = {"uid": "1", "generation": 3, "resourceVersion": "7", "annotations": {"a": "b"}}


def heard() -> Asked:
    asked = Asked()
    assert asked.is_news("ADDED", KEY, BEFORE)
    return asked


def test_a_new_status_wants_none() -> None:
    assert not heard().is_news("MODIFIED", KEY, BEFORE | {"resourceVersion": "8"})


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 4},
        {"annotations": {"a": "b", "inventory.dev/promote": "3/1"}},
        {"annotations": None},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        {"uid": "2"},
    ],
)
def test_what_people_change_wants_one(change: dict[str, Any]) -> None:
    asked = heard()
    assert asked.is_news("MODIFIED", KEY, BEFORE | change)
    assert not asked.is_news("MODIFIED", KEY, BEFORE | change)


def test_another_app_wants_its_own() -> None:
    assert heard().is_news("MODIFIED", ("shop", "b"), BEFORE)


def test_a_watch_that_begins_anew_may_have_missed_something() -> None:
    assert heard().is_news(None, KEY, BEFORE)


def test_an_app_that_is_gone_wants_one_and_is_forgotten() -> None:
    asked = heard()
    assert asked.is_news("DELETED", KEY, BEFORE)
    assert asked.is_news("MODIFIED", KEY, BEFORE)
