"""Carries a plan out. Each action is safe to repeat, and safe beside another operator that decides the same."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from . import job_manifests, manifests, routing
from .actions import (
    Action,
    ApplyService,
    CreateDeployment,
    CreateJob,
    DeleteDeployment,
    DeleteJob,
    Emit,
    EndTraffic,
    Measure,
    SetReplicas,
    SetTraffic,
    SuspendJob,
    UpdateDeployment,
)
from .kube import ApiError, Kube, UnreachableError
from .model import ANNOTATION_GIVEN_UP, ANNOTATION_RECORD, LABEL_APP, LABEL_REVISION, MANAGER, App, Object
from .observe import app_path, backups_path, ingress_path, route_path
from .prometheus import measure

log = logging.getLogger(__name__)


Guard = Callable[[], None]
"""Asked before each write; it raises where another operator may be leading by now."""


def unguarded() -> None:
    """A single operator leads always."""


class OutdatedError(Exception):
    """The object has changed since it was observed: observe again."""


async def apply(
    kube: Kube, app: App, actions: tuple[Action, ...], now: datetime, telling: list[Emit], guard: Guard = unguarded
) -> list[Object]:
    """In order; stops at the first that can't be done. Returns Deployments and Services as they are after it.

    Nothing waits for an Event: `telling` gets those that are due once the rest is done.

    Raises OutdatedError, ApiError, UnreachableError, and what the guard raises.
    """
    changed: list[Object] = []
    for action in actions:
        guard()
        if isinstance(action, Emit):
            telling.append(action)
        elif found := await _do(kube, app, action, now):
            changed.append(found)
    return changed


async def tell(kube: Kube, app: App, telling: Sequence[Emit], now: datetime, guard: Guard = unguarded) -> None:
    """All at once; one that is refused is only logged. Raises what the guard raises."""
    if telling:
        guard()
        await asyncio.gather(*(_tell(kube, app, said, now) for said in telling))


async def _tell(kube: Kube, app: App, said: Emit, now: datetime) -> None:
    made = manifests.event(app, said.type, said.reason, said.message, now)
    try:
        await kube.create(f"/api/v1/namespaces/{app.namespace}/events", made)
    except (ApiError, UnreachableError) as error:
        log.warning("%s/%s: an Event was refused: %s", app.namespace, app.name, error)  # it only tells of what is done


async def _do(kube: Kube, app: App, action: Action, now: datetime) -> Object | None:
    try:
        return await _carry_out(kube, app, action, now)
    except ApiError as error:
        if error.no_such_kind and isinstance(action, SetTraffic | CreateJob):
            raise ApiError(422, _not_installed(action)) from error
        if error.status in (404, 409):
            raise OutdatedError(str(error)) from error
        raise


async def write_status(kube: Kube, app: App, status: Object, guard: Guard = unguarded) -> None:
    """Nothing, where it is so already, or the app is gone."""
    if status == dict(app.status):
        return
    guard()
    gone = {key: None for key in app.status if key not in status}
    try:
        await kube.merge(f"{app_path(app.namespace, app.name)}/status", {"status": {**status, **gone}})
    except ApiError as error:
        if error.status != 404:
            raise


async def _carry_out(kube: Kube, app: App, action: Action, now: datetime) -> Object | None:
    """What it has made or changed, of the kinds that a plan can go on from."""
    deployments = f"/apis/apps/v1/namespaces/{app.namespace}/deployments"
    jobs = f"/apis/batch/v1/namespaces/{app.namespace}/jobs"
    match action:
        case CreateDeployment(release, record, replicas):
            return await _create(kube, app, deployments, manifests.deployment(app, release, record, replicas))
        case UpdateDeployment(deployment):
            return await kube.patch(f"{deployments}/{deployment.name}", _patch(action))
        case DeleteDeployment(deployment):
            await kube.delete(f"{deployments}/{deployment.name}")
        case CreateJob():
            made = _job(app, action)
            await _create(kube, app, jobs if made["kind"] == "Job" else backups_path(app.namespace), made)
        case SuspendJob(job, why):
            said = {"metadata": {"annotations": {ANNOTATION_GIVEN_UP: why}}} if why else {}
            await kube.merge(f"{jobs}/{job.name}", {"spec": {"suspend": True}, **said})
        case DeleteJob(job):
            await kube.delete(f"{jobs}/{job.name}")
        case ApplyService(release, candidate):
            made = manifests.service(app, release, candidate)
            return await kube.apply(f"/api/v1/namespaces/{app.namespace}/services/{made['metadata']['name']}", made)
        case SetTraffic(weight):
            await _route(kube, app, weight)
        case EndTraffic():
            await _route(kube, app, None)
        case Measure(deployment, metrics, stable):
            if app.analysis:
                before, release = deployment.record, deployment.release
                found = await measure(app.analysis, app, metrics, before.tallies, stable, release, now)
                told = UpdateDeployment(deployment, record=replace(before, tallies=found))
                await kube.patch(f"{deployments}/{deployment.name}", _patch(told))
        case SetReplicas(replicas):
            await kube.merge(f"{app_path(app.namespace, app.name)}/scale", {"spec": {"replicas": replicas}})
    return None


async def _create(kube: Kube, app: App, path: str, made: Object) -> Object:
    """Raises ApiError with 422 where what lacks the app's label has the name: no look at the app shows that."""
    try:
        return await kube.create(path, made)
    except ApiError as error:
        if error.status != 409:
            raise
        name = made["metadata"]["name"]
        others, named = f"{LABEL_APP}!={app.name}", f"metadata.name={name}"
        if (await kube.request("GET", path, labelSelector=others, fieldSelector=named)).get("items"):
            said = f"{made['kind']} {name} has another owner: rename it or the InventoryApp."
            raise ApiError(422, said) from error
        raise


