"""Reads of everything that a plan looks at, parsed into plain values: a look never shows less than one before it."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from . import manifests, routing, spec
from .job_manifests import CNPG
from .kube import ApiError, Kube
from .model import (
    ANNOTATION_GIVEN_UP,
    ANNOTATION_RECORD,
    GROUP,
    KIND,
    LABEL_APP,
    LABEL_ATTEMPT,
    LABEL_RELEASE,
    LABEL_REVISION,
    LABEL_STEP,
    PLURAL,
    VERSION,
    App,
    Deployment,
    Job,
    Object,
    Observed,
    Pod,
    Service,
    release_content,
)
from .pods import ask
from .routing import Routes


def app_path(namespace: str, name: str) -> str:
    return f"{apps_path(namespace)}/{name}"


def apps_path(namespace: str) -> str:
    """Of all InventoryApps of a namespace; of the whole cluster's if it is empty."""
    place = f"namespaces/{namespace}/" if namespace else ""
    return f"/apis/{GROUP}/{VERSION}/{place}{PLURAL}"


def ingress_path(namespace: str, name: str) -> str:
    return f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses/{name}"


def route_path(namespace: str, name: str) -> str:
    return f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/{name}"


def backups_path(namespace: str) -> str:
    return f"/apis/{CNPG}/namespaces/{namespace}/backups"


async def observe(kube: Kube, namespace: str, name: str) -> Observed | None:
    """The app and all that belongs to it, or None if the app is gone."""
    selector = f"{LABEL_APP}={name}"
    pods_path = f"/api/v1/namespaces/{namespace}/pods"
    found, deployments, jobs, pods, service = await asyncio.gather(
        kube.get(app_path(namespace, name)),
        kube.list(f"/apis/apps/v1/namespaces/{namespace}/deployments", selector),
        kube.list(f"/apis/batch/v1/namespaces/{namespace}/jobs", selector),
        kube.list(pods_path, selector),
        kube.get(f"/api/v1/namespaces/{namespace}/services/{name}"),
    )
    if found is None:
        return None
    app = parse_app(found)
    candidate, backups, routes = await asyncio.gather(
        _candidate_service(kube, app), _backups(kube, app, selector), _routes(kube, app)
    )
    more: dict[str, Any] = {"candidate": candidate, "backups": backups, "routes": routes}
    observed = parse(app, deployments, jobs, pods, service, **more)
    if _pods_lag_behind(observed):
        pods = await kube.list(pods_path, selector, consistent=True)
        observed = parse(app, deployments, jobs, pods, service, **more)
    if observed.may_start_pods:
        observed = await _with_secrets(kube, observed)
    return replace(observed, pods=await ask(observed.pods))


def _pods_lag_behind(observed: Observed) -> bool:
    """Deployments and Jobs tell of them what isn't seen yet. Pods aren't watched: no event asks for another look.

    Where a Deployment counts fewer as ready than are seen, an event tells when it has counted them. Or it has counted
    one that is lost: nothing waits for that but the reason in a message, and the next look comes soon.
    """
    ended = [job for job in observed.jobs if job.complete or job.failed]
    finished = {pod.owner for pod in observed.pods if pod.finished}
    return any(job.uid not in finished for job in ended) or any(
        each.serving > sum(pod.ready for pod in observed.pods_of(each)) for each in observed.deployments
    )


async def _candidate_service(kube: Kube, app: App) -> Object | None:
    if app.strategy.kind == "rolling":
        return None
    return await kube.get(f"/api/v1/namespaces/{app.namespace}/services/{manifests.candidate_name(app)}")


async def _backups(kube: Kube, app: App, selector: str) -> list[Object]:
    if not (app.migrations and "cloudNativePG" in (app.migrations.backup or {})):
        return []
    try:
        return await kube.list(backups_path(app.namespace), selector)
    except ApiError as error:
        if error.status in (403, 404):
            return []  # creating one says what is missing
        raise


async def _routes(kube: Kube, app: App) -> Routes:
    """The router's objects; nothing for an app without a router."""
    router = app.strategy.router
    if router is None:
        return Routes()
    try:
        if router.kind == "ingress":
            named, canary = await asyncio.gather(
                kube.get(ingress_path(app.namespace, router.name)),
                kube.get(ingress_path(app.namespace, routing.canary_name(app))),
            )
            return Routes(named, canary)
        return Routes(await kube.request("GET", route_path(app.namespace, router.name)))
    except ApiError as error:
        if error.no_such_kind:
            return Routes(unreadable="the cluster has no HTTPRoute: the CRDs of the Gateway API (v1) aren't installed")
        if error.status == 404:
            return Routes()
        if error.status == 403:
            return Routes(unreadable=f"the operator may not read it: {error}")
        raise


