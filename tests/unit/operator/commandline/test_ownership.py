"""Who holds what, in whose way a change goes, and what an apply of ours takes with it."""

import copy
from typing import Any

import pytest
from inventory_operator.commandline.ownership import (
    Change,
    Way,
    apply_body,
    conflicts,
    difference,
    handed_back,
    holder,
    needs_patch,
    others,
    patch_body,
    refusal,
)

from .objects import inventory_app

Object = dict[str, Any]

WAY = Way(
    helm="helm rollback {release} 3 -n {namespace}",
    git="revert the commit, and let it sync",
    manifest="apply the manifest of revision 6",
)
EVERYTHING: Object = {
    "f:image": {},
    "f:config": {"f:LOG_LEVEL": {}},
    "f:secrets": {'v:"service"': {}},
    "f:replicas": {},
}


def entry(manager: str, fields: Object, operation: str = "Apply") -> Object:
    return {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": fields}}


def held_by(*entries: Object, labels: Object | None = None, annotations: Object | None = None) -> Object:
    app = copy.deepcopy(inventory_app())
    app["metadata"] |= {"managedFields": list(entries), "labels": labels or {}, "annotations": annotations or {}}
    return app


HELM = {"meta.helm.sh/release-name": "stock", "meta.helm.sh/release-namespace": "shop"}


def test_only_the_difference_is_changed() -> None:
    present = {"image": "a:1", "config": {"A": "1", "B": "2"}, "secrets": ["x", "y"]}
    wanted = {"image": "a:2", "config": {"A": "1", "C": "3"}, "secrets": ["x"]}
    change = difference(present, wanted)
    assert change.fields == {"image": "a:2", "config": {"C": "3"}, "secrets": ["x"]}
    assert change.removed == (("config", "B"), ("secrets",))


def test_an_apply_keeps_what_an_earlier_one_of_ours_has_set() -> None:
    app = held_by(entry("kubectl-inventory", {"f:paused": {}, "f:config": {"f:LOG_LEVEL": {}}}))
    app["spec"]["paused"] = True
    body = apply_body(app, Change({"image": "new:1"}))
    assert body["spec"] == {"image": "new:1", "paused": True, "config": {"LOG_LEVEL": "debug"}}
    assert body["metadata"] == {"name": "inventory", "namespace": "shop", "uid": app["metadata"]["uid"]}


def test_an_apply_leaves_out_what_is_ours_and_goes() -> None:
    app = held_by(entry("kubectl-inventory", {"f:config": {"f:LOG_LEVEL": {}, "f:OTHER": {}}}))
    app["spec"]["config"]["OTHER"] = "1"
    change = Change({"image": "new:1"}, (("config", "OTHER"),))
    assert not needs_patch(app, change)
    assert apply_body(app, change)["spec"] == {"image": "new:1", "config": {"LOG_LEVEL": "debug"}}


def test_what_another_holds_too_is_taken_away_in_the_same_write_as_the_rest() -> None:
    fields: Object = {"f:config": {"f:LOG_LEVEL": {}}}
    app = held_by(entry("kubectl-inventory", fields), entry("helm", fields))
    change = Change({"image": "new:1", "config": {"NEW": "1"}}, (("config", "LOG_LEVEL"),))
    assert needs_patch(app, change)
    assert patch_body(app, change) == {
        "metadata": {"resourceVersion": "77"},
        "spec": {"image": "new:1", "config": {"LOG_LEVEL": None, "NEW": "1"}},
    }


def test_fields_of_others_are_found_before_anything_is_sent() -> None:
    app = held_by(entry("helm", EVERYTHING), entry("kubectl-inventory", {"f:paused": {}}))
    change = Change({"image": "new:1", "paused": False, "config": {"NEW": "1"}}, (("config", "LOG_LEVEL"),))
    assert others(app, change) == {"helm": ["spec.image", "spec.config.LOG_LEVEL"]}


def test_a_field_that_is_held_as_a_whole_holds_all_in_it() -> None:
    app = held_by(entry("helm", {"f:template": {}}))
    assert others(app, Change({"template": {"resources": {"limits": {"cpu": "1"}}}})) == {
        "helm": ["spec.template.resources.limits.cpu"]
    }


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (
            'Apply failed with 1 conflict: conflict with "helm" using inventory.dev/v1alpha1: .spec.image',
            {"helm": ["spec.image"]},
        ),
        (
            'Apply failed with 3 conflicts: conflicts with "argocd-controller" using inventory.dev/v1alpha1:\n'
            '- .spec.image\n- .spec.config.LOG_LEVEL\nconflicts with "kubectl-edit" using inventory.dev/v1alpha1 at '
            "2026-01-01T00:00:00Z:\n- .spec.paused",
            {"argocd-controller": ["spec.image", "spec.config.LOG_LEVEL"], "kubectl-edit": ["spec.paused"]},
        ),
        ("the object has been modified; please apply your changes to the latest version", {}),
    ],
)
def test_the_api_servers_own_words_are_understood(message: str, found: dict[str, list[str]]) -> None:
    assert conflicts(message) == found


