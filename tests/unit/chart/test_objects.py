"""What the chart promises of its objects."""

import os
from pathlib import Path

import pytest
from inventory_api.settings import MAX_IMPORT_BYTES, ServiceSettings, read_settings

from .render import MANIFESTS, SCENARIOS, Object, kinds, load, one, pod_templates, render, scenario


def test_the_ingress_shows_the_front_page_and_the_api_but_no_probe_and_no_metrics() -> None:
    ingress = one(render("--set", "ingress.enabled=true"), "Ingress", "inventory")

    (rule,) = ingress["spec"]["rules"]
    assert [(path["path"], path["pathType"]) for path in rule["http"]["paths"]] == [("/", "Exact"), ("/api", "Prefix")]
    assert {path["backend"]["service"]["name"] for path in rule["http"]["paths"]} == {"inventory"}


def test_what_comes_as_files_needs_no_secret_of_the_service() -> None:
    (files,) = [path for path in SCENARIOS if path.name == "files-values.yaml"]
    app = one(scenario(files), "InventoryApp", "inventory")["spec"]

    assert app["secrets"] == ["inventory-admin"]
    assert app["migrations"]["secret"] == "inventory-database-owner"
    assert [mount["mountPath"] for mount in app["template"]["volumeMounts"]] == [
        "/run/secrets/inventory",
        "/etc/database",
    ]


def test_the_ingress_belongs_to_no_controller_unless_told() -> None:
    ingress = one(render("--set", "ingress.enabled=true"), "Ingress", "inventory")

    assert "ingressClassName" not in ingress["spec"]
    assert "kubernetes.io/ingress.class" not in ingress["metadata"]["annotations"]


def test_the_ingress_lets_through_what_the_service_takes_and_waits_as_long_as_it_may_take() -> None:
    annotations = one(render("--set", "ingress.enabled=true"), "Ingress", "inventory")["metadata"]["annotations"]
    prefix = "nginx.ingress.kubernetes.io"
    megabytes = int(annotations[f"{prefix}/proxy-body-size"].removesuffix("m"))

    assert megabytes * 1024 * 1024 > MAX_IMPORT_BYTES
    assert int(annotations[f"{prefix}/proxy-read-timeout"]) > ServiceSettings.model_fields["import_seconds"].default


def test_the_service_answers_to_the_ingresss_host_and_believes_its_controller_unless_told_otherwise() -> None:
    def config(*values: str) -> Object:
        app: Object = one(render("--set", ",".join(("ingress.enabled=true", *values))), "InventoryApp", "inventory")
        found: Object = app["spec"].get("config", {})
        return found

    named = config("ingress.host=inventory.example.com")
    any_host = config("ingress.trustedProxies=null")
    own = config("ingress.host=inventory.example.com", "app.config.INVENTORY_ALLOWED_HOSTS=other.example.com")

    assert named["INVENTORY_ALLOWED_HOSTS"].split(",") == [
        "inventory.example.com",
        "inventory",
        "inventory.default",
        "inventory.default.svc",
        "inventory.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
    ]
    assert named["INVENTORY_TRUSTED_PROXIES"].startswith("10.0.0.0/8,")
    assert any_host == {}
    assert own["INVENTORY_ALLOWED_HOSTS"] == "other.example.com"
    assert "config" not in one(scenario(None), "InventoryApp", "inventory")["spec"]


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.name)
def test_the_service_takes_the_configuration_that_the_chart_gives_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("INVENTORY_")]:
        monkeypatch.delenv(name)
    for app in [found for found in scenario(path) if found["kind"] == "InventoryApp"]:
        for name, value in app["spec"].get("config", {}).items():
            monkeypatch.setenv(name, value)
        read_settings(ServiceSettings, database_url="postgresql://db/inventory", secret_key="k" * 32)


def test_the_autoscaler_drives_the_inventoryapp_which_then_has_no_count_of_its_own() -> None:
    objects = render("--set", "autoscaling.enabled=true")

    target = one(objects, "HorizontalPodAutoscaler", "inventory")["spec"]["scaleTargetRef"]
    app = one(objects, "InventoryApp", "inventory")
    assert target == {"apiVersion": app["apiVersion"], "kind": app["kind"], "name": app["metadata"]["name"]}
    assert "replicas" not in app["spec"]


@pytest.mark.parametrize("count", [0, 3])
def test_a_count_that_is_asked_for_is_rendered(count: int) -> None:
    app = one(render("--set", f"app.replicas={count}"), "InventoryApp", "inventory")

    assert app["spec"]["replicas"] == count