async def _with_secrets(kube: Kube, observed: Observed) -> Observed:
    """With digests of the Secrets that pods get: as the spec has it, and each release that has any."""
    app, asked = observed.app, tuple(observed.app.content.get("secrets", ()))
    names = sorted({*asked, *(name for each in observed.releases if each.replicas for name in each.secret_names)})
    try:
        found = await asyncio.gather(
            *(kube.get(f"/api/v1/namespaces/{app.namespace}/secrets/{name}") for name in names)
        )
    except ApiError as error:
        if error.status == 403:
            return observed
        raise
    there = {name: secret for name, secret in zip(names, found, strict=True) if secret is not None}

    def digest(names: Sequence[str]) -> str:
        """Empty if one can't be read, or there is none."""
        return secrets_digest([there[name] for name in names]) if names and there.keys() >= set(names) else ""

    deployments = tuple(replace(each, secrets=digest(each.secret_names)) for each in observed.deployments)
    return replace(observed, app=replace(app, secrets=digest(asked)), deployments=deployments)


def secrets_digest(secrets: Sequence[Object]) -> str:
    """SHA-256 over names and data. Nothing else is kept of a Secret, and nothing of it is logged."""
    content = sorted([secret["metadata"]["name"], sorted((secret.get("data") or {}).items())] for secret in secrets)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def parse(
    app: App,
    deployments: list[Object],
    jobs: list[Object],
    pods: list[Object],
    service: Object | None,
    *,
    candidate: Object | None = None,
    backups: Sequence[Object] = (),
    routes: Routes = Routes(),  # noqa: B008 - frozen
) -> Observed:
    """What the API server returned, as values. Objects of another owner that are in our way are named."""
    foreign: list[str] = []
    leaving: list[str] = []
    in_the_way = [found for found in jobs if manifests.is_job_name(app, found["metadata"]["name"])]
    named = [("Deployment", found) for found in deployments] + [("Job", found) for found in in_the_way]
    named += [("Backup", found) for found in backups if manifests.is_job_name(app, found["metadata"]["name"])]
    single = (("Service", service), ("Service", candidate), ("Ingress", routes.canary))
    for kind, found in [*named, *((kind, found) for kind, found in single if found)]:
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
        app = replace(app, replicas=_running(app, ours) or 1)
    # A Backup of a release that is forgotten stays, as what it stands for does.
    revisions = {d.record.revision for d in ours}
    taken = [parse_backup(found) for found in backups if _owned(found, app)]
    taken = [(job, pod) for job, pod in taken if job.revision in revisions]
    return Observed(
        app=app,
        deployments=tuple(ours),
        jobs=(*(parse_job(found) for found in jobs if _owned(found, app)), *(job for job, _ in taken)),
        pods=(*(parse_pod(found) for found in pods), *(pod for _, pod in taken)),
        service=parse_service(service, app) if service else None,
        candidate_service=parse_service(candidate, app, candidate=True) if candidate else None,
        traffic=routing.traffic(app, routes) if app.strategy.router else None,
        foreign=tuple(foreign),
        leaving=tuple(leaving),
    )


def _running(app: App, ours: Sequence[Deployment]) -> int:
    """Pods of all releases, but for what a candidate or a warm release has beside a stable one that has them all."""
    stable = Observed(app, tuple(ours)).stable
    if stable and app.strategy.apart and not app.strategy.dynamic_stable_scale:
        return stable.replicas
    return sum(each.replicas for each in ours)


def with_changes(observed: Observed, changed: Sequence[Object]) -> Observed:
    """With Deployments and Services as the API server has just returned them."""
    app = observed.app
    deployments = {each.name: each for each in observed.deployments}
    for found in changed:
        name = found["metadata"]["name"]
        if found["kind"] == "Deployment":
            before = deployments.get(name)
            deployments[name] = replace(parse_deployment(found), secrets=before.secrets if before else "")
        elif name == app.name:
            observed = replace(observed, service=parse_service(found, app))
        else:
            observed = replace(observed, candidate_service=parse_service(found, app, candidate=True))
    return replace(observed, deployments=tuple(deployments.values()))


def parse_app(found: Object) -> App:
    meta, wanted = found["metadata"], found["spec"]
    return App(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta["generation"],
        content=release_content(wanted),
        replicas=wanted.get("replicas", 1),
        replicas_unset="replicas" not in wanted,
        strategy=spec.strategy(wanted),
        analysis=spec.analysis(wanted),
        migrations=spec.migrations(wanted),
        freeze=wanted.get("rollback") == "Freeze",
        progress_deadline=wanted.get("progressDeadlineSeconds", 300),
        image_pull_deadline=wanted.get("imagePullDeadlineSeconds", 60),
        history_limit=wanted.get("revisionHistoryLimit", 5),
        paused=bool(wanted.get("paused")),
        commands=spec.commands(meta.get("annotations") or {}),
        deleting="deletionTimestamp" in meta,
        status=found.get("status") or {},
    )


