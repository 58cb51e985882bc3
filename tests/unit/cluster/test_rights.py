"""What was used of a role, as an audit log tells it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.cluster.rights import Right, granted, used

NOW = datetime(2026, 11, 29, tzinfo=UTC)
OPERATOR = "system:serviceaccount:test-1:inventory-operator"


def event(verb: str, resource: str, user: str = OPERATOR, **changes: Any) -> str:
    return json.dumps(
        {
            "verb": verb,
            "user": {"username": user},
            "objectRef": {"resource": resource, "apiGroup": "apps"},
            "annotations": {"authorization.k8s.io/decision": "allow"},
            "requestReceivedTimestamp": "2026-11-29T00:00:01.000000Z",
            "responseStatus": {"code": 200},
            **changes,
        }
    )


def seen(tmp_path: Path, *lines: str) -> set[str]:
    (tmp_path / "audit.log").write_text("".join(f"{line}\n" for line in lines))
    return {str(right) for right in used(tmp_path / "audit.log", ("test-",), NOW)}


def test_what_was_asked_for_and_allowed_is_used(tmp_path: Path) -> None:
    status: dict[str, Any] = {
        "objectRef": {"resource": "inventoryapps", "subresource": "status", "apiGroup": "inventory.dev"}
    }
    denied: dict[str, Any] = {"annotations": {"authorization.k8s.io/decision": "forbid"}}

    assert seen(
        tmp_path, event("list", "deployments"), event("patch", "", **status), event("delete", "jobs", **denied)
    ) == {
        "operator: list deployments.apps",
        "operator: patch inventoryapps/status.inventory.dev",
    }


def test_an_apply_of_what_was_not_there_needs_both_verbs(tmp_path: Path) -> None:
    assert seen(tmp_path, event("patch", "services", responseStatus={"code": 201})) == {
        "operator: patch services.apps",
        "operator: create services.apps",
    }


def test_what_others_did_and_what_was_before_does_not_count(tmp_path: Path) -> None:
    before = (NOW - timedelta(seconds=1)).isoformat()

    assert not seen(
        tmp_path,
        event("list", "a", user="system:serviceaccount:inventory:inventory-operator"),
        event("list", "b", user="admin"),
        event("list", "c", requestReceivedTimestamp=before),
        event("get", "", objectRef=None),
    )


def test_a_log_that_was_cut_for_its_size_and_one_that_grows_are_read(tmp_path: Path) -> None:
    (tmp_path / "audit-2026-11-29T00-00-00.000.log").write_text(event("list", "deployments") + "\n")

    (tmp_path / "audit.log").write_text(event("list", "pods") + "\n" + event("get", "pods")[:20])

    found = used(tmp_path / "audit.log", ("test-",), NOW)

    assert {(right.verb, right.resource) for right in found} == {("list", "deployments"), ("list", "pods")}


def test_a_role_grants_each_verb_on_each_resource() -> None:
    rule = {"apiGroups": ["apps"], "resources": ["deployments", "replicasets"], "verbs": ["get", "list"]}
    role = {"kind": "Role", "metadata": {"labels": {"app.kubernetes.io/component": "operator"}}, "rules": [rule]}

    assert granted([role, {"kind": "Service"}]) == {
        Right("operator", "apps", resource, verb)
        for resource in ("deployments", "replicasets")
        for verb in ("get", "list")
    }
