"""What wrong values get, and that every value is documented, checked and used."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from .render import CHART, refusal, render


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("app.replicas=many", "/app/replicas"),
        ("app.replicas=-1", "/app/replicas"),
        ("app.replica=2", "/app"),
        ("replicas=2", "replicas"),
        ("image.tag=a b", "/image/tag"),
        ("image.digest=sha256:short", "/image/digest"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("operator.watch.scope=everywhere", "/operator/watch/scope"),
        ("operator.logLevel=TRACE", "/operator/logLevel"),
        ("ingress.enabled=perhaps", "/ingress/enabled"),
        ("ingress.host=https://inventory.example.com", "/ingress/host"),
        ("ingress.hosts={a}", "/ingress"),
        ("app.config.A-B=c", "A-B"),
        ("app.config.NUMBER=5", "/app/config/NUMBER"),
        ("app.strategy.rolling.maxSurge=lots", "/app/strategy/rolling/maxSurge"),
        ("app.rollback=Never", "/app/rollback"),
        ("app.migrations.timeoutSeconds=0", "/app/migrations/timeoutSeconds"),
        ("app.migrations.contract.mode=Sometimes", "/app/migrations/contract/mode"),
        ("app.template.nodeSelectors.a=b", "/app/template"),
        ("app.template.volumes[0].secret.secretName=a", "/app/template/volumes/0"),
        ("app.template.volumeMounts[0].name=a", "/app/template/volumeMounts/0"),
        ("app.template.resources.requests.cpu=fast", "/app/template/resources/requests/cpu"),
        ("podDisruptionBudget.maxUnavailable=0", "/podDisruptionBudget/maxUnavailable"),
        ("podDisruptionBudget.maxUnavailable=0%", "/podDisruptionBudget/maxUnavailable"),
        ("postgres.storage.size=big", "/postgres/storage/size"),
        ("postgres.runAsUser=0", "/postgres/runAsUser"),
        ("secrets.admin.email=nobody", "/secrets/admin/email"),
        ("serviceMonitor.interval=often", "/serviceMonitor/interval"),
        ("fullnameOverride=Inventory", "/fullnameOverride"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(setting: str, named: str) -> None:
    assert named in refusal("--set", setting)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("app.replicas=2,autoscaling.enabled=true", "app.replicas and autoscaling.enabled contradict each other"),
        ("app.replicas=0,autoscaling.enabled=true", "app.replicas and autoscaling.enabled contradict each other"),
        (
            "autoscaling.enabled=true,autoscaling.minReplicas=7",
            "autoscaling.minReplicas is greater than autoscaling.maxReplicas",
        ),
        (
            "autoscaling.enabled=true,app.template.resources.requests.cpu=null",
            "autoscaling.enabled needs app.template.resources.requests.cpu",
        ),
        ("app.enabled=false,operator.enabled=false", "there is nothing to install"),
        ("app.enabled=false,ingress.enabled=true", "there is nothing to route to"),
        ("app.enabled=false,autoscaling.enabled=true", "there is nothing to scale"),
        ("operator.watch.scope=namespaces", "operator.watch.namespaces is empty"),
        ("operator.watch.namespaces={a}", "only looked at with operator.watch.scope: namespaces"),
        ("operator.watch.scope=namespaces,operator.watch.namespaces={a}", "operator.watch.namespaces lacks default"),
        ("ingress.enabled=true,ingress.tls.secretName=tls", "ingress.tls.secretName needs ingress.host"),
        ("postgres.enabled=false", "keys INVENTORY_DATABASE_URL and INVENTORY_SECRET_KEY"),
        (
            "postgres.enabled=false,secrets.service.existingSecret=mine",
            "the key INVENTORY_MIGRATION_DATABASE_URL",
        ),
        ("secrets.service.existingSecret=mine", "set postgres.enabled to false, or leave them empty"),
        ("secrets.migrations.existingSecret=mine", "set postgres.enabled to false, or leave them empty"),
        (
            "app.migrations.enabled=false,postgres.enabled=false,secrets.service.existingSecret=a"
            ",secrets.migrations.existingSecret=b",
            "only looked at with app.migrations.enabled",
        ),
        (
            "postgres.enabled=false,secrets.service.existingSecret=a,secrets.migrations.existingSecret=a",
            "the service's pods would see it",
        ),
        ("app.secrets={inventory-migrations}", "the service's pods would see it"),
        (
            "app.template.volumes[0].name=owner,app.template.volumes[0].secret.secretName=inventory-migrations",
            "the service's pods would see it",
        ),
        (
            "app.template.volumeMounts[0].name=ca,app.template.volumeMounts[0].mountPath=/ca",
            "names ca, which is none of app.template.volumes",
        ),
        (
            "postgres.enabled=false,app.config.INVENTORY_DATABASE_URL_FILE=/run/secrets/url",
            "INVENTORY_DATABASE_URL_FILE and INVENTORY_SECRET_KEY_FILE",
        ),
        ("app.config.INVENTORY_SECRET_KEY=x", "app.config.INVENTORY_SECRET_KEY is secret"),
        ("app.config.INVENTORY_PREVIOUS_SECRET_KEYS=x", "app.config.INVENTORY_PREVIOUS_SECRET_KEYS is secret"),
        ("app.config.INVENTORY_RELEASE=x", "app.config.INVENTORY_RELEASE is set by the operator"),
        (r"app.template.podLabels.inventory\.dev/app=x", "podLabels.inventory.dev/app is set by the operator"),
        ("app.strategy.rolling.maxSurge=0", "no pod could ever be replaced"),
        (
            "app.strategy.canary.maxSurge=1,app.strategy.blueGreen.autoPromote=true",
            "app.strategy.canary and app.strategy.blueGreen exclude each other",
        ),
        (
            "app.migrations.enabled=false,app.migrations.backup.volumeClaim=dumps",
            "only looked at with app.migrations.enabled",
        ),
        ("app.template.terminationGracePeriodSeconds=29", "must be at least 30"),
        (
            "app.template.terminationGracePeriodSeconds=40,app.template.preStopSeconds=20",
            "must be at least 45",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused_in_a_sentence(settings: str, sentence: str) -> None:
    assert sentence in refusal("--set", settings)


@pytest.mark.parametrize("release", ["9-lives", "in.ventory"])
def test_a_release_name_that_no_service_can_have_is_refused_in_a_sentence(release: str) -> None:
    assert "Set fullnameOverride or choose another release name" in refusal(release=release)


def test_a_long_release_name_is_cut_to_what_the_crd_allows() -> None:
    names = [found["metadata"]["name"] for found in render(release="a" * 53) if found["kind"] == "InventoryApp"]

    assert names == ["a" * 40]


def test_an_umbrella_chart_may_set_globals() -> None:
    assert render("--set", "global.anything=true,enabled=true")


def test_every_value_is_in_the_schema_and_every_one_of_the_schema_in_the_values() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())

    assert set(leaves(values)) == set(described(schema, schema)) - {"global", "enabled"}


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of the settings; what is under an open map or app.template counts as one."""
    if isinstance(value, dict) and value and not path.endswith(("resources", "app.template", "ingress.annotations")):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}".lstrip("."))
    else:
        yield path