def test_the_disruption_budget_lets_a_single_replica_be_evicted() -> None:
    budget = one(scenario(None), "PodDisruptionBudget", "inventory")

    assert budget["spec"]["maxUnavailable"] == 1
    assert "minAvailable" not in budget["spec"]


def test_series_tell_the_stable_release_from_a_candidate() -> None:
    monitor = one(render("--set", "serviceMonitor.enabled=true"), "PodMonitor", "inventory")

    assert monitor["spec"]["podTargetLabels"] == ["inventory.dev/release", "inventory.dev/revision"]


def test_monitors_are_there_only_if_asked_for_and_take_labels() -> None:
    assert not {"ServiceMonitor", "PodMonitor"} & kinds(scenario(None))

    objects = render("--set", "serviceMonitor.enabled=true,serviceMonitor.labels.release=monitoring")

    for kind, name in (("PodMonitor", "inventory"), ("ServiceMonitor", "inventory-operator")):
        assert one(objects, kind, name)["metadata"]["labels"]["release"] == "monitoring"


def test_a_digest_wins_over_the_tag() -> None:
    digest = "sha256:" + "0" * 64

    app = one(render("--set", f"image.tag=v2,image.digest={digest}"), "InventoryApp", "inventory")

    assert app["spec"]["image"] == f"inventory-api@{digest}"


def test_an_upgrade_of_the_chart_alone_changes_no_label_of_a_pod() -> None:
    for name, pod in pod_templates(scenario(None)).items():
        if not name.startswith("Pod "):
            assert not {"helm.sh/chart", "app.kubernetes.io/version"} & pod["metadata"]["labels"].keys(), name


def test_no_pod_of_the_chart_is_taken_for_one_of_the_service() -> None:
    for pod in pod_templates(scenario(None)).values():
        assert "inventory.dev/app" not in pod["metadata"]["labels"]
        assert pod["metadata"]["labels"]["app.kubernetes.io/component"] != "service"


def rules(objects: list[Object], kind: str, name: str) -> list[Object]:
    found: list[Object] = one(objects, kind, name)["rules"]
    return found


def test_the_operator_has_the_same_rights_however_it_is_installed() -> None:
    beside = rules(scenario(None), "Role", "inventory-operator")
    everywhere = rules(render("--set", "operator.watch.scope=cluster"), "ClusterRole", "default:inventory:operator")
    some = rules(
        render("--set", "operator.watch.scope=namespaces,operator.watch.namespaces={default,other}"),
        "ClusterRole",
        "default:inventory:operator",
    )
    by_hand = rules(load(MANIFESTS / "operator.yaml"), "ClusterRole", "inventory-operator")

    assert beside == everywhere == some == by_hand


def test_the_operator_has_no_wildcard_and_may_at_most_look_at_a_secret_by_its_name() -> None:
    on_secrets = []
    for rule in rules(scenario(None), "Role", "inventory-operator"):
        assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        on_secrets += [rule["verbs"]] if "secrets" in rule["resources"] else []
    assert on_secrets == [["get"]]


def test_the_operator_may_be_kept_from_all_secrets() -> None:
    for rule in rules(render("--set", "operator.watchSecrets=false"), "Role", "inventory-operator"):
        assert "secrets" not in rule["resources"]


@pytest.mark.parametrize(
    ("settings", "kind", "found"),
    [
        ("app.strategy.rolling.maxSurge=2", "rolling", {"maxSurge": 2, "maxUnavailable": 0}),
        ("app.strategy.canary.steps[0].weight=10", "canary", {"steps": [{"weight": 10}]}),
        ("app.strategy.blueGreen.autoPromote=false", "blueGreen", {"autoPromote": False}),
    ],
)
def test_a_strategy_that_is_asked_for_takes_the_place_of_rolling(settings: str, kind: str, found: Object) -> None:
    app = one(render("--set", settings), "InventoryApp", "inventory")

    assert app["spec"]["strategy"] == {kind: found}


def test_analysis_rollback_contract_and_backup_are_passed_on() -> None:
    settings = {
        "app.analysis.prometheus.address": "http://prometheus:9090",
        "app.rollback": "Freeze",
        "app.migrations.contract.mode": "Automatic",
        "app.migrations.backup.volumeClaim": "dumps",
    }
    spec = one(render("--set", ",".join(f"{k}={v}" for k, v in settings.items())), "InventoryApp", "inventory")["spec"]

    assert spec["analysis"] == {"prometheus": {"address": "http://prometheus:9090"}}
    assert spec["rollback"] == "Freeze"
    assert spec["migrations"]["contract"] == {"mode": "Automatic", "soakSeconds": 3600}
    assert spec["migrations"]["backup"] == {"volumeClaim": "dumps"}


