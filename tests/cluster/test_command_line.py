"""`kubectl inventory` on a real installation, which Helm has brought: what it shows, and what it changes."""

import json
import os
import re
import signal
import subprocess
import sysconfig
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cluster.cluster import EXPANDS, Ended
from tests.cluster.installation import NAME, Installation
from tests.cluster.installations import Installations
from tests.cluster.kube import Object
from tests.cluster.test_ways_back import CLAIM, backup

pytestmark = pytest.mark.slow

SECONDS = 600
INTERRUPTED = 130


@pytest.fixture(scope="module")
def careful_app(installations: Installations) -> Iterator[Installation]:
    """An app whose releases wait at their second step for a person, and whose contracts wait for a backup.

    These tests alone get it: a strategy stays in its values.
    """
    steps = [{"weight": 50}, {"pause": {}}]
    migrations = {"backup": backup(installations.cluster)}
    app = installations.new(app={"strategy": {"canary": {"steps": steps}}, "migrations": migrations})
    app.install()
    app.create_claim(CLAIM)
    yield app
    app.remove()


def test_a_release_is_planned_awaited_and_rolled_back(app_at_base: Installation, tmp_path: Path) -> None:
    app = app_at_base
    before, v2 = app.status, app.cluster.image("v2")
    assert f"revision {before['stableRevision']}  stable" in inventory(app, "status").output

    planned = document(inventory(app, "plan", "-f", str(manifest(app, v2, tmp_path)), "-o", "json"))
    assert (planned["kind"], planned["revision"]) == ("release", before["stableRevision"] + 1)
    assert [each["revision"] for each in planned["migrations"]] == ["9001"]
    assert app.status == before, "a plan changes nothing"

    refused = inventory(app, "release", "--image", v2, code=3)
    assert f"spec.image belongs to Helm (release {NAME} in namespace {app.namespace})" in refused.said
    with app.traffic() as traffic:
        with traffic.during("a release by the command line"):
            inventory(app, "release", "--image", v2, "--take-over", "--wait")
        assert app.status["stableRevision"] == before["stableRevision"] + 1
        with traffic.during("a rollback by the command line"):
            inventory(app, "rollback", "--wait")
    after = app.wait_until_serving()
    assert after["stableRelease"] == before["stableRelease"]
    entries = document(inventory(app, "history", "-o", "json"))
    assert [each["release"] for each in entries[:3:2]] == [before["stableRelease"]] * 2
    assert entries[1]["canComeBack"] == "yes"

    inventory(app, "hand-back")
    app.release("v2")  # Helm needs no force


def test_a_release_on_its_way_is_aborted(serving_app: Installation) -> None:
    app = serving_app
    before = app.status
    never_ready = {"config": {"INVENTORY_ACCESS_TOKEN_SECONDS": "1"}}
    app.upgrade(wait=False, app=never_ready)
    app.wait_for("the release rolls out", lambda: app.status.get("phase") == "Progressing")
    with app.traffic() as traffic, traffic.during("an abort by the command line"):
        inventory(app, "abort", "--wait")
    assert app.status["stableRelease"] == before["stableRelease"]
    assert f"revision {before['stableRevision']}  stable" in inventory(app, "status").output
    refused = inventory(app, "rollback", code=3)
    assert re.search(rf"\n  helm rollback {NAME} \d+ -n {app.namespace}\n", refused.said)
    app.release(app={"config": {"INVENTORY_ACCESS_TOKEN_SECONDS": "900"}})


def test_a_release_that_fails_ends_a_waiting_command(serving_app: Installation) -> None:
    app = serving_app
    before = app.status
    image = app.cluster.references["api"].rpartition(":")[0] + ":not-there"
    ended = inventory(app, "release", "--image", image, "--take-over", "--wait", code=3)
    assert "can't be pulled" in ended.said
    inventory(app, "rollback", "--wait")
    assert app.wait_until_serving()["stableRevision"] == before["stableRevision"]
    inventory(app, "hand-back")
    app.release(app={"config": {"NOTE": "after a release that failed by the command line"}})


