"""Jobs as the operator makes them."""

from dataclasses import replace
from typing import Any

import pytest
from inventory_operator import job_manifests, manifests, observe
from inventory_operator.actions import CreateJob
from inventory_operator.model import App, Migrations

from . import schemas
from .world import START, an_app

RESOURCES = {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
GATE = CreateJob("abc", 7, 1, "a:1", step="gate2", job={"args": ["smoke"], "env": {"A": "b"}, "secrets": ["admin"]})
USERS = {"image": "tools:1", "command": ["save"], "secrets": ["s3"], "timeoutSeconds": 60}


def backing_up(backup: dict[str, Any] | None) -> App:
    content = {"image": "a:1", "config": {"A": "b"}, "template": {"resources": RESOURCES, "nodeSelector": {"a": "b"}}}
    return an_app(content=content, migrations=Migrations("owner", backup=backup))


ON_VOLUME = backing_up({"volumeClaim": "dumps"})
BY_USER = backing_up({"job": USERS, "restoreJob": {"image": "tools:2"}})


def a_step(step: str, *arguments: str) -> CreateJob:
    return CreateJob("abc", 7, 2, "a:1", step=step, arguments=arguments)


def a_restore(step: str, reference: str) -> CreateJob:
    return CreateJob("abc", 7, 2, "a:1", step=step, arguments=(), job={"reference": reference})


def every_job() -> dict[str, tuple[App, CreateJob]]:
    return {
        "expand": (ON_VOLUME, CreateJob("abc", 7, 1, "a:1")),
        "contract": (ON_VOLUME, a_step("contract1", "migrate", "contract")),
        "downgrade": (ON_VOLUME, a_step("downgrade2", "migrate", "downgrade", "c0001")),
        "look": (ON_VOLUME, a_step("look3", "migrate", "status")),
        "gate": (ON_VOLUME, GATE),
        "dump": (ON_VOLUME, a_step("backup1")),
        "undump": (ON_VOLUME, a_restore("restore2", "dumps/inventory-7-1.dump")),
        "backup": (BY_USER, a_step("backup1")),
        "restore": (BY_USER, a_restore("restore2", "s3://x")),
    }


EVERY_JOB = pytest.mark.parametrize("name", every_job())


def made(name: str) -> dict[str, Any]:
    return job_manifests.job(*every_job()[name])


def pod(name: str) -> dict[str, Any]:
    found: dict[str, Any] = made(name)["spec"]["template"]["spec"]
    return found


def container(name: str) -> dict[str, Any]:
    [found] = pod(name)["containers"]
    return dict(found)


def variables(name: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(name)["env"]}


@EVERY_JOB
def test_a_jobs_pod_passes_the_restricted_level_without_a_token(name: str) -> None:
    assert {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}.items() <= pod(name)[
        "securityContext"
    ].items()
    assert pod(name)["automountServiceAccountToken"] is False
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container(name)["resources"] == RESOURCES
    assert pod(name)["nodeSelector"] == {"a": "b"}
    assert {mount["name"] for mount in container(name)["volumeMounts"]} == {v["name"] for v in pod(name)["volumes"]}


@EVERY_JOB
def test_kubelet_expands_nothing_in_a_job_that_is_not_meant(name: str) -> None:
    found = container(name)
    for text in (*found.get("command", ()), *found.get("args", ()), *variables(name).values()):
        assert "$$" not in text, "which becomes a single one"
        assert "$(" not in text, "which becomes a variable's value"


@EVERY_JOB
def test_every_job_ends_and_never_has_two_pods(name: str) -> None:
    spec = made(name)["spec"]
    assert (spec["parallelism"], spec["completions"], spec["podReplacementPolicy"]) == (1, 1, "Failed")
    assert spec["activeDeadlineSeconds"] > 0
    assert "ttlSecondsAfterFinished" not in spec
    assert pod(name)["restartPolicy"] == "Never"


@EVERY_JOB
def test_a_job_reads_back_as_the_step_that_it_was_made_for(name: str) -> None:
    app, action = every_job()[name]
    found = made(name)
    assert manifests.is_job_name(app, found["metadata"]["name"])
    found["metadata"] |= {"uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    job = observe.parse_job(found)
    assert (job.name, job.step, job.revision, job.attempt) == (
        f"inventory-7-{action.step}-{action.attempt}",
        action.step,
        7,
        action.attempt,
    )
    assert found["spec"]["template"]["metadata"]["labels"] == found["metadata"]["labels"]


@EVERY_JOB
def test_what_touches_the_schema_is_a_migration_to_everybody(name: str) -> None:
    template = made(name)["spec"]["template"]
    meta = {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": [{"uid": "u"}]}
    running = {"podIP": "10.0.0.1", "containerStatuses": [{"state": {"running": {}}}]}
    found = observe.parse_pod({"metadata": template["metadata"] | meta, "status": running})
    assert found.migrates is (name not in ("gate", "dump", "backup"))
    assert found.owner == "u"
    # No Job is asked for its readiness, and none counts as a pod of the service.
    assert found.address == ""
    assert not manifests.pod_selector(ON_VOLUME).items() <= template["metadata"]["labels"].items()


def test_a_job_of_before_there_were_steps_is_an_expand() -> None:
    found = made("expand")
    found["metadata"] |= {"uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    del found["metadata"]["labels"]["inventory.dev/step"]
    assert observe.parse_job(found).step == "expand"


@pytest.mark.parametrize("name", ["expand", "contract", "downgrade", "look"])
def test_a_migration_job_runs_the_images_command_as_the_owner(name: str) -> None:
    _, action = every_job()[name]
    found = container(name)
    assert (found["image"], found["args"]) == ("a:1", list(action.arguments))
    assert "command" not in found
    assert found["envFrom"] == [{"secretRef": {"name": "owner"}}]
    assert variables(name)["INVENTORY_APP_UID"] == "uid-1"
    assert variables(name)["A"] == "b"
    assert made(name)["spec"]["backoffLimit"] == 4


@pytest.mark.parametrize("name", ["gate", "dump", "undump", "backup", "restore"])
def test_other_jobs_are_tried_once(name: str) -> None:
    assert made(name)["spec"]["backoffLimit"] == 0


def test_a_gate_is_told_where_the_candidate_is_and_sees_no_secret_but_its_own() -> None:
    found = container("gate")
    assert (found["image"], found["args"]) == ("a:1", ["smoke"])
    assert variables("gate") == {
        "A": "b",
        "INVENTORY_URL": "http://inventory-candidate",
        "INVENTORY_RELEASE": "abc",
    }
    assert found["envFrom"] == [{"secretRef": {"name": "admin"}}]
    assert made("gate")["spec"]["activeDeadlineSeconds"] == 300


def test_a_gate_may_bring_its_own_image_and_time_limit() -> None:
    wanted = {"image": "k6:1", "command": ["k6"], "timeoutSeconds": 5}
    found = job_manifests.job(ON_VOLUME, replace(GATE, job=wanted))["spec"]
    [own] = found["template"]["spec"]["containers"]
    assert (own["image"], own["command"], "args" in own) == ("k6:1", ["k6"], False)
    assert found["activeDeadlineSeconds"] == 5


def test_what_the_operator_tells_a_users_job_wins_over_what_the_user_says() -> None:
    found = job_manifests.job(ON_VOLUME, replace(GATE, job={"args": ["x"], "env": {"INVENTORY_URL": "http://else"}}))
    [own] = found["spec"]["template"]["spec"]["containers"]
    # The last of two counts.
    assert [each["value"] for each in own["env"] if each["name"] == "INVENTORY_URL"][-1] == "http://inventory-candidate"


@pytest.mark.parametrize(("name", "claim"), [("dump", "dumps"), ("undump", "dumps")])
def test_a_dump_lies_on_the_claim_under_a_name_of_its_own(name: str, claim: str) -> None:
    assert variables(name).items() >= {"BACKUP_CLAIM": claim, "BACKUP_FILE": "inventory-7-1.dump"}.items()
    volumes = {volume["name"]: volume for volume in pod(name)["volumes"]}
    assert volumes["backups"]["persistentVolumeClaim"] == {"claimName": claim}
    assert container(name)["image"] == "docker.io/library/postgres:18"
    assert container(name)["envFrom"] == [{"secretRef": {"name": "owner"}}]
    assert pod(name)["securityContext"]["runAsUser"] == pod(name)["securityContext"]["fsGroup"] == 999


def test_a_dump_is_restored_from_the_claim_that_it_was_written_to() -> None:
    elsewhere = backing_up({"volumeClaim": "new-dumps", "image": "pg:17", "timeoutSeconds": 9})
    found = job_manifests.job(elsewhere, a_restore("restore2", "dumps/inventory-3-1.dump"))["spec"]
    spec = found["template"]["spec"]
    assert spec["volumes"][-1]["persistentVolumeClaim"] == {"claimName": "dumps"}
    assert (spec["containers"][0]["image"], found["activeDeadlineSeconds"]) == ("pg:17", 9)


def test_the_users_backup_gets_a_name_and_his_restore_the_reference() -> None:
    assert variables("backup") == {"INVENTORY_BACKUP_NAME": "inventory-7-backup1-2"}
    assert container("backup")["envFrom"] == [{"secretRef": {"name": "owner"}}, {"secretRef": {"name": "s3"}}]
    assert made("backup")["spec"]["activeDeadlineSeconds"] == 60
    assert variables("restore")["INVENTORY_BACKUP"] == "s3://x"
    assert container("restore")["image"] == "tools:2"
    # Half a restore begun again by nobody knows whom: it fails instead.
    assert "podFailurePolicy" not in made("restore")["spec"]


@pytest.mark.parametrize(
    ("wanted", "spec"),
    [
        ({"cluster": "pg"}, {"cluster": {"name": "pg"}}),
        ({"cluster": "pg", "method": "volumeSnapshot"}, {"cluster": {"name": "pg"}, "method": "volumeSnapshot"}),
        (
            {"cluster": "pg", "method": "plugin", "plugin": "barman-cloud.cloudnative-pg.io"},
            {
                "cluster": {"name": "pg"},
                "method": "plugin",
                "pluginConfiguration": {"name": "barman-cloud.cloudnative-pg.io"},
            },
        ),
    ],
)
def test_a_backup_of_cloudnativepg_is_one_that_its_crd_takes(wanted: dict[str, str], spec: dict[str, Any]) -> None:
    found = job_manifests.job(backing_up({"cloudNativePG": wanted}), a_step("backup1"))
    assert (found["apiVersion"], found["kind"], found["spec"]) == ("postgresql.cnpg.io/v1", "Backup", spec)
    assert found["metadata"]["name"] == "inventory-7-backup1-2"
    assert schemas.objections(found, schemas.foreign("backup")) == []


@pytest.mark.parametrize(
    ("phase", "complete", "failed"),
    [
        *((phase, False, False) for phase in ("", "pending", "running", "finalizing", "walArchivingFailing")),
        ("completed", True, False),
        ("failed", False, True),
    ],
)
def test_a_backup_of_cloudnativepg_is_observed_as_a_job_by_its_phase(phase: str, complete: bool, failed: bool) -> None:
    found = job_manifests.job(backing_up({"cloudNativePG": {"cluster": "pg"}}), a_step("backup1"))
    found["metadata"] |= {"uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    found["status"] = {"phase": phase, "error": "no space left"}
    job, pod = observe.parse_backup(found)
    assert (job.complete, job.failed, job.step, job.revision) == (complete, failed, "backup1", 7)
    assert job.created == START
    assert job.message == "no space left"
    # While it is under way, somebody works on it.
    assert (pod.owner, pod.finished, pod.migrates) == ("u", complete or failed, False)
    assert schemas.objections(found, schemas.foreign("backup")) == []


@pytest.mark.parametrize(
    ("app", "action", "sentence"),
    [
        (an_app(migrations=None), CreateJob("abc", 1, 1, "a:1"), "the app has no migrations"),
        (backing_up(None), a_step("backup1"), "the app has no backup"),
        (backing_up({"job": USERS}), a_restore("restore1", "x"), "no way to restore"),
        (backing_up({"cloudNativePG": {"cluster": "pg"}}), a_restore("restore1", "x"), "no way to restore"),
        (ON_VOLUME, a_step("restore1"), "no way to restore"),
    ],
)
def test_a_job_that_the_spec_does_not_provide_for_is_refused(app: App, action: CreateJob, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        job_manifests.job(app, action)


def test_a_backup_can_be_restored_by_what_wrote_it() -> None:
    assert not job_manifests.restorable(None)
    assert job_manifests.restorable({"volumeClaim": "dumps"})
    assert not job_manifests.restorable({"job": USERS})
    assert job_manifests.restorable({"job": USERS, "restoreJob": USERS})
    assert not job_manifests.restorable({"cloudNativePG": {"cluster": "pg"}})
