"""The chart as helm renders it, and what helm says when it refuses."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.local.state import CHECKOUT, layout

Object = dict[str, Any]

CHART = CHECKOUT / "chart"
MANIFESTS = CHECKOUT / "manifests"
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))


def helm() -> str:
    """The program: `HELM` names it, else it is the one that `make test` has built, else the one in PATH."""
    built = layout().bin / "helm"
    found = os.environ.get("HELM") or (str(built) if built.exists() else shutil.which("helm"))
    assert found, "There is no helm: `python3 tests/cluster/local tool helm` builds it, or set HELM."
    return found


def template(*arguments: str, release: str = "inventory") -> subprocess.CompletedProcess[str]:
    """`helm template` of a release in the namespace default."""
    command = [helm(), "template", release, str(CHART), "--namespace", "default", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def render(*arguments: str, release: str = "inventory") -> list[Object]:
    """The objects, in helm's order; hooks and tests too, the CRD not."""
    done = template(*arguments, release=release)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def refusal(*arguments: str, release: str = "inventory") -> str:
    """What helm says instead of rendering."""
    done = template(*arguments, release=release)
    assert done.returncode != 0, f"helm accepts {release} {arguments}"
    return done.stderr


@cache
def scenario(path: Path | None) -> list[Object]:
    """A chart/ci scenario, or the chart's defaults; not to be changed by the caller."""
    return render(*(("--values", str(path)) if path else ()))


def one(objects: list[Object], kind: str, name: str) -> Object:
    """The only object of that kind and name."""
    (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def kinds(objects: list[Object]) -> set[str]:
    return {each["kind"] for each in objects}


def pod_templates(objects: list[Object]) -> dict[str, Object]:
    """Every pod that the objects bring about, by kind and name: metadata and spec."""
    found = {}
    for each in objects:
        pod = each if each["kind"] == "Pod" else each.get("spec", {}).get("template", {})
        if "containers" in pod.get("spec", {}):
            found[f"{each['kind']} {each['metadata']['name']}"] = pod
    return found


def load(path: Path) -> list[Object]:
    return [found for found in yaml.safe_load_all(path.read_text()) if found]
