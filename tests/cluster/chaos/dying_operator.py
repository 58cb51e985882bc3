"""The operator as it is, but that it keeps a list of its calls, and dies before or after one of them if it is told to.

In the folder that INVENTORY_CHAOS_FOLDER names, `calls` is the list, a line of JSON each, and `order` says what to die
at: calls are counted from when it is there, and it is carried out once, unless it says "every".
"""

import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from inventory_operator import cli
from inventory_operator.kube import Kube

from tests.cluster.chaos.calls import Call, described

FOLDER = "INVENTORY_CHAOS_FOLDER"
KILLED = 137
"""What the status of a process is that was ended by SIGKILL, as a shell has it."""


class Doom:
    def __init__(self, folder: Path) -> None:
        self._calls, self._order = folder / "calls", folder / "order"
        self._seen: Counter[str] = Counter()
        self._last: dict[str, Any] | None = None

    def before(self, call: Call) -> None:
        order = self._ordered()
        if order is not None and call.writes:
            self._seen[call.said] += 1
            self._meet(order, "before", call)

    def after(self, call: Call) -> None:
        order = self._ordered()
        self._note(call)
        if order is not None and call.writes:
            self._meet(order, "after", call)

    def _ordered(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(self._order.read_text())
        except FileNotFoundError:
            return None
        if found != self._last:
            self._last = found
            self._seen.clear()
        return found

    def _meet(self, order: Mapping[str, Any], when: str, call: Call) -> None:
        if order["when"] != when:
            return
        if order["said"] == "every":
            self._die(when, call)
        if (order["said"], order["nth"]) == (call.said, self._seen[call.said]):
            self._order.unlink()
            self._die(when, call)

    def _die(self, when: str, call: Call) -> None:
        self._note(call, died=when)
        os._exit(KILLED)

    def _note(self, call: Call, died: str = "") -> None:
        line = json.dumps({"at": time.time(), "said": call.said, "writes": call.writes, "died": died})
        with self._calls.open("a") as file:
            file.write(f"{line}\n")


DOOM = Doom(Path(os.environ.get(FOLDER, ".")))


class MortalKube(Kube):
    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> dict[str, Any]:
        call = described(method, path, body)
        DOOM.before(call)
        try:
            return await super().request(method, path, body, kind, accept, **query)
        finally:
            DOOM.after(call)  # the server has answered, and nobody has read it yet


if __name__ == "__main__":
    with mock.patch.object(cli, "Kube", MortalKube):
        cli.main()
