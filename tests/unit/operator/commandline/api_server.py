"""A client whose API server is a few objects in memory: it answers, remembers what it is told, refuses on demand."""

import copy
import io
from collections.abc import AsyncIterator, Mapping
from typing import Any

from inventory_operator.commandline.client import Client
from inventory_operator.commandline.console import Console
from inventory_operator.kube import ApiError, UnreachableError
from inventory_operator.model import Object

APP = "/apis/inventory.dev/v1alpha1/namespaces/shop/inventoryapps/inventory"


class Objects(Client):
    """Objects by path; a change of the app is merged into it and counted as a new generation."""

    def __init__(self, app: Object | None, deployments: list[Object] | None = None) -> None:
        self.namespace = "shop"
        self.app = copy.deepcopy(app)
        self.deployments = deployments or []
        self.jobs: list[Object] = []
        self.pods: list[Object] = []
        self.logs: dict[str, list[str]] = {}
        """Lines by pod."""
        self.followed: list[str] = []
        """Pods whose log was asked for to its end."""
        self.away = False
        """Whether it answers nobody."""
        self.told: list[tuple[str, str, Object, Mapping[str, str]]] = []
        """Method, path, body and query of each change."""
        self.refusal: ApiError | None = None
        self.allowed = True
        """What it says of the caller's rights."""
        self.answers: list[Object] = []
        """What the operator writes into the status, one a look."""
        self._seen = {}

    async def close(self) -> None:
        pass

    def at(self, namespace: str) -> Client:
        return self

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> Object:
        if self.away:
            raise UnreachableError("the API server does not answer")
        if method == "GET":
            return self._found(path)
        if path.endswith("/selfsubjectaccessreviews"):
            return {"status": {"allowed": self.allowed}}
        self.told.append((method, path, dict(body or {}), query))
        if self.refusal:
            raise self.refusal
        if self.app and body and "spec" in body:
            self.app["spec"] = _merged(self.app["spec"], body["spec"])
            self.app["metadata"]["generation"] += 1
        return self.app or {}

    async def lines(self, path: str, **query: str) -> AsyncIterator[str]:
        pod = path.removeprefix("/api/v1/namespaces/shop/pods/").removesuffix("/log")
        if query.get("follow") == "true":
            self.followed.append(pod)
        for line in self.logs[pod]:
            yield line

    def _found(self, path: str) -> Object:
        if path == APP and self.app:
            if self.answers:
                self.app["status"] = self.answers.pop(0)
            return self.app
        if path.endswith("/inventoryapps"):
            return {"items": [self.app] if self.app else []}
        if path.endswith("/deployments"):
            return {"items": self.deployments}
        if path.endswith("/pods"):
            return {"items": self.pods}
        if path.endswith("/jobs"):
            return {"items": self.jobs}
        if path.endswith("/secrets"):
            return {"items": []}
        raise ApiError(404, f"{path} not found")


def _merged(base: Object, change: Mapping[str, Any]) -> Object:
    result = dict(base)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            result[name] = _merged(result.get(name) or {}, value)
        else:
            result[name] = value
    return result


class Typed(io.StringIO):
    """Somebody types."""

    def isatty(self) -> bool:
        return True


def console(output: str = "", typed: str | None = None) -> Console:
    """Nobody can be asked unless something is typed."""
    answers = io.StringIO() if typed is None else Typed(typed)
    return Console(io.StringIO(), io.StringIO(), answers, output)


def written(console: Console) -> str:
    assert isinstance(console.out, io.StringIO)
    return console.out.getvalue()


def said(console: Console) -> str:
    assert isinstance(console.progress, io.StringIO)
    return console.progress.getvalue()
