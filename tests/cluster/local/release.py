"""The chart, installed with this checkout's images."""

import json
import subprocess
import time
import urllib.request
from pathlib import Path

from tests.cluster.local.console import Problem, say, step
from tests.cluster.local.images import project
from tests.cluster.local.state import CHECKOUT, Cluster, Layout
from tests.cluster.local.system import run

RELEASE = NAMESPACE = "inventory"
PLAIN = '{{range .data}}{{. | base64decode}}{{"\\n"}}{{end}}'  # the values of a Secret, one a line


def install(where: Layout, cluster: Cluster) -> None:
    references = project(where, cluster)
    helm = str(Path(cluster.bin) / "helm")
    context = ["--kube-context", cluster.context] if cluster.context else []
    reach = ["--namespace", NAMESPACE, "--kubeconfig", cluster.kubeconfig, *context]
    command = [
        *(helm, "upgrade", "--install", RELEASE, str(CHECKOUT / "chart"), *reach),
        *("--create-namespace", "--wait", "--timeout", "5m"),
        *("--values", str(CHECKOUT / "chart" / "ci" / "first-look-values.yaml")),
        *(word for setting in settings(references) for word in ("--set-string", setting)),
    ]
    with step("installing the chart"):
        _finish_interrupted(helm, reach)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Problem(f"The chart could not be installed.\n{_end(done.stderr)}\n{_state(cluster)}")
    if cluster.ingress_http:
        with step("the first answer"):
            _await_answer(f"{cluster.ingress_http}/")
    where_it_is = f"at {cluster.ingress_http}/" if cluster.ingress_http else "behind the ingress of your cluster"
    say(
        f"""
The service is up, {where_it_is}. Its first user:

  eval "$(make -s env)"
  kubectl -n {NAMESPACE} get secret {RELEASE}-admin -o go-template='{PLAIN}'

Next:

  curl $INVENTORY_URL/                                  # name, version and release
  kubectl -n {NAMESPACE} get inventoryapp                 # what is released
  helm test {RELEASE} -n {NAMESPACE}                      # signs in, lends an item, takes it back
  make test                                             # proves everything
"""
    )


def _await_answer(address: str, seconds: float = 60) -> None:
    """The ingress hears of a new service a moment after its pods are ready."""
    end, said = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=10):
                return
        except OSError as error:  # an answer that is no success among them
            said = str(error)
        time.sleep(0.2)
    raise Problem(f"{address} does not serve after {seconds:.0f} s: {said}. See: python3 tests/cluster/local status")


def _finish_interrupted(helm: str, reach: list[str]) -> None:
    """A helm that was killed leaves its release pending, and the next one refuses to go on."""
    asked = subprocess.run(
        [helm, "status", RELEASE, "--output", "json", *reach], capture_output=True, text=True, check=False
    )
    pending = str(json.loads(asked.stdout)["info"]["status"]) if asked.returncode == 0 else ""
    if pending == "pending-install":
        run([helm, "uninstall", RELEASE, "--wait", *reach], "Removing an interrupted installation")
    elif pending.startswith("pending-"):
        run([helm, "rollback", RELEASE, *reach], "Going back from an interrupted upgrade")


def settings(references: dict[str, str]) -> list[str]:
    """Values of the chart that name the images."""
    places = {"api": "image", "operator": "operator.image", "postgres": "postgres.image", "valkey": "redis.image"}
    found = []
    for name, reference in references.items():
        repository, _, tag = reference.rpartition(":")
        found += [f"{places[name]}.repository={repository}", f"{places[name]}.tag={tag}"]
    return found


def _end(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines()[-12:])


def _state(cluster: Cluster) -> str:
    """What the app says of itself, and its pods."""
    kubectl = [*cluster.kubectl, "-n", NAMESPACE]
    app = subprocess.run(
        [*kubectl, "get", "inventoryapp", RELEASE, "-o", "json"], capture_output=True, text=True, check=False
    )
    said = ""
    if app.returncode == 0:
        said = str(json.loads(app.stdout).get("status", {}).get("message", ""))
    pods = subprocess.run([*kubectl, "get", "pods"], capture_output=True, text=True, check=False)
    sentence = f"  The app says: {said}\n" if said else ""
    advice = f"  Look further with: kubectl -n {NAMESPACE} describe inventoryapp"
    return f"{sentence}  Its pods:\n{_end(pods.stdout)}\n{advice}"
