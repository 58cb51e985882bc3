"""Nodes that are not there, by kwok: pods on them are ready at once, and cost no more than their objects."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.operator.objects import LABEL
from tests.cluster.cluster import Cluster
from tests.cluster.waiting import wait_for

_CONFIG = Path(__file__).with_name("kwok.yaml")
_NODES = 2
_PATH = "/api/v1/nodes"


@contextmanager
def running(cluster: Cluster, kubeconfig: Path, log: Path) -> Iterator[None]:
    """Whoever leaves it has deleted the pods before: nobody else would."""
    server = json.loads(cluster.kubectl("config", "view", "--minify", "-o", "json"))["clusters"][0]["cluster"]["server"]
    words = ["--config", str(_CONFIG), "--kubeconfig", str(kubeconfig), "--master", server]
    with log.open("wb") as said:
        process = subprocess.Popen([str(cluster.tool("kwok")), *words], stdout=said, stderr=said)
    try:
        cluster.kubectl("create", "-f", "-", stdin="\n---\n".join(map(_node, range(_NODES))))
        wait_for("fake nodes are ready", lambda: _ready(cluster) == _NODES, 60, log.read_text)
        yield
    finally:
        remove(cluster)
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def remove(cluster: Cluster) -> None:
    cluster.kubectl("delete", "nodes", "-l", LABEL, "--ignore-not-found")


def _node(number: int) -> str:
    room = {"cpu": "1k", "memory": "1Ti", "pods": "100k"}
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"benchmark-{number}", "labels": {LABEL: "node"}},
        # A range of its own, which is wide enough; nothing answers there.
        "spec": {
            "podCIDR": f"10.{128 + number}.0.0/16",
            "podCIDRs": [f"10.{128 + number}.0.0/16"],
            "taints": [{"key": LABEL, "value": "node", "effect": "NoSchedule"}],
        },
        "status": {"capacity": room, "allocatable": room},
    }
    return json.dumps(body)


def _ready(cluster: Cluster) -> int:
    nodes = cluster.kube.items(_PATH, LABEL)
    conditions = (each for node in nodes for each in node["status"].get("conditions", ()))
    return sum(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
