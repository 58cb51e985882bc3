"""Objects as the operator writes them, and what it reads back."""

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inventory_api.migrations.rule import DatabaseSchema, ImageSchema
from inventory_operator import job_manifests, manifests, observe
from inventory_operator.actions import CreateJob
from inventory_operator.model import (
    App,
    Operation,
    Record,
    Stage,
    Tally,
    Work,
    WorkStage,
    release_content,
    release_hash,
)
from inventory_operator.rollout import pinned_image

from .world import START, an_app

NAMES = st.text("abcdefghij0123456789", min_size=1, max_size=6)
TIMES = st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1))
HISTORIES = st.lists(NAMES, max_size=3).map(tuple)
TALLIES = st.builds(
    Tally,
    name=NAMES,
    good=st.integers(0, 9),
    bad=st.integers(0, 9),
    unclear=st.integers(0, 9),
    measured=st.none() | TIMES,
    said=st.text(max_size=20),
)
OPERATIONS = st.builds(
    Operation,
    kind=st.sampled_from(Work),
    number=st.integers(1, 99),
    stage=st.sampled_from(WorkStage),
    started=TIMES,
    revision=st.integers(0, 99),
    backup=st.text(max_size=20),
    message=st.text(max_size=20),
    ended=st.none() | TIMES,
)
RECORDS = st.builds(
    Record,
    revision=st.integers(1, 10**6),
    stage=st.sampled_from(Stage),
    started=TIMES,
    image=st.text(max_size=20),
    reason=st.text(max_size=20),
    message=st.text(max_size=50),
    ended=st.none() | TIMES,
    image_schema=st.none() | st.builds(ImageSchema, HISTORIES, HISTORIES, HISTORIES),
    database_schema=st.none() | st.builds(DatabaseSchema, HISTORIES, HISTORIES),
    schema_seen=st.none() | TIMES,
    ready=st.integers(0, 100),
    progressed=st.none() | TIMES,
    step=st.integers(0, 32),
    steps=NAMES,
    step_started=st.none() | TIMES,
    routed=st.integers(0, 100),
    tallies=st.lists(TALLIES, max_size=3).map(tuple),
    held=st.booleans(),
    served=st.booleans(),
    operation=st.none() | OPERATIONS,
    backup=st.text(max_size=20),
)
STARTED = '"revision": 1, "stage": "failed", "image": "a", "started": "2026-01-01T00:00:00Z"'
EXPAND = CreateJob("abc", 1, 1, "a:1")


@given(RECORDS)
def test_a_record_survives_its_annotation(record: Record) -> None:
    assert manifests.load_record(manifests.dump_record(record)) == record


def test_a_record_of_an_older_operator_and_one_of_a_newer_one_can_be_read() -> None:
    older = (
        '{"database_schema": {"contract": [], "expand": ["0001"]}, "image": "a:1", "image_schema": {"contract": [], '
        '"expand": ["0001"], "required_contract": []}, "revision": 3, "stage": "promoted", '
        '"started": "2026-01-01T00:00:00+00:00"}'
    )
    found = manifests.load_record(older)
    assert (found.revision, found.stage, found.image_schema) == (3, Stage.PROMOTED, ImageSchema(("0001",), ()))
    newer = found.__class__(
        3,
        Stage.ROLLING,
        START,
        "a:1",
        tallies=(Tally("p99"),),
        operation=Operation(Work.CONTRACT, 1, WorkStage.DONE, START),
    )
    text = manifests.dump_record(newer).replace('"name": "p99"', '"name": "p99", "later": 1')
    text = text.replace('"kind": "contract"', '"kind": "contract", "later": {}').replace(
        '"image"', '"later": [], "image"'
    )
    assert manifests.load_record(text) == newer


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "{}", "[]", "null", '{"revision": 1}', '{"stage": "unheard-of"}'),
        '{"revision": 1, "stage": "failed", "image": "a", "started": 5}',
        f'{{"tallies": 5, {STARTED}}}',
        f'{{"tallies": [{{}}], {STARTED}}}',
        f'{{"operation": {{"kind": "x"}}, {STARTED}}}',
    ],
)
def test_a_record_that_somebody_spoilt_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the kinds that json and enum raise are all ValueErrors
        manifests.load_record(text)


def test_the_hash_is_of_what_the_user_wrote_whatever_its_order_and_without_defaults() -> None:
    spec = {"image": "a:1", "config": {"B": "2", "A": "1"}, "replicas": 3, "progressDeadlineSeconds": 300}
    other = {"config": {"A": "1", "B": "2"}, "image": "a:1", "secrets": [], "template": {}}
    assert release_hash(release_content(spec)) == release_hash(release_content(other))
    assert release_hash(release_content(spec | {"image": "a:2"})) != release_hash(release_content(spec))
    assert release_hash(release_content(spec | {"config": {"A": "1"}})) != release_hash(release_content(spec))