def test_a_canary_is_promoted_held_given_up_and_tried_again(careful_app: Installation) -> None:
    app = careful_app
    before = app.wait_until_serving()["stableRevision"]
    with app.traffic() as traffic, traffic.during("canaries by the command line"):
        waiting_release(app, "promoted")
        inventory(app, "promote", "--wait")
        assert app.status["stableRevision"] == before + 1
        assert "no release on its way" in inventory(app, "promote", code=3).said

        inventory(app, "pause", "--take-over")
        assert "paused already" in inventory(app, "pause").said
        app.edit(config={"NOTE": "held"})
        app.wait_until_waiting("Paused")
        assert "candidateRevision" not in app.status, "nothing begins"
        assert "step 2 of 2" in inventory(app, "resume", "--wait", code=4).output

        assert "no failed release" in inventory(app, "retry", code=3).said
        inventory(app, "abort", "--wait")
        assert app.status["stableRevision"] == before + 1
        assert "step 2 of 2" in inventory(app, "retry", "--wait", code=4).output
        inventory(app, "promote", "--full", "--wait")
        assert app.serving()
    assert app.status["stableRevision"] == before + 3


def test_a_restart_that_is_awaited_ends_with_the_last_new_pod(careful_app: Installation) -> None:
    app = careful_app
    status = app.wait_until_serving()
    pods = app.pods_of(status["stableRelease"])
    with app.traffic() as traffic, traffic.during("a restart by the command line"):
        inventory(app, "restart", "--wait")
        after = app.pods_of(status["stableRelease"])
    assert len(after) == len(pods) == 2
    assert not set(after) & set(pods)
    assert app.status["stableRevision"] == status["stableRevision"]


def test_a_contract_and_the_ways_back_from_it_by_the_command_line(careful_app: Installation) -> None:
    app = careful_app
    former, revision = (brought_to(app, image)["stableRevision"] for image in ("v2", "tightened"))
    assert schema(app) == {"contract": [], "shut out": []}
    asked = inventory(app, "contract", code=2)
    assert f"{former} can't come back after it. A backup is taken before." in " ".join(asked.said.split())

    app.administer("CREATE TABLE not_for_the_owner (id int)")
    try:
        failed = inventory(app, "contract", "--yes", "--wait", code=3)
    finally:
        app.administer("DROP TABLE not_for_the_owner")
    said = " ".join(failed.output.split())
    assert "no contract without its backup" in said
    assert "permission denied for table not_for_the_owner" in said

    with app.traffic() as traffic:
        with traffic.during("a contract by the command line"):
            inventory(app, "contract", "--yes", "--wait")
        assert schema(app)["contract"] == ["c9002"]
        assert former in schema(app)["shut out"]
        assert "has all contract migrations" in inventory(app, "contract", "--yes").said
        refused = inventory(app, "rollback", "--to", str(former), code=3).said
        assert f"`downgrade --to {former}`" in refused
        assert f"`restore --revision {revision}`" in refused

        with traffic.during("a downgrade by the command line"):
            inventory(app, "downgrade", "--to", str(former), "--yes", "--wait")
        assert schema(app) == {"contract": [], "shut out": []}
        with traffic.during("a contract after a downgrade"):
            inventory(app, "contract", "--yes", "--wait")
    assert app.applied("c9002") == ["up", "down", "up"]

    assert "no backup was taken" in inventory(app, "restore", "--revision", str(former), "--yes", code=3).said
    asked = inventory(app, "restore", "--revision", str(revision), code=2)
    assert "all that was written since is lost" in " ".join(asked.said.split())
    inventory(app, "restore", "--revision", str(revision), "--yes", "--wait")
    assert app.applied("c9002") == ["up", "down"], "the backup is from before the second contract"
    assert schema(app) == {"contract": [], "shut out": []}