def test_an_upgrade_of_the_chart_alone_needs_no_field_that_the_crd_before_has_not() -> None:
    spec = one(scenario(None), "InventoryApp", "inventory")["spec"]

    assert not {"analysis", "rollback"} & spec.keys()
    assert spec["strategy"].keys() == {"rolling"}
    assert not {"contract", "backup"} & spec["migrations"].keys()


def test_a_candidate_is_answered_under_its_own_names_too_where_hosts_are_named() -> None:
    settings = "ingress.enabled=true,ingress.host=inventory.example.com,app.strategy.canary.maxSurge=1"
    config = one(render("--set", settings), "InventoryApp", "inventory")["spec"]["config"]

    names = {"inventory-candidate", "inventory-candidate.default", "inventory-candidate.default.svc.cluster.local"}
    assert names < set(config["INVENTORY_ALLOWED_HOSTS"].split(","))


def test_beside_its_app_the_operator_has_no_right_in_the_cluster() -> None:
    objects = render("--set", "crds.upgrade=false")

    assert not {"ClusterRole", "ClusterRoleBinding"} & kinds(objects)
    assert operator_arguments(objects) == ["run", "--namespace=default"]


def test_for_some_namespaces_the_operator_is_bound_in_these_alone() -> None:
    objects = render(
        "--set", "crds.upgrade=false,operator.watch.scope=namespaces,operator.watch.namespaces={default,other}"
    )

    bound = {
        found["metadata"]["namespace"]
        for found in objects
        if found["kind"] == "RoleBinding" and found["roleRef"]["kind"] == "ClusterRole"
    }
    assert bound == {"default", "other"}
    assert "ClusterRoleBinding" not in kinds(objects)
    assert operator_arguments(objects) == ["run", "--namespace=default", "--namespace=other"]


def operator_arguments(objects: list[Object]) -> list[str]:
    arguments: list[str] = one(objects, "Deployment", "inventory-operator")["spec"]["template"]["spec"]["containers"][
        0
    ]["args"]
    return arguments


def test_the_hook_has_rights_on_this_crd_and_on_the_secrets_it_makes_only() -> None:
    objects = scenario(None)

    (on_crd,) = rules(objects, "ClusterRole", "default:inventory:prepare")
    assert on_crd["resourceNames"] == ["inventoryapps.inventory.dev"]
    assert on_crd["verbs"] == ["get", "create", "patch"]
    reads, creates = rules(objects, "Role", "inventory-prepare")
    assert reads["verbs"] == ["get"]
    assert "inventory-admin" in reads["resourceNames"]
    assert creates["verbs"] == ["create"]


def test_the_hook_and_all_it_needs_are_gone_when_it_has_done_its_work() -> None:
    hooks = [
        found
        for found in scenario(None)
        if found["metadata"].get("annotations", {}).get("helm.sh/hook") == "pre-install,pre-upgrade"
    ]

    assert {found["kind"] for found in hooks} == {
        *("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Job")
    }
    for found in hooks:
        annotations = found["metadata"]["annotations"]
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        # What the Job needs is there before it.
        assert int(annotations["helm.sh/hook-weight"]) < 0 or found["kind"] == "Job"


def test_with_secrets_of_ones_own_the_hook_makes_none() -> None:
    objects = render(
        "--set",
        "postgres.enabled=false,redis.enabled=false,secrets.service.existingSecret=a"
        ",secrets.migrations.existingSecret=b,secrets.admin.existingSecret=c",
    )

    arguments = one(objects, "Job", "inventory-prepare")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments == ["prepare", "--namespace=default", "--crd"]
    assert one(objects, "InventoryApp", "inventory")["spec"]["secrets"] == ["a", "c"]
    assert "Role" in kinds(objects)  # the operator's
    assert "inventory-prepare" not in {found["metadata"]["name"] for found in objects if found["kind"] == "Role"}


def test_without_anything_to_prepare_there_is_no_hook() -> None:
    objects = render("--set", "app.enabled=false,crds.upgrade=false")

    assert "Job" not in kinds(objects)
    assert not [found for found in objects if "helm.sh/hook" in found["metadata"].get("annotations", {})]


def test_the_operator_can_be_left_out() -> None:
    objects = render("--set", "operator.enabled=false")

    assert "Deployment" not in kinds(objects)
    assert "InventoryApp" in kinds(objects)