def a_full_app() -> App:
    template = {"resources": {"limits": {"memory": "1Gi"}}, "podLabels": {"team": "tools"}, "nodeSelector": {"a": "b"}}
    return an_app(
        content={
            "image": "a:1",
            "config": {"INVENTORY_LOG_LEVEL": "debug"},
            "secrets": ["service"],
            "template": template,
            "imagePullPolicy": "Always",
        }
    )


def pod_specs() -> list[dict[str, Any]]:
    app = a_full_app()
    deployment = manifests.deployment(app, "abc", Record(1, Stage.MIGRATING, START, "a:1"))
    job = job_manifests.job(app, EXPAND)
    return [deployment["spec"]["template"]["spec"], job["spec"]["template"]["spec"]]


@pytest.mark.parametrize("spec", pod_specs())
def test_pods_pass_the_restricted_level_with_a_read_only_root(spec: dict[str, Any]) -> None:
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["automountServiceAccountToken"] is False
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["imagePullPolicy"] == "Always"
    assert {"name": "INVENTORY_LOG_LEVEL", "value": "debug"} in container["env"]


def test_a_migration_runs_where_the_service_does() -> None:
    where = {
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "priorityClassName": "high",
        "serviceAccountName": "inventory",
    }
    apart = {
        "affinity": {"nodeAffinity": {"a": 1}, "podAntiAffinity": {"b": 2}, "podAffinity": {"c": 3}},
        "topologySpreadConstraints": [{"maxSkew": 1}],
    }
    app = an_app(content={"image": "a:1", "template": {**where, **apart}})
    service = manifests.deployment(app, "abc", Record(1, Stage.MIGRATING, START, "a:1"))["spec"]["template"]["spec"]
    job = job_manifests.job(app, EXPAND)["spec"]["template"]["spec"]
    assert where.items() <= service.items()
    assert where.items() <= job.items()
    assert apart.items() <= service.items()
    # What keeps the service's pods apart would keep the migration off all their nodes.
    assert job["affinity"] == {"nodeAffinity": {"a": 1}}
    assert "topologySpreadConstraints" not in job


def test_service_and_migration_have_the_same_volumes() -> None:
    volume = {"name": "authority", "configMap": {"name": "database-authority"}}
    mount = {"name": "authority", "mountPath": "/etc/database", "readOnly": True}
    app = an_app(content={"image": "a:1", "template": {"volumes": [volume], "volumeMounts": [mount], "fsGroup": 10001}})
    service = manifests.deployment(app, "abc", Record(1, Stage.MIGRATING, START, "a:1"))["spec"]["template"]["spec"]
    job = job_manifests.job(app, CreateJob("abc", 1, 1, "a:1"))["spec"]["template"]["spec"]
    for spec in (service, job):
        assert [each["name"] for each in spec["volumes"]] == ["tmp", "authority"]
        assert spec["volumes"][1] == volume
        assert [each["mountPath"] for each in spec["containers"][0]["volumeMounts"]] == ["/tmp", "/etc/database"]
        assert spec["containers"][0]["volumeMounts"][1] == mount
        assert spec["securityContext"]["fsGroup"] == 10001


@pytest.mark.parametrize(("pre_stop", "grace"), [({}, 45), ({"preStopSeconds": 60}, 100), ({"preStopSeconds": 0}, 40)])
def test_a_pod_has_time_to_drain_after_its_pre_stop(pre_stop: dict[str, int], grace: int) -> None:
    app = an_app(content={"image": "a:1", "template": pre_stop})
    made = manifests.deployment(app, "abc", Record(1, Stage.MIGRATING, START, "a:1"))
    assert made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == grace


def test_the_migration_secret_reaches_the_job_alone() -> None:
    service, job = pod_specs()
    assert service["containers"][0]["envFrom"] == [{"secretRef": {"name": "service"}}]
    assert job["containers"][0]["envFrom"] == [{"secretRef": {"name": "owner"}}]


def test_pods_carry_release_and_revision_and_a_user_cannot_take_those_labels_away() -> None:
    app = a_full_app()
    meta = manifests.deployment(app, "abc", Record(7, Stage.MIGRATING, START, "a:1"))["spec"]["template"]["metadata"]
    assert meta["labels"]["inventory.dev/release"] == "abc"
    assert meta["labels"]["inventory.dev/revision"] == "7"
    assert meta["labels"]["team"] == "tools"


