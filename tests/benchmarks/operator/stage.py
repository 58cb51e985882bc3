"""Where it is measured: a namespace with fake nodes on the cluster of `make up`, and the way back from it."""

import argparse
import contextlib
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.operator import fake_nodes, operators
from tests.benchmarks.operator.objects import LABEL, Kind
from tests.benchmarks.operator.operators import Operator
from tests.benchmarks.operator.watching import Seen
from tests.cluster.cluster import Cluster
from tests.cluster.local import build
from tests.cluster.waiting import wait_for

NAMESPACE = "benchmark-operator"
_NAMESPACES = "/api/v1/namespaces"
_WRITERS = 8
"""Requests at a time when many objects are made or changed."""
_END_SECONDS = 1800
RELEASE_SECONDS = 60

Lines = Iterator[tuple[str, bool]]
"""What was found, and whether it is as it shall be."""


def clean(cluster: Cluster) -> None:
    """What an earlier run has left because it was killed."""
    if cluster.kube.items(_NAMESPACES, LABEL):
        print("    (the rest of an earlier run is taken away)", flush=True)
        cluster.kubectl("delete", "pods", "-n", NAMESPACE, "--all", "--force", "--grace-period=0")
        _end(cluster)
    fake_nodes.remove(cluster)
    cluster.kubectl("delete", "crds", "-l", LABEL, "--ignore-not-found")


@contextlib.contextmanager
def stage(cluster: Cluster, namespaces: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    """The namespaces are there; a kubeconfig for what runs on them, and a folder for logs."""
    with tempfile.TemporaryDirectory(prefix="inventory-benchmark-") as name:
        folder = Path(name)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.touch(0o600)
        kubeconfig.write_text(cluster.kubectl("config", "view", "--raw", "--flatten", "--minify"))
        with fake_nodes.running(cluster, kubeconfig, folder / "kwok.log"):
            try:
                for each in namespaces:
                    cluster.kube.request("POST", _NAMESPACES, {"metadata": {"name": each, "labels": {LABEL: "true"}}})
                yield kubeconfig, folder
            finally:
                _end(cluster)


def _end(cluster: Cluster) -> None:
    """A large namespace takes minutes."""
    cluster.kubectl("delete", "namespaces", "-l", LABEL, "--wait=false")
    wait_for("its namespaces are gone", lambda: not cluster.kube.items(_NAMESPACES, LABEL), _END_SECONDS)


def namespaces(count: int) -> list[str]:
    """Names of so many; the first one is that of all that isn't spread."""
    return [NAMESPACE, *(f"{NAMESPACE}-{number}" for number in range(2, count + 1))]


class Bench:
    """What a benchmark does on the stage, and how often."""

    def __init__(self, cluster: Cluster, kubeconfig: Path, folder: Path, options: argparse.Namespace) -> None:
        self.kube = cluster.kube
        self.sizes: list[int] = sorted(options.apps)
        self.many: int = options.many
        self.rounds: int = options.rounds
        self.burst: int = options.burst
        self.idle: int = options.idle
        self.namespaces = namespaces(options.namespaces)
        self._cluster, self._kubeconfig, self._folder = cluster, kubeconfig, folder
        self._contents = itertools.count()

    @contextlib.contextmanager
    def our_operator(self) -> Iterator[Operator]:
        alone = len(self.namespaces) == 1
        with operators.ours(self._kubeconfig, NAMESPACE if alone else "", self._folder) as operator:
            yield operator

    @contextlib.contextmanager
    def argo_rollouts(self) -> Iterator[Operator]:
        """With its CRDs, which go with it."""
        if "rollouts.argoproj.io" in self._cluster.kubectl("get", "crds", "-o", "name"):
            raise SystemExit("Argo Rollouts is installed in this cluster: its own controller would take part.")
        archive = build.download(build.ARGO_ROLLOUTS, build.TOOLS[build.ARGO_ROLLOUTS]) / "manifests" / "crds"
        files = [word for file in sorted(archive.glob("*-crd.yaml")) for word in ("-f", str(file))]
        try:
            self._cluster.kubectl("create", *files)
            self._cluster.kubectl("label", *files, f"{LABEL}=true")
            self._cluster.kubectl("wait", *files, "--for=condition=Established", "--timeout=60s")
            with operators.argo(self._cluster, self._kubeconfig, NAMESPACE, self._folder) as operator:
                yield operator
        finally:
            self._cluster.kubectl("delete", *files, "--ignore-not-found")

    def seen(self, kind: Kind) -> Seen:
        return Seen(self.kube, kind, kind.everywhere)

    def make(self, kind: Kind, names: Sequence[str], replicas: int, seen: Seen, seconds: float = 1800) -> float:
        """Seconds until all of them are complete; each namespace gets as many."""
        paths, began = itertools.cycle(map(kind.collection, self.namespaces)), time.monotonic()
        with ThreadPoolExecutor(_WRITERS) as pool:
            list(pool.map(lambda path, name: self.kube.request("POST", path, kind.make(name, replicas)), paths, names))
        return max(seen.complete(name, 1, began + seconds - time.monotonic()) for name in names) - began

    def release(self, kind: Kind, names: Sequence[str], seen: Seen, seconds: float = RELEASE_SECONDS) -> float:
        """New content for each at once: seconds until all of them are complete."""
        began = time.monotonic()
        with ThreadPoolExecutor(_WRITERS) as pool:
            generations = list(pool.map(lambda name: self._change(kind, name), names))
        ends = [seen.complete(name, each, seconds) for name, each in zip(names, generations, strict=True)]
        return max(ends) - began

    def _change(self, kind: Kind, name: str) -> int:
        found = self.kube.merge(f"{kind.collection(NAMESPACE)}/{name}", kind.change(self.content()))
        return int(found["metadata"]["generation"])

    def content(self) -> str:
        """Another one each time, whichever thread asks."""
        return f"content-{next(self._contents)}"
