"""Every scenario of chart/ci, and the defaults: they render, the same each time, into what the CRD accepts."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from .render import CHART, MANIFESTS, SCENARIOS, Object, helm, load, one, pod_templates, scenario, template

EVERY_SCENARIO = pytest.mark.parametrize(
    "path", [None, *SCENARIOS], ids=["defaults", *(path.name.removesuffix("-values.yaml") for path in SCENARIOS)]
)


@EVERY_SCENARIO
def test_two_renders_are_the_same(path: Path | None) -> None:
    arguments = ("--values", str(path)) if path else ()

    first, second = template(*arguments), template(*arguments)

    assert first.stdout == second.stdout
    assert first.returncode == 0, first.stderr


@EVERY_SCENARIO
def test_no_secret_is_rendered(path: Path | None) -> None:
    assert "Secret" not in {found["kind"] for found in scenario(path)}


@EVERY_SCENARIO
def test_the_linter_has_nothing_to_say(path: Path | None) -> None:
    arguments = ["--values", str(path)] if path else []

    done = subprocess.run(
        [helm(), "lint", str(CHART), "--namespace", "default", "--strict", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout


@EVERY_SCENARIO
def test_every_pod_passes_the_restricted_level_with_a_read_only_root(path: Path | None) -> None:
    for name, pod in pod_templates(scenario(path)).items():
        assert list(offences(pod["spec"])) == [], name


def test_the_operator_without_helm_passes_the_restricted_level_too() -> None:
    (pod,) = pod_templates(load(MANIFESTS / "operator.yaml")).values()

    assert list(offences(pod["spec"])) == []


def offences(spec: Object) -> Iterator[str]:
    """What the Pod Security Standard `restricted` objects to, and what we ask for beyond it."""
    context = spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
        yield "may run as root"
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "has no seccomp profile"
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(host):
            yield f"sets {host}"
    for volume in spec.get("volumes", ()):
        if not set(volume) - {"name"} <= {"configMap", "emptyDir", "secret", "projected", "persistentVolumeClaim"}:
            yield f"has a volume of a forbidden type: {volume}"
    for container in [*spec.get("initContainers", ()), *spec["containers"]]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{container['name']} may gain privileges"
        if own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{container['name']} keeps capabilities"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{container['name']} has a writable root"
        if own.get("runAsNonRoot") is False or own.get("privileged"):
            yield f"{container['name']} undoes what its pod says"
        if not container.get("resources", {}).get("requests") or "memory" not in container["resources"].get(
            "limits", {}
        ):
            yield f"{container['name']} has no requests or no memory limit"
    if "automountServiceAccountToken" not in spec:
        yield "leaves open whether it gets a token"


@EVERY_SCENARIO
def test_the_crd_knows_every_field_of_the_rendered_inventoryapp(path: Path | None) -> None:
    for app in scenario(path):
        if app["kind"] == "InventoryApp":
            assert list(objections(app)) == []


def test_the_crd_knows_every_field_of_the_sample() -> None:
    (sample,) = load(MANIFESTS / "samples" / "inventoryapp.yaml")

    assert list(objections(sample)) == []


def objections(app: Object) -> Iterator[str]:
    (crd,) = load(MANIFESTS / "crd.yaml")
    assert app["apiVersion"].startswith(f"{crd['spec']['group']}/")
    (version,) = [found for found in crd["spec"]["versions"] if app["apiVersion"].endswith(f"/{found['name']}")]
    schema = version["schema"]["openAPIV3Schema"]
    yield from (error.message for error in Draft202012Validator(schema).iter_errors(app))
    yield from unknown(app["spec"], schema["properties"]["spec"], "spec")


def unknown(value: Any, schema: Any, where: str) -> Iterator[str]:
    """Fields that the API server would drop."""
    if schema.get("x-kubernetes-preserve-unknown-fields") or not isinstance(value, dict):
        return
    for key, inner in value.items():
        if "additionalProperties" in schema:
            yield from unknown(inner, schema["additionalProperties"], f"{where}.{key}")
        elif key not in schema.get("properties", {}):
            yield f"{where}.{key}"
        else:
            yield from unknown(inner, schema["properties"][key], f"{where}.{key}")


@EVERY_SCENARIO
def test_each_volume_mount_has_its_volume_and_each_name_its_object(path: Path | None) -> None:
    objects = scenario(path)
    accounts = {found["metadata"]["name"] for found in objects if found["kind"] == "ServiceAccount"}
    maps = {found["metadata"]["name"] for found in objects if found["kind"] == "ConfigMap"}
    for each in objects:
        for pod in pod_templates([each]).values():
            claims = {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", ())}
            volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
            mounts = {mount["name"] for found in pod["spec"]["containers"] for mount in found.get("volumeMounts", ())}
            assert mounts == volumes.keys() | claims
            assert {pod["spec"].get("serviceAccountName")} - {None} <= accounts
            assert {volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume} <= maps


@EVERY_SCENARIO
def test_every_secret_that_is_named_is_generated_or_named_in_the_values(path: Path | None) -> None:
    objects = scenario(path)
    generated = set()
    for found in objects:
        if found["kind"] == "ConfigMap" and "secrets.json" in found["data"]:
            generated = {secret["name"] for secret in json.loads(found["data"]["secrets.json"])}
    named = {"registry"}
    for pod in pod_templates(objects).values():
        for container in pod["spec"]["containers"]:
            named |= {source["secretRef"]["name"] for source in container.get("envFrom", ())}
    for found in objects:
        if found["kind"] == "InventoryApp":
            named |= set(found["spec"]["secrets"]) | {found["spec"].get("migrations", {}).get("secret", "registry")}

    assert named - generated <= set(re.findall(r"[a-z-]+", path.read_text() if path else "")) | {"registry"}


def test_generated_secrets_are_made_after_those_they_refer_to() -> None:
    config = one(scenario(None), "ConfigMap", "inventory-prepare")
    made: set[str] = set()

    for secret in json.loads(config["data"]["secrets.json"]):
        assert set(re.findall(r"\{ref:([^/]+)/", json.dumps(secret["values"]))) <= made
        made.add(secret["name"])


def test_the_crd_of_the_chart_is_the_one_of_the_manifests() -> None:
    (copy,) = (CHART / "crds").iterdir()

    assert copy.read_text() == (MANIFESTS / "crd.yaml").read_text(), "make crd"


def test_each_template_holds_one_object_and_is_named_after_its_kind() -> None:
    for path in (CHART / "templates").rglob("*.yaml"):
        written = {kind.lower() for kind in re.findall(r"^kind: (\w+)$", path.read_text(), re.MULTILINE)}
        allowed = {path.stem, f"cluster{path.stem}"} if path.parent.name == "operator" else {path.stem}
        assert written <= allowed, path
        assert written or path.name == "contradictions.yaml", path