def test_nothing_has_a_finalizer_and_everything_an_owner() -> None:
    app = a_full_app()
    for made in (
        manifests.deployment(app, "abc", Record(1, Stage.MIGRATING, START, "a:1")),
        manifests.service(app, None),
        manifests.service(app, "abc", candidate=True),
        job_manifests.job(app, EXPAND),
    ):
        assert "finalizers" not in made["metadata"]
        assert [owner["uid"] for owner in made["metadata"]["ownerReferences"]] == ["uid-1"]


def test_a_service_as_written_reads_back_as_wanted_and_an_edited_one_does_not() -> None:
    app = a_full_app()
    made = manifests.service(app, "abc")
    assert observe.parse_service(made, app).as_wanted
    edited = copy.deepcopy(made)
    edited["spec"]["ports"][0]["targetPort"] = 9
    assert not observe.parse_service(edited, app).as_wanted
    edited = copy.deepcopy(made)
    edited["spec"]["ports"].append({"name": "theirs", "port": 9090, "targetPort": 9090, "protocol": "TCP"})
    assert observe.parse_service(edited, app).as_wanted
    edited = copy.deepcopy(made)
    edited["spec"]["selector"]["mine"] = "yes"
    assert not observe.parse_service(edited, app).as_wanted


def test_objects_of_another_owner_are_named_and_not_taken() -> None:
    app = a_full_app()
    other = replace(app, name="warehouse", uid="other")
    stranger = manifests.deployment(other, "abc", Record(1, Stage.MIGRATING, START, "a:1"))
    jobs = [job_manifests.job(each, EXPAND) for each in (app, other)]
    service = manifests.service(app, None)
    for each in (*jobs, service):
        del each["metadata"]["ownerReferences"]
    observed = observe.parse(app, [stranger], jobs, [], service)
    assert observed.foreign == ("Deployment warehouse-abc", "Job inventory-1-expand-1", "Service inventory")
    assert not observed.leaving
    assert not observed.jobs


def test_what_a_deleted_app_of_the_same_name_owned_is_leaving() -> None:
    before = replace(a_full_app(), uid="before")
    deployment = manifests.deployment(before, "abc", Record(1, Stage.MIGRATING, START, "a:1"))
    service = manifests.service(before, None)
    observed = observe.parse(a_full_app(), [deployment], [], [], service)
    assert observed.leaving == ("Deployment inventory-abc", "Service inventory")
    assert not observed.foreign


def test_a_migrating_pod_belongs_to_its_job_by_uid() -> None:
    made = job_manifests.job(a_full_app(), EXPAND)["spec"]["template"]
    pod = {
        "metadata": {
            **made["metadata"],
            "name": "inventory-1-expand-1-x",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"uid": "uid-of-the-job"}],
        },
        "status": {
            "phase": "Pending",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z"},
            ],
        },
    }
    parsed = observe.parse_pod(pod)
    assert (parsed.owner, parsed.migrates, parsed.finished) == ("uid-of-the-job", True, False)
    assert parsed.scheduled == START + timedelta(minutes=1)


DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "image_id", "pinned"),
    [
        ("127.0.0.1:5000/api:1", f"127.0.0.1:5000/api@{DIGEST}", f"127.0.0.1:5000/api@{DIGEST}"),
        ("postgres:18", f"docker.io/library/postgres@{DIGEST}", f"postgres@{DIGEST}"),
        ("acme/api:1", f"docker-pullable://acme/api@{DIGEST}", f"acme/api@{DIGEST}"),
        (f"acme/api@{DIGEST}", "", f"acme/api@{DIGEST}"),
        ("acme/api:1", f"docker.io/library/import-2026@{DIGEST}", None),  # loaded into the node, not pulled
        ("acme/api:1", DIGEST, None),
        ("acme/api:1", "", None),
    ],
)
def test_an_image_is_pinned_to_the_digest_only_if_that_could_be_pulled(
    image: str, image_id: str, pinned: str | None
) -> None:
    assert pinned_image(image, image_id) == pinned


def test_where_the_spec_names_no_count_the_running_one_counts_and_one_at_first() -> None:
    app = replace(a_full_app(), replicas_unset=True)
    assert observe.parse(app, [], [], [], None).app.replicas == 1
    running = manifests.deployment(app, "abc", Record(1, Stage.PROMOTED, START, "a:1"))
    running["metadata"] |= {"generation": 1, "resourceVersion": "1"}
    running["spec"]["replicas"] = 3
    assert observe.parse(app, [running], [], [], None).app.replicas == 3
