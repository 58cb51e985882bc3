"""Listing the apps now and then, for what the watches did not tell."""

from collections.abc import AsyncIterator
from typing import cast

from inventory_operator.handlers import Asked, Roundup
from inventory_operator.kube import ApiError, Kube, UnreachableError
from inventory_operator.model import Object
from inventory_operator.queue import Key, Queue

Apps = dict[str, dict[str, int]]
"""Generations by namespace and name."""


def metadata(namespace: str, name: str, generation: int) -> Object:
    return {"namespace": namespace, "name": name, "uid": name, "generation": generation}


class ApiServer:
    """Lists what it has; a namespace that it doesn't know may not be read, as with a Role that went with it."""

    def __init__(self, apps: Apps) -> None:
        self.apps = apps
        self.ends_after: int | None = None
        self.silent = False
        self.asked = 0

    async def metadata(self, path: str) -> AsyncIterator[Object]:
        self.asked += 1
        if self.silent:
            raise UnreachableError("the API server does not answer")
        parts = path.split("/")
        wanted = [parts[parts.index("namespaces") + 1]] if "namespaces" in parts else list(self.apps)
        if not set(wanted) <= set(self.apps):
            raise ApiError(403, "forbidden")
        found = [metadata(each, name, made) for each in wanted for name, made in self.apps[each].items()]
        for number, each in enumerate(found):
            if number == self.ends_after:
                raise ApiError(410, "the continue token is too old")
            yield each


class Added(Queue):
    """Remembers what was added."""

    def __init__(self) -> None:
        self.keys: list[Key] = []

    def add(self, key: Key, *, may_wait: bool = False) -> None:
        self.keys.append(key)


def a_roundup(apps: Apps, *namespaces: str, asked: Asked | None = None) -> tuple[Roundup, ApiServer, Added]:
    server, queue = ApiServer(apps), Added()
    return Roundup(cast(Kube, server), list(namespaces), queue, asked or Asked()), server, queue


async def test_what_is_new_or_changed_is_looked_at_and_nothing_else() -> None:
    roundup, server, queue = a_roundup({"shop": {"a": 1, "b": 1}})
    await roundup.look()
    assert queue.keys == [("shop", "a"), ("shop", "b")]
    queue.keys.clear()
    server.apps["shop"]["b"] = 2
    server.apps["lab"] = {"c": 1}
    await roundup.look()
    await roundup.look()
    assert queue.keys == [("shop", "b"), ("lab", "c")]


async def test_what_a_watch_has_told_of_is_not_looked_at_again() -> None:
    asked = Asked()
    roundup, _, queue = a_roundup({"shop": {"a": 1, "b": 2}}, asked=asked)
    for name in ("a", "b"):
        asked.is_news(("shop", name), metadata("shop", name, 1))
    await roundup.look()
    assert queue.keys == [("shop", "b")]


async def test_what_was_listed_before_a_list_broke_off_is_looked_at() -> None:
    roundup, server, queue = a_roundup({"shop": {"a": 1, "b": 1}}, "shop")
    server.ends_after = 1
    await roundup.look()
    assert queue.keys == [("shop", "a")]
    assert roundup.succeeded, "it is ready: the later pages of thousands of apps take seconds"
    server.ends_after = None
    await roundup.look()
    assert queue.keys == [("shop", "a"), ("shop", "b")]


async def test_a_namespace_that_cannot_be_read_keeps_none_of_the_others_from_being_looked_at() -> None:
    roundup, _, queue = a_roundup({"shop": {"a": 1}}, "gone", "shop")
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


async def test_an_api_server_that_is_silent_is_asked_once_whatever_number_of_namespaces_there_is() -> None:
    """Each question waits 15 s, and whoever says nothing for so many of them is restarted."""
    roundup, server, queue = a_roundup({"shop": {"a": 1}, "lab": {}}, "shop", "lab")
    server.silent = True
    await roundup.look()
    assert (server.asked, queue.keys, roundup.succeeded) == (1, [], False)


async def test_an_app_that_is_gone_and_comes_back_as_it_was_is_looked_at() -> None:
    asked = Asked()
    roundup, _, queue = a_roundup({"shop": {"a": 1}}, asked=asked)
    await roundup.look()
    asked.forget(("shop", "a"))
    await roundup.look()
    assert queue.keys == [("shop", "a")] * 2
