"""What wrong input gets: a sentence, before anything happens."""

import json

import pytest

from tests.cluster.cluster import CHART, CRD, CRD_PATH, Cluster, Ended
from tests.cluster.installation import NAME, image_values
from tests.cluster.installations import Installations

IMAGE = "inventory-api:1"

METRIC = {"name": "queue", "query": "vector(1)", "success": {"max": 1}}


def strategy(**found: object) -> dict[str, object]:
    return {"image": IMAGE, "strategy": found}


def canary(*steps: object) -> dict[str, object]:
    return strategy(canary={"steps": steps})


def analysis(*metrics: object, address: str = "http://prometheus:9090", **found: object) -> dict[str, object]:
    listed = {"metrics": metrics} if metrics else {}
    return {"image": IMAGE, "analysis": {"prometheus": {"address": address}, **listed, **found}}


def backup(found: object) -> dict[str, object]:
    return {"image": IMAGE, "migrations": {"secret": "owner", "backup": found}}


@pytest.fixture
def namespace_with_crd(cluster: Cluster) -> str:
    if cluster.kube.get(CRD_PATH) is None:
        cluster.kubectl("apply", "--server-side", "--filename", str(CRD))
    return "default"


@pytest.mark.parametrize(
    ("name", "spec", "sentence"),
    [
        ("shop", {}, "spec.image: Required value"),
        ("shop", {"image": "two words"}, "an image reference has no white space"),
        ("shop", {"image": IMAGE, "imagee": "x"}, ".spec.imagee: field not declared in schema"),
        ("shop", {"image": IMAGE, "replicas": -1}, "should be greater than or equal to 0"),
        ("shop", {"image": IMAGE, "config": {"a-b": "1"}}, "must be the name of an environment variable"),
        ("shop", {"image": IMAGE, "config": {"INVENTORY_SECRET_KEY": "1"}}, "config is not secret"),
        ("shop", {"image": IMAGE, "migrations": {}}, "spec.migrations.secret: Required value"),
        ("shop", {"image": IMAGE, "secrets": ["a", "b"], "migrations": {"secret": "b"}}, "must not be among secrets"),
        ("shop", {"image": IMAGE, "template": {"volumes": [{"name": "tmp"}]}}, "name yours otherwise"),
        ("shop", {"image": IMAGE, "template": {"volumeMounts": [{"name": "a"}]}}, 'omits all key fields ["mountPath"]'),
        (
            "shop",
            {"image": IMAGE, "template": {"volumeMounts": [{"name": "a", "mountPath": "/a"}]}},
            "must name one of volumes",
        ),
        (
            "shop",
            {
                "image": IMAGE,
                "template": {"volumes": [{"name": "a", "secret": {"secretName": "b"}}]},
                "migrations": {"secret": "b"},
            },
            "must not be in a volume",
        ),
        (
            "shop",
            {"image": IMAGE, "template": {"preStopSeconds": 30, "terminationGracePeriodSeconds": 40}},
            "terminationGracePeriodSeconds must be at least",
        ),
        ("shop", {"image": IMAGE, "strategy": {"rolling": {"maxSurge": "half"}}}, "a percentage from 0% to 100%"),
        ("shop", {"image": IMAGE, "strategy": {"rolling": {"maxSurge": 0}}}, "can't both be 0"),
        ("shop", strategy(rolling={}, canary={}), "rolling, canary and blueGreen exclude one another"),
        ("shop", strategy(canary={"maxSurge": 0}), "can't both be 0"),
        ("shop", canary({}), "exactly one of weight, pause, analysis and gate"),
        ("shop", canary({"weight": 5, "pause": {}}), "exactly one of weight, pause, analysis and gate"),
        ("shop", canary({"weight": 20}, {"pause": {}}, {"weight": 10}), "must not decrease"),
        ("shop", canary({"weight": 101}), "should be less than or equal to 100"),
        ("shop", canary({"wait": 5}), "field not declared in schema"),
        ("shop", canary({"analysis": {}}), "spec.analysis is left out"),
        ("shop", canary({"gate": {"timeoutSeconds": 5}}), "a gate needs an image, a command or args"),
        ("shop", canary({"gate": {"args": ["x"], "env": {"a-b": ""}}}), "must be the name of an environment variable"),
        ("shop", canary({"gate": {"args": ["x"], "env": {"INVENTORY_URL": ""}}}), "are set by the operator"),
        ("shop", canary(*[{"pause": {}}] * 33), "must have at most 32 items"),
        (
            "shop",
            strategy(canary={"ingress": {"name": "a"}, "httpRoute": {"name": "b"}}),
            "ingress and httpRoute exclude each other",
        ),
        ("shop", strategy(canary={"dynamicStableScale": True}), "dynamicStableScale needs ingress or httpRoute"),
        ("shop", strategy(canary={"ingress": {"name": "a", "headerValue": "b"}}), "headerValue needs header"),
        ("shop", strategy(blueGreen={"steps": [{"weight": 5}]}), "blueGreen has no weights"),
        ("shop", strategy(blueGreen={"steps": [{"analysis": {}}]}), "spec.analysis is left out"),
        ("shop", analysis(address="prometheus:9090"), "spec.analysis.prometheus.address"),
        ("shop", analysis(METRIC | {"success": {}}), "needs min, max or both"),
        ("shop", analysis(METRIC | {"failure": {"min": 2, "max": 1}}), "min is greater than max"),
        ("shop", analysis(METRIC, METRIC), "duplicate entries for key"),
        ("shop", analysis(METRIC | {"name": "p99"}, builtIn={}), "names of the built-in metrics"),
        ("shop", {"image": IMAGE, "rollback": "Never"}, 'supported values: "Automatic", "Freeze"'),
        ("shop", backup({}), "exactly one of volumeClaim, job and cloudNativePG"),
        ("shop", backup({"volumeClaim": "a", "job": {"image": "b"}}), "exactly one of volumeClaim"),
        ("shop", backup({"volumeClaim": "a", "restoreJob": {"image": "b"}}), "restoreJob needs job"),
        ("shop", backup({"job": {"image": "b"}, "image": "c"}), "a job has its own"),
        ("shop", backup({"cloudNativePG": {"cluster": "a", "method": "plugin"}}), "plugin and method: plugin"),
        ("a" * 41, {"image": IMAGE}, "at most 40 characters"),
    ],
)
def test_an_invalid_app_is_refused_with_a_sentence(
    cluster: Cluster, namespace_with_crd: str, name: str, spec: dict[str, object], sentence: str
) -> None:
    body = {
        "apiVersion": "inventory.dev/v1alpha1",
        "kind": "InventoryApp",
        "metadata": {"name": name, "namespace": namespace_with_crd},
        "spec": spec,
    }
    words = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename", "-")
    ended = cluster.run("kubectl", *words, stdin=json.dumps(body))
    assert ended.code != 0
    assert sentence in ended.said