def test_logs_and_a_watched_status_are_those_of_the_cluster(careful_app: Installation) -> None:
    app = careful_app
    status = app.wait_until_serving()
    first = inventory(app, "logs", "migration", "--revision", "1", "--follow")
    assert "expand of revision 1, pod " in first.said
    assert EXPANDS[-1] in first.output
    assert (
        "no pod of a migration of revision 999" in inventory(app, "logs", "migration", "--revision", "999", code=1).said
    )
    with started(app, "status", "--watch") as watch:
        assert watch.stdout
        first_line = line = watch.stdout.readline()
        while line and f"revision {status['stableRevision']}  stable" not in line:
            line = watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        watch.communicate()
    assert watch.returncode == INTERRUPTED
    assert first_line == f"{NAME} in {app.namespace}: Healthy\n"
    assert line, "it shows the release that serves"


def test_kubectl_completes_apps_and_revisions_of_the_cluster(careful_app: Installation) -> None:
    app = careful_app
    status = app.wait_until_serving()
    assert completed(app, "status", "") == [NAME]
    assert str(status["stableRevision"]) in completed(app, "rollback", NAME, "--to", "")


def test_the_dashboard_acts_with_the_rights_of_who_started_it_and_no_others(
    careful_app: Installation, tmp_path: Path
) -> None:
    app = careful_app
    app.wait_until_serving()
    waiting_release(app, "dashboard")
    candidate = app.status["candidateRevision"]
    annotations = app.app["metadata"].get("annotations")
    reader, writer = (account(app, name, verbs, tmp_path) for name, verbs in RIGHTS.items())

    with dashboard(app, reader) as page:
        [card] = page.apps()
        assert (card["name"], card["phase"], card["allowed"]) == (NAME, "Paused", False)
        assert candidate in [each["revision"] for each in card["releases"]]
        for each in card["orders"]:
            answer = page.order(each["action"], each["value"])
            assert answer["code"] == 1
            assert f'User "system:serviceaccount:{app.namespace}:reader" cannot patch' in answer["said"]
        assert {each["action"] for each in card["orders"]} == {"promote", "promote-full", "abort"}
    assert app.app["metadata"].get("annotations") == annotations
    assert app.status["candidateRevision"] == candidate

    with dashboard(app, writer) as page:
        [card] = page.apps()
        assert card["allowed"] is True
        [value] = [each["value"] for each in card["orders"] if each["action"] == "promote"]
        assert page.order("promote", value)["code"] == 0
        after = app.wait_until_serving()
        assert after["stableRevision"] == candidate
        app.wait_for("the page shows it", lambda: page.apps()[0]["phase"] == "Healthy")


RIGHTS = {"reader": ["get", "list"], "writer": ["get", "list", "patch"]}
"""On InventoryApps, and to look at what belongs to them."""


class Page:
    """What the dashboard's page asks of its server."""

    def __init__(self, url: str, namespace: str) -> None:
        self._url = url
        self._namespace = namespace

    def apps(self) -> list[Object]:
        found: list[Object] = self._ask(urllib.request.Request(f"{self._url}apps"))["apps"]
        return found

    def order(self, action: str, value: str) -> Object:
        """Exit code and sentence of what a button does."""
        body = {"namespace": self._namespace, "name": NAME, "action": action, "value": value}
        origin = f"http://{urlsplit(self._url).netloc}"
        headers = {"X-Inventory-Dashboard": "1", "Origin": origin, "Content-Type": "application/json"}
        return self._ask(urllib.request.Request(f"{self._url}orders", json.dumps(body).encode(), headers))

    def _ask(self, request: urllib.request.Request) -> Object:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            found: Object = json.load(response)
            return found


@contextmanager
def dashboard(app: Installation, kubeconfig: Path) -> Iterator[Page]:
    """The page that who has this kubeconfig has started."""
    with started(app, "dashboard", kubeconfig=str(kubeconfig)) as process:
        assert process.stderr
        found = re.search(r"http://127\.0\.0\.1:\S+", said := process.stderr.readline())
        assert found, said
        yield Page(found[0], app.namespace)
        process.send_signal(signal.SIGINT)
        assert process.wait() == INTERRUPTED


