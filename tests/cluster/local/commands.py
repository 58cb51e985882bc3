"""The verbs of the local cluster."""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.local import build, choice, images, node, release, skaffold, state, system
from tests.cluster.local.console import Problem, say

CRDS = {
    "prometheus-crds": (build.PROMETHEUS_OPERATOR, "example/prometheus-operator-crd"),
    "cloudnativepg-crds": (build.CLOUDNATIVEPG, "config/crd/bases"),
    "gateway-crds": (build.GATEWAY_API, "config/crd/standard"),
}
"""Folders in Go modules of others, with the CRDs that some tests need."""
_OTHER_TOOLS = ("chromium", "kubectl", *CRDS)


def main(words: Sequence[str]) -> int:
    arguments = _parser().parse_args(words)
    try:
        arguments.verb(arguments)
    except Problem as problem:
        say(f"error: {problem}")
        return 1
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 tests/cluster/local", description="The local Kubernetes cluster.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, verb in (
        ("up", up),
        ("down", down),
        ("status", status),
        ("images", build_images),
        ("env", environment),
        ("install", install),
        ("demo-release", demo_release),
        ("skaffold-build", lambda arguments: skaffold.skaffold_build()),
    ):
        verbs.add_parser(name, help=verb.__doc__).set_defaults(verb=verb)
    asked = verbs.add_parser("tool", help=tool.__doc__)
    asked.add_argument("names", nargs="+", choices=[*build.PROGRAMS, *_OTHER_TOOLS], metavar="NAME")
    asked.set_defaults(verb=tool)
    asked = verbs.add_parser("skaffold", help="skaffold with this cluster's settings", add_help=False)
    asked.add_argument("words", nargs=argparse.REMAINDER)
    asked.set_defaults(verb=lambda arguments: skaffold.skaffold(arguments.words))
    return parser


def up(arguments: argparse.Namespace) -> None:
    """a cluster with ingress-nginx and metrics-server; repairs the one that is there"""
    where = state.layout()
    with state.lock(where, "up"):
        cluster = choice.up(where)
    say(f'The cluster is up ({cluster.kind}): eval "$(make -s env)" makes kubectl and helm use it.')


def down(arguments: argparse.Namespace) -> None:
    """the cluster away, with all that belongs to it"""
    where = state.layout()
    with state.lock(where, "down"):
        choice.down(where)


def status(arguments: argparse.Namespace) -> None:
    """what runs, and whose it is"""
    where = state.layout()
    cluster = state.load(where)
    if cluster is None:
        print("No cluster is up.")
        if rest := node.leftovers(where) if sys.platform == "linux" else []:
            print("Of an earlier one there is left (make down removes it):", *rest, sep="\n  ")
        return
    print(f"cluster     {cluster.kind}, of the checkout {cluster.checkout}")
    print(f"kubeconfig  {cluster.kubeconfig}")
    print(f"ingress     {cluster.ingress_http} {cluster.ingress_https}")
    print(f"registry    {cluster.registry or 'none'}")
    if cluster.kind == "own":
        running = {process.name for process in node.alive(where)}
        stopped = [name for name in node.DAEMONS if name not in running and name != "containerd-shim-runc-v2"]
        print(
            f"daemons     {'not running: ' + ', '.join(stopped) + ' (make up repairs)' if stopped else 'all running'}"
        )
    for words in (["get", "nodes", "-o", "wide"], ["get", "pods", "-A"], ["get", "inventoryapps", "-A"]):
        print(flush=True)
        subprocess.run([*cluster.kubectl, "--request-timeout=5s", *words], check=False)


def build_images(arguments: argparse.Namespace) -> None:
    """build what this checkout's release needs, bring it to the cluster, and print the references"""
    where = state.layout()
    with state.lock(where, "images"):
        for reference in images.project(where, state.current(where)).values():
            print(reference)


def environment(arguments: argparse.Namespace) -> None:
    """lines for a shell: eval "$(make -s env)" """
    cluster = state.current(state.layout())
    print(f"export KUBECONFIG={shlex.quote(cluster.kubeconfig)}")
    print(f"export PATH={shlex.quote(cluster.bin)}:$PATH")
    print(f"export INVENTORY_URL={shlex.quote(cluster.ingress_http)}")


def install(arguments: argparse.Namespace) -> None:
    """install or upgrade the chart with this checkout's images"""
    where = state.layout()
    with state.lock(where, "install"):
        release.install(where, state.current(where))


def demo_release(arguments: argparse.Namespace) -> None:
    """build a later release of the service, with one more migration, and print its reference"""
    where = state.layout()
    releases, folder = state.CHECKOUT / "tests" / "cluster" / "releases", "v2"
    with state.lock(where, "demo-release"):
        cluster = state.current(where)
        settings = {"API_IMAGE": images.project(where, cluster)["api"], "RELEASE": folder, "VERSION": folder}
        image = images.Image("inventory-api", releases / "Dockerfile", releases, arguments=settings)
        print(images.publish(where, cluster, image, f"{folder}-{image.tag()}"))


def tool(arguments: argparse.Namespace) -> None:
    """build or install programs that only tests need, and print their paths"""
    where = state.layout()
    with state.lock(where, f"tool {' '.join(arguments.names)}"):
        for name in arguments.names:
            print(_tool(where, name))


def _tool(where: state.Layout, name: str) -> Path | str:
    if name == "chromium":
        if system.may_install():
            system.install_packages(system.BROWSER)
        return system.program(name) or "no Chromium is installed, so what needs one is not tested"
    if name in CRDS:
        module, folder = CRDS[name]
        return build.download(module, build.TOOLS[module]) / folder
    if name == "kubectl":
        return build.build(where, "kubernetes").with_name("kubectl")
    return build.build(where, name)