def parse_deployment(found: Object) -> Deployment:
    """Raises ValueError if the record on it can't be read."""
    meta, wanted, status = found["metadata"], found["spec"], found.get("status") or {}
    record = manifests.load_record((meta.get("annotations") or {}).get(ANNOTATION_RECORD, ""))
    template = wanted["template"]
    pods = status.get("replicas", 0)
    failures = (c for c in status.get("conditions") or () if c["type"] == "ReplicaFailure" and c["status"] == "True")
    current = status.get("observedGeneration", 0) >= meta["generation"]
    return Deployment(
        name=meta["name"],
        release=meta["labels"][LABEL_RELEASE],
        record=record,
        replicas=wanted.get("replicas", 1),
        pods=pods,
        ready=status.get("readyReplicas", 0),
        current=current,
        settled=current and status.get("updatedReplicas", 0) == pods,
        deleting="deletionTimestamp" in meta,
        resource_version=meta["resourceVersion"],
        image=template["spec"]["containers"][0]["image"],
        revision_label=int(template["metadata"]["labels"].get(LABEL_REVISION, "0")),
        trouble=next((c.get("message", "") for c in failures), ""),
        restarted=(template["metadata"].get("annotations") or {}).get(manifests.ANNOTATION_RESTARTED, ""),
        secret_names=tuple(
            each["secretRef"]["name"]
            for each in template["spec"]["containers"][0].get("envFrom") or ()
            if "secretRef" in each
        ),
    )


def parse_job(found: Object) -> Job:
    meta, status = found["metadata"], found.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or () if c["status"] == "True"}
    failed = conditions.get("Failed")
    return Job(
        name=meta["name"],
        uid=meta["uid"],
        revision=int(meta["labels"][LABEL_REVISION]),
        attempt=int(meta["labels"][LABEL_ATTEMPT]),
        created=_time(meta["creationTimestamp"]),
        step=meta["labels"].get(LABEL_STEP, "expand"),
        complete="Complete" in conditions,
        failed=failed is not None,
        reason=(failed or {}).get("reason", ""),
        message=(failed or {}).get("message", ""),
        suspended=bool(found["spec"].get("suspend")),
        given_up=(meta.get("annotations") or {}).get(ANNOTATION_GIVEN_UP, ""),
        deleting="deletionTimestamp" in meta,
    )


def parse_backup(found: Object) -> tuple[Job, Pod]:
    """A Backup of CloudNativePG as a Job, and as its pod the instance that takes it: that one is always there."""
    meta, status = found["metadata"], found.get("status") or {}
    phase = status.get("phase", "")
    job = Job(
        name=meta["name"],
        uid=meta["uid"],
        revision=int(meta["labels"][LABEL_REVISION]),
        attempt=int(meta["labels"][LABEL_ATTEMPT]),
        created=_time(meta["creationTimestamp"]),
        step=meta["labels"][LABEL_STEP],
        complete=phase == "completed",
        failed=phase == "failed",
        reason="BackupFailed" if phase == "failed" else "",
        message=status.get("error", ""),
        deleting="deletionTimestamp" in meta,
    )
    return job, Pod(meta["name"], meta["uid"], job.created, finished=not job.active)


def parse_pod(found: Object) -> Pod:
    meta, status = found["metadata"], found.get("status") or {}
    labels = meta.get("labels") or {}
    component = labels.get("app.kubernetes.io/component")
    serves = component == "service"
    controller: Mapping[str, Any] = next(iter(meta.get("ownerReferences") or ()), {})
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses") or ()), {})
    state, last = container.get("state") or {}, container.get("lastState") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or last.get("terminated") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduled: Mapping[str, Any] = conditions.get("PodScheduled", {})
    bound = scheduled.get("status") == "True"
    ready: Mapping[str, Any] = conditions.get("Ready", {})
    is_ready = ready.get("status") == "True"
    unschedulable = scheduled if scheduled.get("status") == "False" else {}
    return Pod(
        name=meta["name"],
        owner=labels.get(LABEL_RELEASE, "") if serves else controller.get("uid", ""),
        created=_time(meta["creationTimestamp"]),
        migrates=component == "migration",
        finished=status.get("phase") in ("Succeeded", "Failed"),
        scheduled=_time(scheduled["lastTransitionTime"]) if bound and "lastTransitionTime" in scheduled else None,
        ready=is_ready,
        ready_since=_time(ready["lastTransitionTime"]) if is_ready and "lastTransitionTime" in ready else None,
        deleting="deletionTimestamp" in meta,
        waiting_reason=waiting.get("reason", "") or unschedulable.get("reason", ""),
        waiting_message=waiting.get("message", "") or unschedulable.get("message", ""),
        termination_message=ended.get("message", ""),
        image_id=container.get("imageID", ""),
        address=status.get("podIP", "") if serves and "running" in state else "",
    )


def parse_service(found: Object, app: App, candidate: bool = False) -> Service:
    wanted = manifests.service(app, None, candidate)
    meta, there = found["metadata"], found["spec"]
    labels_kept = wanted["metadata"]["labels"].items() <= (meta.get("labels") or {}).items()
    ports = [
        {key: port.get(key) for key in ("name", "port", "targetPort", "protocol")} for port in there.get("ports") or ()
    ]
    selector = there.get("selector") or {}
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
