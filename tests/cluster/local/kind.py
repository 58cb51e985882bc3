"""A cluster in Docker, by kind."""

import shutil
from pathlib import Path

from tests.cluster.local import addons, build, state, system
from tests.cluster.local.console import Problem, step
from tests.cluster.local.state import CHECKOUT, NAME, Cluster, Layout, write

# The ports of ingress-nginx inside the node; those of the machine are chosen among the free ones.
INSIDE = {
    "ingress-http": 80,
    "ingress-https": 443,
    "ingress-health": 10254,
    "ingress-status": 10246,
    "ingress-stream": 10247,
    "ingress-profiler": 10245,
    "ingress-default": 8181,
}


def up(where: Layout) -> Cluster:
    program = _program(where, "kind")
    for name in ("kubectl", "helm"):
        _program(where, name)
    there = NAME in system.run([program, "get", "clusters"], "Asking kind for its clusters").split()
    cluster = state.load(where)
    if there and cluster is None:
        raise Problem(
            f"There is a kind cluster {NAME} that {where.cache} knows nothing of. "
            f"If nobody needs it: {program} delete cluster --name {NAME}"
        )
    if not there or cluster is None or not Path(cluster.kubeconfig).exists():
        cluster = _create(where, program)
    references = build.VERSIONS["kind"]
    addons.install(where, cluster, references)
    return cluster


def _program(where: Layout, name: str) -> Path:
    """kubectl of the caller if there is one, for it takes long to build; the others as pinned, if there is a Go."""
    theirs = shutil.which(name)
    if not theirs or (name != "kubectl" and shutil.which("go")):
        built = build.build(where, "kubernetes" if name == "kubectl" else name)
        return built.with_name(name)
    if name == "helm":
        version = system.run([theirs, "version", "--template", "{{.Version}}"], "Asking helm for its version")
        if not version.startswith("v4."):
            raise Problem(f"Helm 4 is needed, and {theirs} is {version}: install Helm 4, or Go, which builds it.")
    link = where.bin / name
    if Path(theirs).resolve() != link.resolve():
        where.bin.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(Path(theirs).resolve())
    return link


def _create(where: Layout, program: Path) -> Cluster:
    outside = system.choose_ports({"ingress-http": 8080, "ingress-https": 8443})
    kubeconfig = where.run / "kubeconfig"
    cluster = Cluster(
        kind="kind",
        checkout=str(CHECKOUT),
        kubeconfig=str(kubeconfig),
        bin=str(where.bin),
        ingress_http=f"http://127.0.0.1:{outside['ingress-http']}",
        ingress_https=f"https://127.0.0.1:{outside['ingress-https']}",
        ports=INSIDE,
        context=f"kind-{NAME}",
    )
    cluster.save(where)  # first, so that the rest of an interrupted start is known to be ours
    config = where.run / "kind.yaml"
    write(config, configuration(outside))
    with step("kind cluster"):
        system.run([program, "delete", "cluster", "--name", NAME], "Removing the rest of an earlier kind cluster")
        system.run(
            [
                *(program, "create", "cluster", "--name", NAME, "--config", config),
                *("--kubeconfig", kubeconfig, "--wait", "180s"),
            ],
            "Creating the kind cluster",
            log=where.logs / "kind.log",
        )
    return cluster


def configuration(outside: dict[str, int]) -> str:
    """kind's configuration of one node whose ingress ports are reachable on the machine's loopback."""
    mappings = "".join(
        f"  - {{containerPort: {INSIDE[name]}, hostPort: {port}, listenAddress: 127.0.0.1}}\n"
        for name, port in outside.items()
    )
    return (
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n"
        f"- role: control-plane\n  extraPortMappings:\n{mappings}"
    )


def down(where: Layout) -> None:
    program = where.bin / "kind"
    with step("deleting the kind cluster"):
        system.run([program, "delete", "cluster", "--name", NAME], "Deleting the kind cluster")
