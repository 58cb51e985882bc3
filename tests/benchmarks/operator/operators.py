"""Both operators, each a process on this machine with the same way to the API server, and what it says of itself."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

from prometheus_client.parser import text_string_to_metric_families

from tests.benchmarks.usage import cpu_seconds, memory_mib
from tests.cluster.cluster import Cluster
from tests.integration.ports import free_port

PATIENCE_SECONDS = 600
_READS = ("get", "list", "watch")


@dataclass(frozen=True)
class Figures:
    """What an operator has counted since its start."""

    requests: Counter[str]
    """To the API server, by verb in lower case; watches are not among them."""
    buckets: dict[float, float]
    """Passes by their time in seconds, cumulative."""

    @property
    def writes(self) -> int:
        return sum(count for verb, count in self.requests.items() if verb not in _READS)

    @property
    def reads(self) -> int:
        return sum(self.requests.values()) - self.writes

    @property
    def passes(self) -> float:
        return self.buckets.get(float("inf"), 0)

    def since(self, before: "Figures") -> "Figures":
        buckets = {bound: count - before.buckets.get(bound, 0) for bound, count in self.buckets.items()}
        return Figures(self.requests - before.requests, buckets)

    def quantile(self, share: float) -> float:
        """Seconds, as Prometheus finds it: even within a bucket; a bucket without an end counts as its begin."""
        wanted, low, below = share * self.passes, 0.0, 0.0
        for bound, count in sorted(self.buckets.items()):
            if count >= wanted and count > below:
                return low if bound == float("inf") else low + (bound - low) * (wanted - below) / (count - below)
            low, below = bound, count
        return float("nan")


@dataclass
class Operator:
    """One that can be stopped and started anew."""

    name: str
    command: Callable[[int, int], list[str]]
    """By the ports of its metrics and of its probes, which are one where it has but one."""
    ready: str
    """Path of the probe."""
    ports_apart: bool
    counts: str
    """The counter of requests, and the label that says which."""
    label: str
    passes: str
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    ports: tuple[int, int] = field(default=(0, 0))

    def start(self) -> None:
        """It is not ready yet."""
        port = free_port()
        self.ports = (port, free_port() if self.ports_apart else port)
        with self.log.open("ab") as said:
            self.process = subprocess.Popen(
                self.command(*self.ports), env={**os.environ, **self.environment}, stdout=said, stderr=said
            )

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def until(self, condition: Callable[[], bool]) -> None:
        """Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def memory(self) -> float:
        return memory_mib(self.pid)

    def peak(self) -> float:
        return memory_mib(self.pid, "VmHWM")

    def cpu(self) -> float:
        return cpu_seconds(self.pid)

    def figures(self) -> Figures:
        requests: Counter[str] = Counter()
        buckets: defaultdict[float, float] = defaultdict(float)
        for family in text_string_to_metric_families(self._ask(self.ports[0], "/metrics")):
            for sample in family.samples:
                if sample.name == self.counts:
                    requests[sample.labels[self.label].lower()] += int(sample.value)
                elif sample.name == f"{self.passes}_bucket":
                    buckets[float(sample.labels["le"])] += sample.value
        # Argo's counts the events of its watches, too.
        del requests["watch"]
        return Figures(requests, dict(buckets))

    def passes_yet(self) -> float:
        """Passes since its start; none while nobody answers."""
        try:
            return self.figures().passes
        except (URLError, OSError):
            return 0

    def is_ready(self) -> bool:
        try:
            self._ask(self.ports[1], self.ready)
        except (URLError, OSError):
            return False
        return True

    def _ask(self, port: int, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return str(answer.read(), "utf-8")


@contextmanager
def ours(kubeconfig: Path, namespace: str, folder: Path) -> Iterator[Operator]:
    """It watches all namespaces if none is named."""
    scope = ["--namespace", namespace] if namespace else ["--all-namespaces"]
    program = str(Path(sys.executable).parent / "inventory-operator")
    yield from _running(
        Operator(
            name="inventory-operator",
            command=lambda port, _: [program, "run", *scope, "--port", str(port)],
            ready="/readyz",
            ports_apart=False,
            counts="inventory_operator_api_requests_total",
            label="method",
            passes="inventory_operator_reconcile_seconds",
            environment={"KUBECONFIG": str(kubeconfig), "LOG_LEVEL": "WARNING"},
            log=folder / "inventory-operator.log",
        )
    )


@contextmanager
def argo(cluster: Cluster, kubeconfig: Path, namespace: str, folder: Path) -> Iterator[Operator]:
    """Its CRDs have to be there."""
    program = str(cluster.tool("argo-rollouts"))
    words = ["--leader-elect=false", "--namespaced", "--namespace", namespace, "--loglevel", "warn"]
    yield from _running(
        Operator(
            name="Argo Rollouts",
            command=lambda port, probes: [
                *(program, "--kubeconfig", str(kubeconfig), *words),
                *("--metricsPort", str(port), "--healthzPort", str(probes)),
            ],
            ready="/healthz",
            ports_apart=True,
            counts="controller_clientset_k8s_request_total",
            label="verb",
            passes="rollout_reconcile",
            environment={},
            log=folder / "argo-rollouts.log",
        )
    )


def _running(operator: Operator) -> Iterator[Operator]:
    try:
        operator.start()
        operator.until(operator.is_ready)
        yield operator
    finally:
        operator.stop()
