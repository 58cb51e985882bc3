"""Which cluster: the caller's own if they say so, kind where Docker runs, else a node on this machine."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.cluster.local import kind, node, state
from tests.cluster.local.console import Problem, say
from tests.cluster.local.state import CHECKOUT, Cluster, Layout

KINDS = ("given", "kind", "own")


def up(where: Layout) -> Cluster:
    there = state.load(where)
    if there and (objection := state.foreign(state.Owner(there.checkout, str(where.cache)), CHECKOUT, where.cache)):
        if there.kind != "own" or node.alive(where):
            raise Problem(objection)
        there = None  # the rest of a crash in another checkout, which nobody is served by
    wanted = os.environ.get("CLUSTER", "")
    if wanted and wanted not in KINDS:
        raise Problem(f"CLUSTER={wanted} is not known: leave it out, or set it to {', '.join(KINDS)}.")
    if there and wanted and wanted != there.kind:
        raise Problem(f"A cluster of another kind is up ({there.kind}, wanted is {wanted}): make down first.")
    chosen = wanted or (there.kind if there else "kind" if docker_answers() else "own")
    say(f"cluster: {REASONS[chosen]}")
    if chosen == "given":
        return given(where)
    if chosen == "kind" and not docker_answers():
        raise Problem("CLUSTER=kind needs a Docker daemon, and none answers: start it, or leave CLUSTER out.")
    return kind.up(where) if chosen == "kind" else node.up(where)


REASONS = {
    "given": "the one that KUBECONFIG and the current context name, as CLUSTER=given says",
    "kind": "kind, on Docker",
    "own": "a node of its own on this machine, without Docker",
}


def down(where: Layout) -> None:
    there = state.load(where)
    if there and there.kind != "own":
        if Path(there.checkout).is_dir():
            state.current(where)  # raises if it is another checkout's
        if there.kind == "kind":
            kind.down(where)
        shutil.rmtree(where.run, ignore_errors=True)
    else:
        node.down(where)
    if there and there.kind == "given":
        say("The cluster was given, so it stays; helm uninstall inventory -n inventory takes the release away.")
    else:
        say(f"The cluster is down. What was built is kept in {where.cache}.")


def docker_answers() -> bool:
    if not shutil.which("docker"):
        return False
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, timeout=15, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0 and bool(asked.stdout.strip())


def given(where: Layout) -> Cluster:
    """The caller's cluster. Nothing is installed into it but the release itself."""
    registry = os.environ.get("REGISTRY", "").rstrip("/")
    if not registry:
        raise Problem(
            "CLUSTER=given needs REGISTRY=host/path too: where the images are pushed, and the cluster pulls them from."
        )
    program, helm = shutil.which("kubectl"), shutil.which("helm")
    if not program or not helm:
        raise Problem("CLUSTER=given needs kubectl and helm (version 4) in PATH.")
    asked = subprocess.run([program, "config", "current-context"], capture_output=True, text=True, check=False)
    context = asked.stdout.strip()
    if not context:
        raise Problem(
            "CLUSTER=given names no cluster: set KUBECONFIG, or a current context (kubectl config use-context)."
        )
    answer = subprocess.run(
        [program, "--context", context, "--request-timeout=10s", "version"], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise Problem(f"The cluster of the context {context} does not answer: {answer.stderr.strip()}")
    cluster = Cluster(
        kind="given",
        checkout=str(CHECKOUT),
        kubeconfig=os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config"),
        bin=str(Path(program).parent),
        registry=registry,
        ingress_http=os.environ.get("INVENTORY_URL", ""),
        context=context,
    )
    cluster.save(where)
    return cluster