def account(app: Installation, name: str, verbs: list[str], folder: Path) -> Path:
    """A kubeconfig of a ServiceAccount that may do this with the app, and look at its parts."""
    rules = [
        {"apiGroups": ["inventory.dev"], "resources": ["inventoryapps"], "verbs": verbs},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    ]
    role = {"apiVersion": RBAC, "kind": "Role", "metadata": {"name": name}, "rules": rules}
    app.kubectl("apply", "-f", "-", stdin=json.dumps(role))
    app.kubectl("create", "serviceaccount", name)
    app.kubectl("create", "rolebinding", name, f"--role={name}", f"--serviceaccount={app.namespace}:{name}")
    config = json.loads(app.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output", "json"))
    config["users"] = [{"name": name, "user": {"token": app.kubectl("create", "token", name).strip()}}]
    config["contexts"][0]["context"]["user"] = name
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    return path


RBAC = "rbac.authorization.k8s.io/v1"


def brought_to(app: Installation, image: str) -> Object:
    """The status once this image serves."""
    if app.app["spec"]["image"] != app.cluster.image(image):
        words = ("release", "--image", app.cluster.image(image), "--take-over", "--wait")
        inventory(app, *words, code=4)
        inventory(app, "promote", "--full", "--wait")
    return app.wait_until_serving()


def waiting_release(app: Installation, note: str) -> None:
    """A release of content that never served, once it waits for a person."""
    app.edit(config={"NOTE": note})
    app.wait_until_waiting("AwaitingPromotion")


def schema(app: Installation) -> Object:
    """Which contract migrations the database has, and which revisions can't run on it."""
    found = document(inventory(app, "schema", "-o", "json"))
    return {
        "contract": found["contract"],
        "shut out": [each["revision"] for each in found["releases"] if each["objections"]],
    }


def completed(app: Installation, *words: str) -> list[str]:
    """What kubectl offers for the last word."""
    verb, *rest = words
    line = ["kubectl", "__complete", "inventory", verb, *place(app), *rest]
    done = subprocess.run(line, env=environment(app), capture_output=True, text=True, timeout=SECONDS, check=True)
    return [each.partition("\t")[0] for each in done.stdout.splitlines() if not each.startswith(":")]


def inventory(app: Installation, *words: str, code: int = 0) -> Ended:
    """`kubectl inventory`, which must end with this code."""
    with started(app, *words) as process:
        output, errors = process.communicate()
    said = output + errors
    assert process.returncode == code, f"{' '.join(words)} ended with {process.returncode}: {said}\n{app.describe()}"
    return Ended(process.returncode, output, said, 0)


@contextmanager
def started(app: Installation, *words: str, kubeconfig: str = "") -> Iterator[subprocess.Popen[str]]:
    """The plugin that kubectl finds, with nobody there who could be asked."""
    line = ["kubectl", "inventory", *words, *place(app, kubeconfig)]
    with subprocess.Popen(
        line, env=environment(app), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        limit = threading.Timer(SECONDS, process.kill)
        limit.start()
        try:
            yield process
        finally:
            limit.cancel()
            process.kill()


def place(app: Installation, kubeconfig: str = "") -> list[str]:
    record = app.cluster.record
    context = ["--context", record.context] if record.context and not kubeconfig else []
    return ["-n", app.namespace, "--kubeconfig", kubeconfig or record.kubeconfig, *context]


def environment(app: Installation) -> dict[str, str]:
    """Where kubectl is, and the programs that were installed with this package."""
    programs = (app.cluster.record.bin, sysconfig.get_path("scripts"), os.environ["PATH"])
    return os.environ | {"PATH": os.pathsep.join(programs)}


def document(ended: Ended) -> Any:
    return json.loads(ended.output)


def manifest(app: Installation, image: str, folder: Path) -> Path:
    """The present InventoryApp with another image, as a file."""
    found = app.app
    path = folder / "app.json"
    path.write_text(
        json.dumps(
            {
                "apiVersion": found["apiVersion"],
                "kind": found["kind"],
                "metadata": {"name": NAME, "namespace": app.namespace},
                "spec": found["spec"] | {"image": image},
            }
        )
    )
    return path
