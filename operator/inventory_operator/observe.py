"""Live reads of everything that a plan looks at, parsed into plain values."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from . import manifests
from .kube import Kube, Object
from .model import (
    ANNOTATION_RECORD,
    ANNOTATION_RETRY,
    GROUP,
    KIND,
    LABEL_APP,
    LABEL_ATTEMPT,
    LABEL_RELEASE,
    LABEL_REVISION,
    PLURAL,
    VERSION,
    App,
    Deployment,
    Job,
    Migrations,
    Observed,
    Pod,
    Rolling,
    Service,
    release_content,
)
from .pods import ask


def app_path(namespace: str, name: str) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}"


async def app_versions(kube: Kube, namespace: str) -> dict[tuple[str, str], str]:
    """The resource version of each InventoryApp in a namespace, or in all of them (""); by namespace and name."""
    place = f"namespaces/{namespace}/" if namespace else ""
    found = [each["metadata"] for each in await kube.list(f"/apis/{GROUP}/{VERSION}/{place}{PLURAL}")]
    return {(meta["namespace"], meta["name"]): meta["resourceVersion"] for meta in found}


async def observe(kube: Kube, namespace: str, name: str) -> Observed | None:
    """The app and all that belongs to it, or None if the app is gone."""
    found = await kube.get(app_path(namespace, name))
    if found is None:
        return None
    app = parse_app(found)
    selector = f"{LABEL_APP}={name}"
    deployments, jobs, pods, service = await asyncio.gather(
        kube.list(f"/apis/apps/v1/namespaces/{namespace}/deployments", selector),
        kube.list(f"/apis/batch/v1/namespaces/{namespace}/jobs", selector),
        kube.list(f"/api/v1/namespaces/{namespace}/pods", selector),
        kube.get(f"/api/v1/namespaces/{namespace}/services/{name}"),
    )
    observed = parse(app, deployments, jobs, pods, service)
    return replace(observed, pods=await ask(observed.pods))


def parse(
    app: App, deployments: list[Object], jobs: list[Object], pods: list[Object], service: Object | None
) -> Observed:
    """What the API server returned, as values. Objects of another owner that are in our way are named."""
    foreign: list[str] = []
    leaving: list[str] = []
    in_the_way = [found for found in jobs if manifests.is_job_name(app, found["metadata"]["name"])]
    named = [("Deployment", found) for found in deployments] + [("Job", found) for found in in_the_way]
    for kind, found in [*named, *([("Service", service)] if service else [])]:
        if not _owned(found, app):
            (leaving if _leaves(found, app) else foreign).append(f"{kind} {found['metadata']['name']}")
    ours: list[Deployment] = []
    for found in deployments:
        try:
            if _owned(found, app):
                ours.append(parse_deployment(found))
        except ValueError as error:
            name = found["metadata"]["name"]
            foreign.append(f"Deployment {name}, whose annotation {ANNOTATION_RECORD} can't be read ({error}),")
    if app.replicas_unset:
        app = replace(app, replicas=sum(d.replicas for d in ours) or 1)
    return Observed(
        app=app,
        deployments=tuple(ours),
        jobs=tuple(parse_job(found) for found in jobs if _owned(found, app)),
        pods=tuple(parse_pod(found) for found in pods),
        service=parse_service(service, app) if service else None,
        foreign=tuple(foreign),
        leaving=tuple(leaving),
    )


def parse_app(found: Object) -> App:
    meta, spec = found["metadata"], found["spec"]
    rolling = (spec.get("strategy") or {}).get("rolling") or {}
    migrations = spec.get("migrations")
    retry = (meta.get("annotations") or {}).get(ANNOTATION_RETRY, "")
    return App(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta["generation"],
        content=release_content(spec),
        replicas=spec.get("replicas", 1),
        replicas_unset="replicas" not in spec,
        rolling=Rolling(rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", 0)),
        migrations=migrations
        and Migrations(
            migrations["secret"], migrations.get("timeoutSeconds", 600), migrations.get("databaseWaitSeconds", 60)
        ),
        progress_deadline=spec.get("progressDeadlineSeconds", 300),
        image_pull_deadline=spec.get("imagePullDeadlineSeconds", 60),
        history_limit=spec.get("revisionHistoryLimit", 5),
        paused=bool(spec.get("paused")),
        retry=int(retry) if retry.isdecimal() else None,
        deleting="deletionTimestamp" in meta,
        status=found.get("status") or {},
    )


def parse_deployment(found: Object) -> Deployment:
    """Raises ValueError if the record on it can't be read."""
    meta, spec, status = found["metadata"], found["spec"], found.get("status") or {}
    record = manifests.load_record((meta.get("annotations") or {}).get(ANNOTATION_RECORD, ""))
    template = spec["template"]
    pods = status.get("replicas", 0)
    failures = (c for c in status.get("conditions") or () if c["type"] == "ReplicaFailure" and c["status"] == "True")
    current = status.get("observedGeneration", 0) >= meta["generation"]
    return Deployment(
        name=meta["name"],
        release=meta["labels"][LABEL_RELEASE],
        record=record,
        replicas=spec.get("replicas", 1),
        pods=pods,
        ready=status.get("readyReplicas", 0),
        settled=current and status.get("updatedReplicas", 0) == pods,
        deleting="deletionTimestamp" in meta,
        resource_version=meta["resourceVersion"],
        image=template["spec"]["containers"][0]["image"],
        revision_label=int(template["metadata"]["labels"].get(LABEL_REVISION, "0")),
        trouble=next((c.get("message", "") for c in failures), ""),
    )


