"""Carries a plan out. Each action is safe to repeat, and safe beside another operator that decides the same."""

import logging
from datetime import datetime
from typing import Any

from . import manifests
from .kube import ApiError, Kube
from .model import (
    ANNOTATION_RECORD,
    LABEL_REVISION,
    Action,
    App,
    ApplyService,
    CreateDeployment,
    CreateJob,
    DeleteDeployment,
    DeleteJob,
    Emit,
    SetReplicas,
    SuspendJob,
    UpdateDeployment,
)
from .observe import app_path

Object = dict[str, Any]

log = logging.getLogger(__name__)


class OutdatedError(Exception):
    """The object has changed since it was observed: observe again."""


async def apply(kube: Kube, app: App, actions: tuple[Action, ...], now: datetime) -> None:
    """In order; stops at the first that can't be done.

    Raises OutdatedError, ApiError, UnreachableError.
    """
    for action in actions:
        try:
            await _carry_out(kube, app, action, now)
        except ApiError as error:
            if isinstance(action, Emit):
                log.warning("%s/%s: an Event was refused: %s", app.namespace, app.name, error)
                continue  # it only tells of what is done
            if error.status in (404, 409):
                raise OutdatedError(str(error)) from error
            raise


async def write_status(kube: Kube, app: App, status: Object) -> bool:
    """Whether there was anything to write."""
    if status == dict(app.status):
        return False
    gone = {key: None for key in app.status if key not in status}
    try:
        await kube.merge(f"{app_path(app.namespace, app.name)}/status", {"status": {**status, **gone}})
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True


async def _carry_out(kube: Kube, app: App, action: Action, now: datetime) -> None:
    deployments = f"/apis/apps/v1/namespaces/{app.namespace}/deployments"
    jobs = f"/apis/batch/v1/namespaces/{app.namespace}/jobs"
    match action:
        case CreateDeployment(release, record):
            await kube.create(deployments, manifests.deployment(app, release, record))
        case UpdateDeployment(deployment):
            await kube.patch(f"{deployments}/{deployment.name}", _patch(action))
        case DeleteDeployment(deployment):
            await kube.delete(f"{deployments}/{deployment.name}")
        case CreateJob(release, revision, attempt, image):
            await kube.create(jobs, manifests.expand_job(app, release, revision, attempt, image))
        case SuspendJob(job):
            await kube.merge(f"{jobs}/{job.name}", {"spec": {"suspend": True}})
        case DeleteJob(job):
            await kube.delete(f"{jobs}/{job.name}")
        case ApplyService(release):
            await kube.apply(f"/api/v1/namespaces/{app.namespace}/services/{app.name}", manifests.service(app, release))
        case SetReplicas(replicas):
            await kube.merge(f"{app_path(app.namespace, app.name)}/scale", {"spec": {"replicas": replicas}})
        case Emit(kind, reason, message):
            await kube.create(
                f"/api/v1/namespaces/{app.namespace}/events", manifests.event(app, kind, reason, message, now)
            )


def _patch(update: UpdateDeployment) -> Object:
    """Only what changes: the rest of a release's template is frozen. The version makes a stale decision fail."""
    deployment = update.deployment
    meta: Object = {"resourceVersion": deployment.resource_version}
    spec: Object = {}
    if update.record is not None:
        meta["annotations"] = {ANNOTATION_RECORD: manifests.dump_record(update.record)}
        if update.record.revision != deployment.revision_label:
            label = {LABEL_REVISION: str(update.record.revision)}
            spec["template"] = {"metadata": {"labels": label}}
    if update.image is not None:
        # A merge patch replaces a list as a whole, so the pin goes by the container's name in a strategic one.
        spec.setdefault("template", {})["spec"] = {"containers": [{"name": "api", "image": update.image}]}
    if update.replicas is not None:
        spec["replicas"] = update.replicas
    return {"metadata": meta, **({"spec": spec} if spec else {})}
