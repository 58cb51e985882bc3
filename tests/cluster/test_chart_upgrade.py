"""The chart and its CRD go to a next version together, with either Helm, and without Helm."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.cluster import CHART, CHECKOUT, CRD, CRD_PATH, RELEASES, Cluster
from tests.cluster.installation import NAME, SERVICE_PODS, Installation, image_values
from tests.cluster.installations import Installations

CRD_VERSION = "inventory.dev/crd-version"
PRESENT = yaml.safe_load(CRD.read_text())
NEXT_VERSION = str(int(PRESENT["metadata"]["annotations"][CRD_VERSION]) + 1)
MANIFESTS = CHECKOUT / "manifests" / "operator.yaml"


@pytest.fixture
def next_chart(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    """The chart of a next version, whose CRD has one field more, and whose app sets it.

    In the end the cluster has the present CRD again.
    """
    crd = yaml.safe_load(CRD.read_text())
    crd["metadata"]["annotations"][CRD_VERSION] = NEXT_VERSION
    fields_of_spec(crd)["note"] = {"type": "string"}
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    (chart / "crds" / "inventoryapps.yaml").write_text(yaml.safe_dump(crd))
    app = chart / "templates" / "inventoryapp.yaml"
    app.write_text(app.read_text().replace("\nspec:\n", "\nspec:\n  note: from the next chart\n"))
    package = tmp_path / "next-crd" / "inventory_operator"
    package.mkdir(parents=True)
    (package / "crd.yaml").write_text(yaml.safe_dump(crd))
    shutil.copy(RELEASES / "lay_over.py", tmp_path)
    yield chart
    words = ("--server-side", "--force-conflicts", "--field-manager=inventory-operator")
    cluster.kubectl("apply", *words, "--filename", str(CRD))


@pytest.fixture
def next_operator(cluster: Cluster, next_chart: Path) -> dict[str, Any]:
    """Values for the operator's image that brings the next CRD."""
    arguments = {"API_IMAGE": cluster.references["operator"], "VERSION": "next"}
    reference = cluster.overlay("inventory-operator", "next-crd", arguments, next_chart.parent)
    return {"image": image_values(reference)}


@pytest.fixture
def monitor_crds(cluster: Cluster) -> Iterator[None]:
    """The CRDs of the Prometheus Operator."""
    names = ("servicemonitors.monitoring.coreos.com", "podmonitors.monitoring.coreos.com")
    with cluster.foreign_crds(cluster.tool("prometheus-crds"), *names):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_an_upgrade_brings_the_next_crd_and_restarts_no_pod(
    installations: Installations, next_chart: Path, next_operator: dict[str, Any], helm: str
) -> None:
    app = installations.serving(Installation.is_of_its_values, helm=helm)
    before = app.status
    pods = app.pods_of(before["stableRelease"])
    with app.traffic() as traffic, traffic.during(f"{helm} upgrade across a change of the CRD"):
        ended = app.upgrade(chart=next_chart, operator=next_operator)
        assert ended.code == 0, ended.said
        assert present_crd(app.cluster)["metadata"]["annotations"][CRD_VERSION] == NEXT_VERSION
        app.wait_until_serving()
    assert app.pods_of(before["stableRelease"]) == pods
    assert app.status["stableRevision"] == before["stableRevision"]

    assert app.app["spec"]["note"] == "from the next chart"
    expect_old_chart_beside(installations, app)
    assert app.app["spec"]["note"] == "from the next chart"


def test_the_operator_works_without_helm(installations: Installations) -> None:
    cluster = installations.cluster
    manifest = MANIFESTS.read_text().replace("inventory-operator:0.1.0", cluster.references["operator"])
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(CRD))
    cluster.kubectl("apply", "--server-side", "--filename", "-", stdin=manifest)
    try:
        app = installations.new(operator={"enabled": False})
        app.install()
        assert app.status["stableRevision"] == 1
        app.remove()
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "--wait=false", "--filename", "-", stdin=manifest)


def test_the_monitors_tell_releases_apart(serving_app: Installation, monitor_crds: None) -> None:
    settings = ("--set", "serviceMonitor.enabled=true", "--set", "serviceMonitor.labels.release=prometheus")
    rendered = serving_app.run_helm("template", NAME, str(CHART), "--namespace", serving_app.namespace, *settings)
    assert rendered.code == 0, rendered.said
    monitors = [each for each in yaml.safe_load_all(rendered.output) if each and each["kind"].endswith("Monitor")]
    assert len(monitors) == 2
    words = ("apply", "--dry-run=server", "--validate=strict", "--filename", "-")
    serving_app.cluster.kubectl(*words, stdin=yaml.safe_dump_all(monitors))
    of_service = next(each["spec"] for each in monitors if each["metadata"]["name"] == NAME)
    assert of_service["podTargetLabels"] == ["inventory.dev/release", "inventory.dev/revision"]
    pods = serving_app.pods(f"inventory.dev/release={serving_app.status['stableRelease']},{SERVICE_PODS}")
    assert pods
    for found in pods:
        assert of_service["selector"]["matchLabels"].items() <= found["metadata"]["labels"].items()
        ports = found["spec"]["containers"][0]["ports"]
        assert of_service["podMetricsEndpoints"][0]["port"] in [port["name"] for port in ports]


def expect_old_chart_beside(installations: Installations, app: Installation) -> None:
    """A second install, of the chart before, leaves the newer CRD alone."""
    second = installations.new(helm=app.helm, app={"enabled": False}, ingress={"enabled": False})
    second.create_namespace()
    ended = second.run_helm(*second.install_words())
    assert ended.code == 0, ended.said
    assert present_crd(app.cluster)["metadata"]["annotations"][CRD_VERSION] == NEXT_VERSION
    second.remove()


def present_crd(cluster: Cluster) -> dict[str, Any]:
    found = cluster.kube.get(CRD_PATH)
    assert found
    return found


def fields_of_spec(crd: dict[str, Any]) -> dict[str, Any]:
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: dict[str, Any] = schema["properties"]["spec"]["properties"]
    return found
