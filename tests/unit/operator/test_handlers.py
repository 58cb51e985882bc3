"""Which events want a look at an app."""

from typing import Any, cast

import kopf
import pytest
from inventory_operator import handlers
from inventory_operator.handlers import Asked
from inventory_operator.kube import Kube
from inventory_operator.model import GROUP
from inventory_operator.queue import Key, Queue
from kubernetes.aio.client import ApiClient

KEY = ("shop", "a")
BEFORE: dict[str, Any] = {"uid": "1", "generation": 3, "resourceVersion": "7", "annotations": {"a": "b"}}


class Watch:
    """Tells of apps, and says whether one is to be looked at then."""

    def __init__(self) -> None:
        registry = kopf.OperatorRegistry()
        queue = Queue(cast(Any, None), 0)
        self._added: dict[Key, bool] = {}

        def add(key: Key, *, may_wait: bool = False) -> None:
            self._added[key] = may_wait

        queue.add = add  # type: ignore[method-assign]
        handlers.register(registry, queue, Kube(cast(ApiClient, None)), Asked())
        [self._tell] = [
            handler.fn
            for handler in registry._watching.get_all_handlers()
            if handler.selector and handler.selector.group == GROUP
        ]

    async def tells(
        self, event: str | None, meta: dict[str, Any], key: Key = KEY, status: dict[str, Any] | None = None
    ) -> bool:
        self._added.clear()
        await cast(Any, self._tell)(type=event, namespace=key[0], name=key[1], meta=meta, status=status or {})
        assert set(self._added) <= {key}
        return bool(self._added)

    @property
    def may_wait(self) -> bool:
        """What was told last wants a look, but any other first."""
        return any(self._added.values())


@pytest.fixture
async def watch() -> Watch:
    """It has told of one app."""
    watch = Watch()
    assert await watch.tells("ADDED", BEFORE)
    return watch


async def test_a_new_status_wants_none(watch: Watch) -> None:
    assert not await watch.tells("MODIFIED", BEFORE | {"resourceVersion": "8"})


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
async def test_what_people_change_wants_one(watch: Watch, change: dict[str, Any]) -> None:
    assert await watch.tells("MODIFIED", BEFORE | change)
    assert not await watch.tells("MODIFIED", BEFORE | change)


async def test_an_app_in_a_cluster_that_went_back_wants_one(watch: Watch) -> None:
    """As after etcd was restored from a backup: the generation is the same, the status is not."""
    assert await watch.tells("MODIFIED", BEFORE | {"resourceVersion": "6"})
    assert not await watch.tells("MODIFIED", BEFORE | {"resourceVersion": "7"})


async def test_another_app_wants_its_own(watch: Watch) -> None:
    assert await watch.tells("MODIFIED", BEFORE, ("shop", "b"))


async def test_a_watch_that_begins_anew_may_have_missed_something(watch: Watch) -> None:
    assert await watch.tells(None, BEFORE)


async def test_of_what_is_there_at_the_start_only_what_serves_as_asked_for_may_wait(watch: Watch) -> None:
    at_rest = {"phase": "Healthy", "observedGeneration": 3}
    assert await watch.tells(None, BEFORE, status=at_rest)
    assert watch.may_wait
    for event, status in (
        (None, {}),
        (None, at_rest | {"phase": "Progressing"}),
        (None, at_rest | {"phase": "Paused"}),
        (None, at_rest | {"observedGeneration": 2}),
        ("ADDED", at_rest),
    ):
        assert await watch.tells(event, BEFORE | {"uid": str(status) + str(event)}, status=status)
        assert not watch.may_wait


async def test_an_app_that_is_gone_wants_one_and_is_forgotten(watch: Watch) -> None:
    assert await watch.tells("DELETED", BEFORE)
    assert await watch.tells("MODIFIED", BEFORE)
