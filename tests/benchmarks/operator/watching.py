"""When an object was first seen as it shall be, by a watch: the time of arrival, not that of asking."""

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from kubernetes.client import ApiException

from tests.benchmarks.operator.objects import Kind, Object
from tests.cluster.kube import Kube

_WATCH_SECONDS = 20
_PAGE = 500


class Seen(threading.Thread):
    """All objects of a kind in a collection, from `with` on; no two have the same name."""

    def __init__(self, kube: Kube, kind: Kind, path: str) -> None:
        super().__init__(daemon=True)
        self._kube, self._kind, self._path = kube, kind, path
        self._changed = threading.Condition()
        self._complete: dict[str, tuple[int, float]] = {}
        self._over = threading.Event()
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()

    def complete(self, name: str, generation: int, seconds: float) -> float:
        """When (`time.monotonic`) this generation, or a later one, was first seen complete.

        Raises TimeoutError.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._generation(name) >= generation, seconds)
            if self._error:
                raise RuntimeError(f"the watch of {self._path} has ended") from self._error
            if self._generation(name) < generation:
                found = [each for each in self._kube.items(self._path) if each["metadata"]["name"] == name]
                raise TimeoutError(f"{self._kind.name} {name}: not complete within {seconds:g} s: {found}")
            return self._complete[name][1]

    def count(self) -> int:
        """How many are complete, or once were."""
        return len(self._complete)

    def _generation(self, name: str) -> int:
        return self._complete.get(name, (0, 0.0))[0]

    def run(self) -> None:
        try:
            while not self._over.is_set():
                version = self._list()
                while version and not self._over.is_set():
                    version = self._watch(version)
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _list(self) -> str:
        more, version = "", ""
        while more or not version:
            query = urlencode({"limit": _PAGE, "continue": more})
            page = self._kube.request("GET", f"{self._path}?{query}")
            self._note(page["items"])
            version, more = page["metadata"]["resourceVersion"], page["metadata"].get("continue", "")
        return version

    def _watch(self, version: str) -> str:
        """The version that it came to; empty if it can't go on from there."""
        try:
            for event in self._kube.watch(self._path, version, _WATCH_SECONDS):
                if event["type"] == "ERROR":
                    return ""
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] in ("ADDED", "MODIFIED"):
                    self._note([event["object"]])
                if self._over.is_set():
                    return version
        except (OSError, ApiException):
            return ""
        return version

    def _note(self, objects: Iterable[Object]) -> None:
        now = time.monotonic()
        with self._changed:
            for found in objects:
                name, generation = found["metadata"]["name"], found["metadata"]["generation"]
                if self._generation(name) < generation and self._kind.is_complete(found):
                    self._complete[name] = (generation, now)
            self._changed.notify_all()