def parse_job(found: Object) -> Job:
    meta, spec, status = found["metadata"], found["spec"], found.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or () if c["status"] == "True"}
    failed = conditions.get("Failed")
    return Job(
        name=meta["name"],
        uid=meta["uid"],
        revision=int(meta["labels"][LABEL_REVISION]),
        attempt=int(meta["labels"][LABEL_ATTEMPT]),
        created=_time(meta["creationTimestamp"]),
        complete="Complete" in conditions,
        failed=failed is not None,
        reason=(failed or {}).get("reason", ""),
        message=(failed or {}).get("message", ""),
        suspended=bool(spec.get("suspend")),
        deleting="deletionTimestamp" in meta,
    )


def parse_pod(found: Object) -> Pod:
    meta, status = found["metadata"], found.get("status") or {}
    labels = meta.get("labels") or {}
    migrates = labels.get("app.kubernetes.io/component") == "migration"
    controller: Mapping[str, Any] = next(iter(meta.get("ownerReferences") or ()), {})
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses") or ()), {})
    state, last = container.get("state") or {}, container.get("lastState") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or last.get("terminated") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduled: Mapping[str, Any] = conditions.get("PodScheduled", {})
    bound = scheduled.get("status") == "True"
    unschedulable = scheduled if scheduled.get("status") == "False" else {}
    return Pod(
        name=meta["name"],
        owner=controller.get("uid", "") if migrates else labels.get(LABEL_RELEASE, ""),
        created=_time(meta["creationTimestamp"]),
        migrates=migrates,
        finished=status.get("phase") in ("Succeeded", "Failed"),
        scheduled=_time(scheduled["lastTransitionTime"]) if bound and "lastTransitionTime" in scheduled else None,
        ready=conditions.get("Ready", {}).get("status") == "True",
        deleting="deletionTimestamp" in meta,
        waiting_reason=waiting.get("reason", "") or unschedulable.get("reason", ""),
        waiting_message=waiting.get("message", "") or unschedulable.get("message", ""),
        termination_message=ended.get("message", ""),
        image_id=container.get("imageID", ""),
        address=status.get("podIP", "") if "running" in state else "",
    )


def parse_service(found: Object, app: App) -> Service:
    wanted = manifests.service(app, None)
    spec, meta = found["spec"], found["metadata"]
    labels_kept = wanted["metadata"]["labels"].items() <= (meta.get("labels") or {}).items()
    ports = [{key: port.get(key) for key in ("name", "port", "targetPort", "protocol")} for port in spec["ports"]]
    selector = spec.get("selector") or {}
    kept = {key: value for key, value in selector.items() if key != LABEL_RELEASE}
    # A port that somebody added is theirs: applying ours would not take it away.
    ports_there = all(port in ports for port in wanted["spec"]["ports"])
    return Service(selector=selector, as_wanted=labels_kept and ports_there and kept == wanted["spec"]["selector"])


def _owned(found: Object, app: App) -> bool:
    return any(owner["uid"] == app.uid for owner in found["metadata"].get("ownerReferences") or ())


def _leaves(found: Object, app: App) -> bool:
    """It is being deleted, or soon will be: its InventoryApp, of the same name, is gone before what it owned."""
    owners = found["metadata"].get("ownerReferences") or ()
    return "deletionTimestamp" in found["metadata"] or any(
        owner["kind"] == KIND and owner["name"] == app.name and owner["apiVersion"].startswith(f"{GROUP}/")
        for owner in owners
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