def described(schema: Any, root: Any, path: str = "") -> Iterator[str]:
    if "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rsplit("/", 1)[1]]
    if "properties" in schema and not path.endswith(("resources", "app.template")):
        assert schema["additionalProperties"] is False, f"{path} is open"
        for key, inner in schema["properties"].items():
            yield from described(inner, root, f"{path}.{key}".lstrip("."))
    else:
        yield path


def test_every_value_is_used_by_a_template_and_every_one_that_is_used_is_documented() -> None:
    text = "\n".join(path.read_text() for path in (CHART / "templates").rglob("*") if path.is_file())
    used = set(re.findall(r"\.Values\.([A-Za-z.]+)", text))
    documented = set(leaves(yaml.safe_load((CHART / "values.yaml").read_text())))
    # Taken as a whole, by a helper or under `with`.
    whole = {"image", "operator.image", "postgres.image", "redis.image", "operator.watch", "app.strategy.rolling"}

    assert {path for path in documented if path not in used and path.rsplit(".", 1)[0] not in whole} == set()
    assert {path for path in used - documented - whole if not path.startswith("app.template.")} == set()


def test_every_value_has_a_comment_of_its_own_or_stands_under_one() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    blocks = [number for number, line in enumerate(lines) if re.match(r"^[a-zA-Z]+:", line)]

    for start, end in zip(blocks, [*blocks[1:], len(lines)], strict=True):
        assert any("#" in line for line in lines[max(start - 1, 0) : end]), lines[start]
