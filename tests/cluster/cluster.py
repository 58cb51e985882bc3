"""The cluster that the tests run on, and the programs that people use on it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from inventory_api.migrations.revisions import read_image

from tests.cluster.kube import Kube
from tests.cluster.local import images, state
from tests.cluster.waiting import wait_for

CHECKOUT = state.CHECKOUT
CHART = CHECKOUT / "chart"
CRD = CHECKOUT / "manifests" / "crd.yaml"
CRDS_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRD_PATH = f"{CRDS_PATH}/inventoryapps.inventory.dev"
RELEASES = CHECKOUT / "tests" / "cluster" / "releases"
EXPANDS = read_image(CHECKOUT / "api" / "inventory_api" / "migrations").schema.expand
"""The expand migrations of this checkout."""
PROGRAM_SECONDS = 600

# Each release is a folder of files laid over the release before it; "" is the image of this checkout.
OVERLAYS: Mapping[str, str] = {
    "v2": "",
    "v3": "v2",
    "contract": "v3",
    "tightened": "v2",
    "broken-migration": "",
    "slow-migration": "v2",
    "failing": "",
    "slower": "",
}


def local(verb: str) -> None:
    """What `make` does with the cluster, under the same name."""
    subprocess.run([sys.executable, str(CHECKOUT / "tests" / "cluster" / "local"), verb], check=True)


@dataclass(frozen=True)
class Ended:
    """A program that has ended; `said` is all that it printed."""

    code: int
    output: str
    said: str
    seconds: float


class Cluster:
    def __init__(self, record: state.Cluster, references: Mapping[str, str]) -> None:
        self.record = record
        self.references = references
        self.kube = Kube(record.kubeconfig, record.context)
        self.since = datetime.now(UTC)
        """Nothing before it was done by these tests."""
        self._releases: dict[str, str] = {"base": references["api"]}

    @classmethod
    def current(cls) -> "Cluster":
        """The one that is up, with the images of this checkout. Raises Problem if there is none."""
        local("images")
        where = state.layout()
        return cls(state.current(where), json.loads((where.run / "images.json").read_text()))

    def close(self) -> None:
        self.kube.close()

    def image(self, release: str) -> str:
        """The reference of a release's image, which is built and pushed if it is not there yet."""
        if release not in self._releases:
            below = self.image(OVERLAYS[release] or "base")
            self._releases[release] = self.overlay("inventory-api", release, {"API_IMAGE": below, "VERSION": release})
        return self._releases[release]

    def overlay(self, name: str, folder: str, arguments: Mapping[str, str], context: Path = RELEASES) -> str:
        """Files of `context`/`folder` laid over an image; the reference of the result."""
        where = state.layout()
        image = images.Image(name, RELEASES / "Dockerfile", context, arguments={"RELEASE": folder, **arguments})
        with state.lock(where, "images"):
            return images.publish(where, self.record, image, f"{folder}-{image.tag()}")

    def tool_image(self, name: str) -> str:
        """The reference of an image that has such a program and nothing else."""
        where, program = state.layout(), self.tool(name)
        with state.lock(where, "images"):
            return images.publish(where, self.record, images.scratch(where, program))

    def tool(self, name: str) -> Path:
        """A program that only tests need, built once."""
        words = [sys.executable, str(CHECKOUT / "tests/cluster/local"), "tool", name]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip().splitlines()[-1])

    @contextmanager
    def foreign_crds(self, files: Path, *names: str) -> Iterator[None]:
        """Somebody else's CRDs, from a file or a folder of them; those that are there already stay."""
        if all(self.kube.get(f"{CRDS_PATH}/{name}") for name in names):
            yield
            return
        self.kubectl("apply", "--server-side", "--filename", str(files))
        try:
            for name in names:
                # `kubectl wait` fails on a CRD that has no condition yet.
                wait_for(f"{name} is established", partial(self._established, name), 60)
            yield
        finally:
            self.kubectl("delete", "--ignore-not-found", "--wait=false", "--filename", str(files))

    def _established(self, crd: str) -> bool:
        found = self.kube.get(f"{CRDS_PATH}/{crd}") or {}
        conditions = found.get("status", {}).get("conditions") or []
        return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """Raises AssertionError if kubectl does not succeed."""
        ended = self.run("kubectl", *words, stdin=stdin)
        assert ended.code == 0, f"kubectl {' '.join(words)}: {ended.said}"
        return ended.output

    def run(self, program: str | Path, *words: str, stdin: str = "") -> Ended:
        with self.start(program, *words) as process:
            started = time.monotonic()
            output, errors = process.communicate(stdin, timeout=PROGRAM_SECONDS)
        return Ended(process.returncode, output, output + errors, time.monotonic() - started)

    def start(self, program: str | Path, *words: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "KUBECONFIG": self.record.kubeconfig,
            "PATH": f"{self.record.bin}{os.pathsep}{os.environ['PATH']}",
        }
        if self.record.context:
            context = "--context" if str(program) == "kubectl" else "--kube-context"
            words = (context, self.record.context, *words)
        return subprocess.Popen(
            [str(program), *words],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
