"""What runs in the cluster beside the service: CoreDNS, ingress-nginx and metrics-server."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.local import build, images, system
from tests.cluster.local.console import Problem, step
from tests.cluster.local.state import Cluster, Layout

MANIFESTS = Path(__file__).resolve().parent / "manifests"
SOURCES = Path(__file__).resolve().parent / "images" / "ingress-nginx"


def publish(where: Layout, cluster: Cluster) -> dict[str, str]:
    """References of the images that a node of our own needs, built from the same modules as its programs."""
    references = {
        name: images.publish(where, cluster, images.scratch(where, build.build(where, name)))
        for name in ("pause", "coredns", "metrics-server")
    }
    references["ingress-nginx"] = images.publish(where, cluster, _ingress_image(where))
    return references


def install(where: Layout, cluster: Cluster, references: Mapping[str, str]) -> None:
    """Applies the add-ons and waits until they serve."""
    ports = {name.replace("-", "_"): str(port) for name, port in cluster.ports.items()}
    own = cluster.kind == "own"
    texts = [
        fill(
            "ingress-nginx",
            image=references["ingress-nginx"],
            node_ip=cluster.node_ip if own else "localhost",
            # www-data of Debian, and of the official image, whose nginx wants its capability for ports below 1024
            user="33" if own else "101",
            capabilities="[]" if own else "[NET_BIND_SERVICE]",
            **ports,
        ),
        fill("metrics-server", image=references["metrics-server"]),
    ]
    if own:
        texts.append(fill("kubelet-client"))
        texts.append(fill("coredns", image=references["coredns"], dns=cluster.dns))
    with step("add-ons"):
        system.run([*cluster.kubectl, "apply", "-f", "-"], "Installing the add-ons", stdin="---\n".join(texts))
        waiting = [
            *([["-n", "kube-system", "rollout", "status", "deploy/coredns"]] if own else []),
            ["-n", "ingress-nginx", "rollout", "status", "deploy/ingress-nginx-controller"],
            ["-n", "kube-system", "rollout", "status", "deploy/metrics-server"],
            ["wait", "--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io"],
        ]
        for words in waiting:
            _wait(cluster.kubectl, words)


def _wait(kubectl: list[str], words: list[str]) -> None:
    try:
        system.run([*kubectl, *words, "--timeout=120s"], f"Waiting for {words[-1]}")
    except Problem as problem:
        pods = system.run([*kubectl, "get", "pods", "-A", "-o", "wide"], "Reading the pods")
        raise Problem(f"{problem}\n  Pods:\n{pods}  Look further with: kubectl describe pod, kubectl logs") from problem


def fill(name: str, **values: str) -> str:
    """A manifest with its {name}s filled in; other braces are its own."""
    text = (MANIFESTS / f"{name}.yaml").read_text()
    return re.sub(r"\{([a-z_]+)\}", lambda match: values.get(match[1], match[0]), text)


# ingress-nginx from its module


def _ingress_image(where: Layout) -> images.Image:
    controller = build.build(where, "nginx-ingress-controller")
    context = where.cache / "contexts" / "ingress-nginx"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(build.ingress_files(where), context / "nginx", ignore=shutil.ignore_patterns("test"))
    shutil.copytree(SOURCES / "lua", context / "lua")
    shutil.copy(SOURCES / "Dockerfile", context)
    shutil.copy2(controller, context)
    base = images.python_image(where)
    return images.Image("ingress-nginx", context / "Dockerfile", context, arguments={"DEBIAN_IMAGE": base})
