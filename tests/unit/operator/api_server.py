"""An API server in memory, as far as the operator's requests go: they are the real client's down to the wire."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inventory_operator.kube import ApiError, Kube

Object = dict[str, Any]


@dataclass
class Write:
    """A request that changes something."""

    method: str
    path: str
    body: Object
    kind: str


@dataclass
class ApiServer(Kube):
    """Answers from `objects`, by path; a list is that of all paths below. What is written is kept, not carried out."""

    objects: dict[str, Object] = field(default_factory=dict)
    refused: dict[str, ApiError] = field(default_factory=dict)
    """By a part of the path."""
    read: list[str] = field(default_factory=list)
    written: list[Write] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)
    _taken: dict[str, int] = field(default_factory=dict)

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> Object:
        for part, error in self.refused.items():
            if part in path:
                raise error
        if method != "GET":
            self.written.append(Write(method, path, copy.deepcopy(dict(body or {})), kind))
            return copy.deepcopy(self.objects.get(path, dict(body or {})))
        self.read.append(path)
        if path in self.objects:
            return copy.deepcopy(self.objects[path])
        if "labelSelector" in query:
            return {"items": [each for where, each in self.objects.items() if where.startswith(f"{path}/")]}
        raise ApiError(404, f'{path.rpartition("/")[2]} "x" not found')
