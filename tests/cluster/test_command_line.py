"""`kubectl inventory` on a real installation, which Helm has brought: what it shows, and what it changes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cluster.cluster import Ended
from tests.cluster.installation import NAME, Installation

PROGRAM = "from inventory_operator.commandline.main import main; main()"
SECONDS = 600


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


def inventory(app: Installation, *words: str, code: int = 0) -> Ended:
    """`kubectl inventory`, as the plugin that kubectl finds; it must end with this code."""
    kubeconfig = app.cluster.record.kubeconfig
    context = ("--context", app.cluster.record.context) if app.cluster.record.context else ()
    line = [sys.executable, "-c", PROGRAM, *words, "-n", app.namespace, "--kubeconfig", kubeconfig, *context]
    done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, f"{' '.join(words)} ended with {done.returncode}: {said}\n{app.describe()}"
    return Ended(done.returncode, done.stdout, said, 0)


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
