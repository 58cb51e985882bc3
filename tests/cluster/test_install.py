"""The first install, and an app at rest."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.cluster import EXPANDS, PROGRAM_SECONDS
from tests.cluster.installation import NAME, OPERATOR_PODS, SERVICE_PODS, Installation
from tests.cluster.installations import Installations
from tests.cluster.waiting import wait_for

INGRESS_CONTROLLER = {"component": "nginx-ingress-controller"}
"""It says now and then that it has looked at an Ingress."""


def test_helm_install_leads_to_a_first_200(installations: Installations) -> None:
    app = installations.new()
    app.create_namespace()
    started = time.monotonic()
    with app.cluster.start("helm", *app.install_words()) as helm:
        wait_for("the first 200", app.answers, describe=app.describe)
        seconds = time.monotonic() - started
        output, errors = helm.communicate(timeout=PROGRAM_SECONDS)
    print(f"helm install to the first 200: {seconds:.1f} s")
    assert helm.returncode == 0, output + errors
    assert seconds < 120
    status = app.installed()
    assert (status["stableRevision"], app.expanded()) == (1, EXPANDS)
    with app.traffic() as traffic, traffic.during("the first seconds"):
        app.wait_for("a hundred answers", lambda: len(traffic.answers) > 100)


def test_helm_test_signs_in_and_lends_an_item_and_leaves_nothing_to_clear_up(serving_app: Installation) -> None:
    with serving_app.client() as client:
        before = client.call("GET", "/api/v1/items?limit=200&q=smoke", expect=200).body
        ended = serving_app.run_helm("test", NAME, "--namespace", serving_app.namespace, "--logs")
        after = client.call("GET", "/api/v1/items?limit=200&q=smoke", expect=200).body
        archived = client.call("GET", "/api/v1/items?limit=200&q=smoke&archived=true", expect=200).body["items"]
    assert ended.code == 0, ended.said
    assert "took it back" in ended.said
    assert before == after
    assert [(item["on_loan"], item["archived_at"] is not None) for item in archived] == [(0, True)] * len(archived)
    assert f"lent item {archived[-1]['id']} " in ended.said
    assert serving_app.pods("app.kubernetes.io/component=test") == []


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/api/../metrics"])
def test_probes_and_metrics_stay_inside(serving_app: Installation, path: str) -> None:
    assert serving_app.answer(path) == (404, "")


def test_pods_say_which_release_they_are(serving_app: Installation) -> None:
    status = serving_app.status
    for pod in serving_app.pods(f"{SERVICE_PODS},inventory.dev/release={status['stableRelease']}"):
        assert pod["metadata"]["labels"]["inventory.dev/revision"] == str(status["stableRevision"])
        container = pod["spec"]["containers"][0]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert "@sha256:" in container["image"]


def test_scaling_by_kubectl_is_no_release(serving_app: Installation) -> None:
    before = serving_app.status
    with serving_app.traffic() as traffic:
        for replicas in (3, 2):
            with traffic.during(f"scaling to {replicas}"):
                serving_app.kubectl("scale", "inventoryapp", NAME, f"--replicas={replicas}")
                status = serving_app.wait_until_serving()
                assert status["readyReplicas"] == replicas
    assert status["stableRevision"] == before["stableRevision"]
    assert serving_app.app["status"]["selector"]


def test_a_steady_app_costs_no_writes(serving_app: Installation) -> None:
    namespace = serving_app.namespace
    paths = [
        f"/apis/inventory.dev/v1alpha1/namespaces/{namespace}/inventoryapps",
        f"/apis/apps/v1/namespaces/{namespace}/deployments",
        f"/apis/batch/v1/namespaces/{namespace}/jobs",
        f"/api/v1/namespaces/{namespace}/services",
        f"/api/v1/namespaces/{namespace}/pods",
        f"/api/v1/namespaces/{namespace}/events",
        f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
    ]
    recorders = [serving_app.cluster.kube.recorder(path, seconds=10) for path in paths]
    with ThreadPoolExecutor(len(recorders)) as threads:
        seen = [event for events in threads.map(lambda record: record(), recorders) for event in events]
    assert [event for event in seen if event["object"].get("source") != INGRESS_CONTROLLER] == []


def test_a_restarted_operator_changes_nothing(serving_app: Installation) -> None:
    before = serving_app.app, serving_app.deployments(), serving_app.pods(SERVICE_PODS)
    serving_app.scale_operator(0)
    serving_app.scale_operator(1)
    assert (serving_app.app, serving_app.deployments(), serving_app.pods(SERVICE_PODS)) == before
    assert len(serving_app.pods(OPERATOR_PODS)) == 1