@pytest.mark.parametrize(
    ("managers", "labels", "annotations", "sentences"),
    [
        (
            ["helm"],
            {"app.kubernetes.io/managed-by": "Helm"},
            HELM,
            ["belongs to Helm (release stock in namespace shop)", "\n  helm rollback stock 3 -n shop\n", "hand-back"],
        ),
        (
            ["argocd-controller"],
            {"app.kubernetes.io/managed-by": "Helm"},
            {"argocd.argoproj.io/tracking-id": "stock-prod:inventory.dev/InventoryApp:shop/inventory"},
            ["belongs to Argo CD (application stock-prod)", "revert the commit", "Argo CD sets it back"],
        ),
        (
            ["kustomize-controller"],
            {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"},
            {},
            ["belongs to Flux (Kustomization apps in namespace flux-system)", "revert the commit", "Flux sets it back"],
        ),
        (
            ["helm-controller"],
            {"helm.toolkit.fluxcd.io/name": "stock", "app.kubernetes.io/managed-by": "Helm"},
            HELM,
            ["belongs to Flux (HelmRelease stock)", "revert the commit"],
        ),
        (["kubectl-client-side-apply"], {}, {}, ["belongs to kubectl", "apply the manifest of revision 6"]),
        (["deployer"], {}, {}, ["belongs to deployer", "deployer may set it back"]),
    ],
)
def test_a_refusal_names_the_tool_its_way_and_what_a_take_over_means(
    managers: list[str], labels: Object, annotations: Object, sentences: list[str]
) -> None:
    app = held_by(labels=labels, annotations=annotations)
    said = refusal(app, {manager: ["spec.image"] for manager in managers}, WAY)
    assert said.startswith("spec.image belongs to ")
    assert "--take-over" in said
    for sentence in sentences:
        assert sentence in said


def test_a_label_alone_makes_nobody_helms() -> None:
    assert holder(held_by(labels={"app.kubernetes.io/managed-by": "Helm"}), ["deployer"]).tool == "deployer"


def test_what_was_taken_over_is_handed_back_as_if_the_other_had_applied_it() -> None:
    ours = entry("kubectl-inventory", {"f:config": {"f:C": {}}, "f:image": {}})
    patched = entry("kubectl-inventory", {"f:paused": {}}, "Update")
    status = entry("inventory-operator", {}, "Update") | {"subresource": "status"}
    found = handed_back(held_by(entry("helm", {"f:config": {"f:A": {}}}), ours, patched, status))
    assert found is not None
    manager, entries = found
    assert manager == "helm"
    assert entries == [
        entry("helm", {"f:config": {"f:A": {}, "f:C": {}}, "f:image": {}, "f:paused": {}}),
        status,
    ]


def test_there_may_be_nothing_to_hand_back_and_nobody_to_take_it() -> None:
    assert handed_back(held_by(entry("helm", {}))) is None
    assert handed_back(held_by(entry("kubectl-inventory", {"f:image": {}}))) == ("", [])
