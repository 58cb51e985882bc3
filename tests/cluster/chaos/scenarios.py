"""What happens to an app, from where on, and how it ends when nobody disturbs it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.cluster.chaos.stage import Stage
from tests.cluster.installation import NAME
from tests.cluster.kube import Object

PAUSE: Object = {"pause": {}}
GATE: Object = {"gate": {"args": ["smoke", "--url", "http://127.0.0.1:9"], "secrets": [f"{NAME}-admin"]}}
"""Nobody answers there."""
NOTHING = "nothing"


@dataclass(frozen=True)
class Scenario:
    name: str
    start: str
    """The scenario whose undisturbed end it begins with."""
    act: Callable[[Stage], None]
    ended: Callable[[Stage], bool]


def install(stage: Stage) -> None:
    app = stage.app
    place = app.app_path.rpartition("/")[0]
    meta = {"name": NAME}
    body = {"apiVersion": "inventory.dev/v1alpha1", "kind": "InventoryApp", "metadata": meta, "spec": stage.spec}
    app.cluster.kube.request("POST", place, body)


def asks_for(image: str, step: Object | None = None) -> Callable[[Stage], None]:
    """With a step: as a canary, by ingress, which has half of the requests before it comes to that step."""

    def act(stage: Stage) -> None:
        canary = {"ingress": {"name": NAME}, "steps": [{"weight": 50}, step]}
        changes = {"strategy": {"rolling": None, "canary": canary}} if step else {}
        stage.ask_for(image=stage.app.cluster.image(image), **changes)

    return act


def orders(command: str, value: str) -> Callable[[Stage], None]:
    def act(stage: Stage) -> None:
        given = value.replace("UID", stage.app.app["metadata"]["uid"])
        annotations = {f"inventory.dev/{command}": given}
        stage.app.cluster.kube.merge(stage.app.app_path, {"metadata": {"annotations": annotations}})

    return act


def serves(image: str, contract: str = "") -> Callable[[Stage], bool]:
    def ended(stage: Stage) -> bool:
        status = stage.app.serving()
        if not status or status["schema"].get("contract", "") != contract:
            return False
        return bool(status["history"][0]["image"] == stage.app.cluster.image(image))

    return ended


def stops(phase: str, reason: str, revision: int) -> Callable[[Stage], bool]:
    def ended(stage: Stage) -> bool:
        status = stage.app.status
        there = (status.get("phase"), status.get("candidateRevision")) == (phase, revision)
        return there and stage.app.condition("Ready")["reason"] == reason

    return ended


SCENARIOS = (
    Scenario("install", NOTHING, install, serves("base")),
    Scenario("release", "install", asks_for("v2"), serves("v2")),
    Scenario("failed expand", "install", asks_for("broken-migration"), stops("Failed", "MigrationFailed", 2)),
    Scenario("failed canary", "install", asks_for("v2", GATE), stops("Failed", "GateFailed", 2)),
    Scenario("abort", "paused canary", orders("abort", "2"), stops("Failed", "Aborted", 2)),
    Scenario("promote", "paused canary", orders("promote", "2/2"), serves("v2")),
    Scenario("supersede", "paused canary", asks_for("v3"), stops("Paused", "AwaitingPromotion", 3)),
    Scenario("contract", "contract ahead", orders("contract", "UID/2/1"), serves("tightened", "c9002")),
    Scenario("refused rollback", "contract", asks_for("base"), stops("Failed", "SchemaIncompatible", 3)),
    Scenario("downgrade", "refused rollback", orders("downgrade", "UID/3/2"), serves("base")),
)
STARTS = (
    Scenario("paused canary", "install", asks_for("v2", PAUSE), stops("Paused", "AwaitingPromotion", 2)),
    Scenario("contract ahead", "install", asks_for("tightened"), serves("tightened")),
)
"""What some of them begin with besides; the way there is another scenario's."""


def named(name: str) -> Scenario:
    return next(each for each in (*SCENARIOS, *STARTS) if each.name == name)