def _job(app: App, action: CreateJob) -> Object:
    try:
        return job_manifests.job(app, action)
    except ValueError as error:
        raise ApiError(422, f"Job {action.step} of revision {action.revision} can't be made: {error}") from error


async def _route(kube: Kube, app: App, weight: int | None) -> None:
    """Give the candidate its weight in percent; None takes away what the operator has added.

    Raises OutdatedError if what the spec names has gone since it was observed.
    """
    router = app.strategy.router
    if router is None:
        return
    canary = ingress_path(app.namespace, routing.canary_name(app))
    if router.kind == "ingress" and weight is None:
        await kube.delete(canary)
        return
    path = (ingress_path if router.kind == "ingress" else route_path)(app.namespace, router.name)
    try:
        named = await kube.request("GET", path)
    except ApiError as error:
        if error.status == 404 and weight is None:
            return  # gone, and our part with it
        raise
    if router.kind == "ingress":
        await kube.apply(canary, routing.canary_ingress(app, named, weight or 0))
        return
    rules = routing.weighted_rules(app, named, weight)
    if rules != named["spec"].get("rules"):
        # Somebody else may write to it: all rules go at once, so it must be the version that they were made from.
        version = {"resourceVersion": named["metadata"]["resourceVersion"]}
        named = await kube.merge(path, {"metadata": version, "spec": {"rules": rules}})
    if weight is None:
        await _leave_to_its_owner(kube, path, named)


async def _leave_to_its_owner(kube: Kube, path: str, route: Object) -> None:
    """Else whoever applies the route would be told of a conflict with us, though nothing of ours is in it any more."""
    meta = route["metadata"]
    managed = meta.get("managedFields") or []
    others = [entry for entry in managed if entry.get("manager") != MANAGER]
    if others != managed:
        version = {"resourceVersion": meta["resourceVersion"]}
        await kube.merge(path, {"metadata": {**version, "managedFields": others or [{}]}})


def _not_installed(action: SetTraffic | CreateJob) -> str:
    if isinstance(action, SetTraffic):
        return "the cluster has no HTTPRoute: install the CRDs of the Gateway API (v1), or choose another router"
    return (
        "the cluster has no Backup of postgresql.cnpg.io/v1: install CloudNativePG, or back up in another way than "
        "migrations.backup.cloudNativePG"
    )


def _patch(update: UpdateDeployment) -> Object:
    """Only what changes: the rest of a release's template is frozen. The version makes a stale decision fail."""
    deployment = update.deployment
    meta: Object = {"resourceVersion": deployment.resource_version}
    spec: Object = {}
    if update.record is not None:
        meta["annotations"] = {ANNOTATION_RECORD: manifests.dump_record(update.record)}
        # Pods that are kept warm keep the number that they began with: another one in the template would replace them.
        if update.record.revision != deployment.revision_label and not deployment.replicas:
            label = {LABEL_REVISION: str(update.record.revision)}
            spec["template"] = {"metadata": {"labels": label}}
    if update.image is not None:
        # A merge patch replaces a list as a whole, so the pin goes by the container's name in a strategic one.
        spec.setdefault("template", {})["spec"] = {"containers": [{"name": "api", "image": update.image}]}
    if update.restarted is not None:
        template = spec.setdefault("template", {}).setdefault("metadata", {})
        template["annotations"] = {manifests.ANNOTATION_RESTARTED: update.restarted}
    if update.replicas is not None:
        spec["replicas"] = update.replicas
    return {"metadata": meta, **({"spec": spec} if spec else {})}
