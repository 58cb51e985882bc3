"""A real Prometheus that scrapes services each second, as Prometheus Operator would have it scrape their pods."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.cluster.local.state import layout
from tests.integration.api.services import ServedProcess
from tests.integration.conditions import eventually
from tests.integration.ports import free_port

# What Prometheus Operator makes of a ServiceMonitor's endpoint, for the labels that a query may count on.
_RELABELLING = [
    {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": target}
    for source, target in (("namespace", "namespace"), ("pod_name", "pod"), ("service_name", "service"))
]


def program() -> str:
    """`PROMETHEUS` names it, else it is the one that `make integration` has built, else the one in PATH."""
    built = layout().bin / "prometheus"
    found = os.environ.get("PROMETHEUS") or (str(built) if built.exists() else shutil.which("prometheus"))
    assert found, "There is no prometheus: `python3 tests/cluster/local tool prometheus` builds it, or set PROMETHEUS."
    return found


@dataclass(frozen=True)
class ScrapedPod:
    """A service in the eyes of Prometheus."""

    service: ServedProcess
    namespace: str
    name: str


class Prometheus:
    def __init__(self, folder: Path, pods: Sequence[ScrapedPod] = ()) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = folder / "log"
        job = {
            "job_name": "serviceMonitor/test/inventory/0",
            "static_configs": [_target(pod) for pod in pods],
            "relabel_configs": _RELABELLING,
        }
        configuration = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program(),
                    f"--config.file={folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                    # The first targets are else taken up after five seconds.
                    "--scrape.discovery-reload-interval=100ms",
                ],
                stdout=log,
                stderr=log,
            )

    def is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def _target(pod: ScrapedPod) -> dict[str, Any]:
    labels = {"namespace": pod.namespace, "pod_name": pod.name, "service_name": "inventory"}
    return {
        "targets": [pod.service.url.removeprefix("http://")],
        "labels": {f"__meta_kubernetes_{name}": value for name, value in labels.items()},
    }


@contextmanager
def running_prometheus(*pods: ScrapedPod) -> Iterator[Prometheus]:
    with tempfile.TemporaryDirectory(prefix="inventory-prometheus-") as folder:
        prometheus = Prometheus(Path(folder), pods)
        try:
            eventually(prometheus.is_ready)
            yield prometheus
        finally:
            prometheus.stop()
