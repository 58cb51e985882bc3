"""Listing the apps now and then, for what the watches did not tell."""

from typing import cast

from inventory_operator.kube import ApiError, Kube
from inventory_operator.queue import Key, Queue
from inventory_operator.reconcile import Roundup

Apps = dict[str, dict[str, str]]
"""Resource versions by namespace and name."""


class ApiServer:
    """Lists what it has; a namespace that it doesn't know may not be read, as with a Role that went with it."""

    def __init__(self, apps: Apps) -> None:
        self.apps = apps

    async def versions(self, path: str) -> dict[Key, str]:
        parts = path.split("/")
        wanted = [parts[parts.index("namespaces") + 1]] if "namespaces" in parts else list(self.apps)
        if not set(wanted) <= set(self.apps):
            raise ApiError(403, "forbidden")
        return {(each, name): version for each in wanted for name, version in self.apps[each].items()}


class Asked(Queue):
    """Remembers what was added."""

    def __init__(self) -> None:
        self.keys: list[Key] = []

    def add(self, key: Key) -> None:
        self.keys.append(key)


def a_roundup(apps: Apps, *namespaces: str) -> tuple[Roundup, ApiServer, Asked]:
    server, queue = ApiServer(apps), Asked()
    return Roundup(cast(Kube, server), list(namespaces), queue), server, queue


async def test_what_is_new_or_changed_is_looked_at_and_nothing_else() -> None:
    roundup, server, queue = a_roundup({"shop": {"a": "1", "b": "1"}})
    await roundup.look()
    assert queue.keys == [("shop", "a"), ("shop", "b")]
    queue.keys.clear()
    server.apps["shop"]["b"] = "2"
    server.apps["lab"] = {"c": "1"}
    await roundup.look()
    await roundup.look()
    assert queue.keys == [("shop", "b"), ("lab", "c")]


async def test_a_namespace_that_cannot_be_read_keeps_none_of_the_others_from_being_looked_at() -> None:
    roundup, _, queue = a_roundup({"shop": {"a": "1"}}, "gone", "shop")
    await roundup.look()
    assert queue.keys == [("shop", "a")]
    assert roundup.succeeded


async def test_it_has_succeeded_once_a_list_was_answered() -> None:
    roundup, server, _ = a_roundup({}, "shop")
    await roundup.look()
    assert not roundup.succeeded
    server.apps["shop"] = {}
    await roundup.look()
    assert roundup.succeeded
