"""skaffold on the cluster of this checkout: how it is started, and the builder that it calls for each image."""

import json
import os
import tomllib
from pathlib import Path
from typing import Any

from tests.cluster.local import build, images, release, state
from tests.cluster.local.console import Problem


def skaffold(arguments: list[str]) -> None:
    """Become skaffold, with this cluster's settings. Does not return."""
    where = state.layout()
    cluster = state.current(where)
    program = build.build(where, "skaffold")
    environment = {
        **os.environ,
        "KUBECONFIG": cluster.kubeconfig,
        "PATH": f"{_helm_3(where)}:{cluster.bin}:{os.environ['PATH']}",
        "SKAFFOLD_UPDATE_CHECK": "false",
        "SKAFFOLD_INTERACTIVE": "false",
        "INVENTORY_STORES": str(_store_values(where, cluster)),
    }
    if cluster.registry:
        environment["SKAFFOLD_DEFAULT_REPO"] = cluster.registry
    context = ["--kube-context", cluster.context] if cluster.context else []
    os.chdir(state.CHECKOUT)
    os.execve(program, [str(program), *(arguments or ["run"]), *context], environment)  # noqa: S606


def skaffold_build() -> None:
    """What skaffold.yaml calls: build the image that IMAGE names and push it under that name."""
    where = state.layout()
    cluster = state.current(where)
    wanted = os.environ.get("IMAGE", "")
    name, _, tag = wanted.rpartition("/")[2].rpartition(":")
    if name not in ("inventory-api", "inventory-operator"):
        raise Problem(f"skaffold-build is for skaffold, which names the image in IMAGE: it is {wanted!r} now.")
    version = tomllib.loads((state.CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    arguments = {"VERSION": f"{version}+{tag[:12]}"}
    if cluster.kind == "own":
        arguments["PYTHON_IMAGE"] = images.python_image(where)
    target = name.removeprefix("inventory-")
    image = images.Image(name, state.CHECKOUT / "Dockerfile", state.CHECKOUT, target, arguments)
    built = images.publish(where, cluster, image, tag)
    if built != wanted:
        raise Problem(
            f"skaffold wants {wanted}, the cluster's registry has {built}: "
            "start it by python3 tests/cluster/local skaffold"
        )


def _helm_3(where: state.Layout) -> Path:
    """A folder in which helm is helm 3: skaffold can't work with helm 4."""
    folder = where.bin / "for-skaffold"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "helm"
    link.unlink(missing_ok=True)
    link.symlink_to(build.build(where, "helm3"))
    return folder


def _store_values(where: state.Layout, cluster: state.Cluster) -> Path:
    """A values file that names the images of this cluster's PostgreSQL and Valkey; else an empty one."""
    values: dict[str, Any] = {}
    for setting in release.settings(images.stores(where, cluster)):
        path, _, value = setting.partition("=")
        store, _, key = path.split(".")
        values.setdefault(store, {}).setdefault("image", {})[key] = value
    file = where.run / "skaffold-values.json"
    state.write(file, json.dumps(values, indent=2) + "\n")
    return file
