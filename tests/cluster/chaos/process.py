"""The operator as a process on this machine, started again whenever it dies, as Kubernetes would do it."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.chaos import dying_operator
from tests.cluster.local.state import CHECKOUT

SHOWN_CHARACTERS = 3000


@dataclass(frozen=True)
class Death:
    """Before or after the n-th call that has these words; `every` one that writes."""

    when: str
    said: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.when} {self.said}" + (f" #{self.nth}" if self.nth > 1 else "")


NEVER = Death("never", "")
ALWAYS = Death("after", "every")


@dataclass(frozen=True)
class Noted:
    """A call as the operator has noted it; `died` says when it died at it, if it did."""

    at: float
    said: str
    writes: bool
    died: str


class OperatorProcess:
    def __init__(self, namespace: str, kubeconfig: Path, folder: Path) -> None:
        self._namespace, self._kubeconfig, self._folder = namespace, kubeconfig, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._stopping = threading.Event()
        self.deaths = 0
        self.broken = ""
        """It ended in a way that it was not told to."""

    def start(self) -> None:
        self._stopping.clear()
        self._process = self._run()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def stop(self) -> None:
        """At once, and for good; what it was to die at is forgotten."""
        self._stopping.set()
        if self._process and self._keeper:
            self._process.kill()
            self._keeper.join()
            self._process.kill()  # the keeper may just have started another one
            self._process.wait()
        self._order.unlink(missing_ok=True)

    def doom(self, death: Death) -> None:
        """From now on calls are noted, and this one is the last."""
        self._calls.write_text("")
        self.deaths = 0
        fresh = self._folder / "order.new"
        fresh.write_text(json.dumps(asdict(death)))
        fresh.replace(self._order)

    def calls(self) -> list[Noted]:
        """Since it was doomed. A last line that is being written is left out."""
        try:
            text = self._calls.read_text()
        except FileNotFoundError:
            return []
        return [Noted(**json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def quiet(self, seconds: float) -> bool:
        """Whether it has looked at the app since its last start, and nothing was written for so long."""
        calls = self.calls()
        starts = [number for number, call in enumerate(calls) if call.died]
        alive = calls[starts[-1] + 1 :] if starts else calls
        looked = any(call.said.startswith("read pods") for call in alive)
        return looked and not any(call.writes and call.at > time.time() - seconds for call in calls)

    def last_words(self) -> str:
        try:
            return (self._folder / "log").read_text()[-SHOWN_CHARACTERS:]
        except FileNotFoundError:
            return ""

    @property
    def _calls(self) -> Path:
        return self._folder / "calls"

    @property
    def _order(self) -> Path:
        return self._folder / "order"

    def _run(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            dying_operator.FOLDER: str(self._folder),
            "LOG_LEVEL": "INFO",
        }
        words = ("run", "--namespace", self._namespace, "--port", str(_free_port()))
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", dying_operator.__name__, *words],
                cwd=CHECKOUT,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def _keep(self) -> None:
        while self._process:
            code = self._process.wait()
            if self._stopping.is_set():
                return
            if code != dying_operator.KILLED:
                self.broken = f"the operator ended by itself with status {code}:\n{self.last_words()}"
                return
            self.deaths += 1
            self._process = self._run()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