@pytest.mark.parametrize(
    ("setting", "value_name"),
    [
        ("app.replicas=many", "replicas"),
        ("app.replicaz=2", "replicaz"),
        ("image.repository=", "repository"),
        ("operator.watch.scope=planet", "scope"),
        ("postgres.enabled=false", "secrets.service.existingSecret"),
        ("app.migrations.timeoutSeconds=0", "timeoutSeconds"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(cluster: Cluster, setting: str, value_name: str) -> None:
    ended = cluster.run("helm", "install", NAME, str(CHART), "--namespace", "default", "--skip-crds", "--set", setting)
    assert ended.code != 0
    assert value_name in ended.said
    listed: Ended = cluster.run("helm", "list", "--namespace", "default", "--all", "--short")
    assert NAME not in listed.output.split()


def test_an_older_release_is_refused_after_a_contract(installations: Installations) -> None:
    """The database was empty, so the contract migration followed the expand migrations at once."""
    app = installations.new(image=image_values(installations.cluster.image("contract")))
    app.install()
    before = app.status
    assert before["schema"]["contract"].split()[-1] == "c9001"
    pods = app.pods_of(before["stableRelease"])
    with app.traffic() as traffic, traffic.during("a rollback across a contract"):
        ended = app.upgrade("base")
        status = app.wait_until_failed("SchemaIncompatible")
    assert ended.code != 0
    assert "c9001" in status["message"]
    assert f"apply revision {before['stableRevision']}" in status["message"]
    assert app.pods_of(before["stableRelease"]) == pods
