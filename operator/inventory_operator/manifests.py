"""Kubernetes objects as the operator writes them: pure functions from values to dicts.

What makes up a release's pod template is frozen in its Deployment: a change here reaches only later releases.
"""

import json
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from inventory_api.migrations.rule import DatabaseSchema, ImageSchema

from .model import (
    ANNOTATION_CONTENT,
    ANNOTATION_RECORD,
    GROUP,
    KIND,
    LABEL_APP,
    LABEL_RELEASE,
    LABEL_REVISION,
    VERSION,
    App,
    Json,
    Object,
    Operation,
    Record,
    Stage,
    Tally,
    Work,
    WorkStage,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

PORT = 8000
GRACE_SECONDS = 40
"""Beyond preStop; 25 s of draining fit in."""
PRE_STOP_SECONDS = 5
ANNOTATION_RESTARTED = f"{GROUP}/restarted"
"""On the pod template: what its pods were last restarted for."""


def labels(app: App, component: str) -> dict[str, str]:
    """Labels of everything that belongs to an app."""
    return {
        "app.kubernetes.io/name": "inventory",
        "app.kubernetes.io/instance": app.name,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": "inventory-operator",
        LABEL_APP: app.name,
    }


def pod_selector(app: App) -> dict[str, str]:
    """Labels that all service pods of an app have, whatever their release."""
    return {LABEL_APP: app.name, "app.kubernetes.io/component": "service"}


def deployment(app: App, release: str, record: Record, replicas: int = 0) -> Object:
    """A release, its record on it."""
    content, extra = app.content, app.content.get("template", {})
    own = labels(app, "service") | {LABEL_RELEASE: release}
    # A pod that can't get ready, as while the database is away, says why and is not restarted for it.
    ready = {
        "httpGet": {"path": "/readyz", "port": "http"},
        "periodSeconds": 1,
        "failureThreshold": 3,
        "timeoutSeconds": 2,
    }
    alive = {
        "httpGet": {"path": "/livez", "port": "http"},
        "periodSeconds": 10,
        "failureThreshold": 3,
        "timeoutSeconds": 5,
    }
    pre_stop = extra.get("preStopSeconds", PRE_STOP_SECONDS)
    container: Object = {
        "name": "api",
        "image": content["image"],
        "args": ["serve"],
        "env": [
            *env(content.get("config", {})),
            {"name": "INVENTORY_RELEASE", "value": release},
            {
                "name": "INVENTORY_REVISION",
                "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{LABEL_REVISION}']"}},
            },
        ],
        "envFrom": [{"secretRef": {"name": name}} for name in content.get("secrets", ())],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": extra.get("readinessProbe", ready),
        "livenessProbe": extra.get("livenessProbe", alive),
        "startupProbe": extra.get("startupProbe", alive | {"periodSeconds": 1, "failureThreshold": 60}),
        **({"lifecycle": {"preStop": {"sleep": {"seconds": pre_stop}}}} if pre_stop else {}),
        "resources": extra.get("resources", {}),
        # The last lines of a service that could not start are then the reason that the status gives.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **common_container(app),
    }
    pod_labels = extra.get("podLabels", {}) | own | {LABEL_REVISION: str(record.revision)}
    restarted = {ANNOTATION_RESTARTED: app.secrets} if app.secrets else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": release_name(app, release),
            "namespace": app.namespace,
            "labels": own,
            "annotations": {
                ANNOTATION_RECORD: dump_record(record),
                ANNOTATION_CONTENT: json.dumps(app.content, sort_keys=True),
            },
            "ownerReferences": [owner(app)],
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": 2147483647,  # the operator keeps the deadline: it counts over the whole release
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": pod_selector(app) | {LABEL_RELEASE: release}},
            "template": {
                "metadata": {"labels": pod_labels, "annotations": extra.get("podAnnotations", {}) | restarted},
                "spec": {
                    "terminationGracePeriodSeconds": extra.get(
                        "terminationGracePeriodSeconds", pre_stop + GRACE_SECONDS
                    ),
                    "containers": [container],
                    **common_pod(app),
                    **given(extra, "affinity", "topologySpreadConstraints"),
                },
            },
        },
    }


def service(app: App, release: str | None, candidate: bool = False) -> Object:
    """The Service in front of one release's pods, or of all while pods are being replaced.

    The candidate's has another component, so that whoever selects the app's Service doesn't find its pods twice.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": candidate_name(app) if candidate else app.name,
            "namespace": app.namespace,
            "labels": labels(app, "candidate" if candidate else "service"),
            "ownerReferences": [owner(app)],
        },
        "spec": {
            "selector": pod_selector(app) | ({LABEL_RELEASE: release} if release else {}),
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def event(app: App, kind: str, reason: str, message: str, now: datetime) -> Object:
    """An Event on the InventoryApp."""
    at = stamp(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{app.name}.", "namespace": app.namespace},
        "type": kind,
        "reason": reason,
        "message": message[:1024],
        "involvedObject": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "name": app.name,
            "namespace": app.namespace,
            "uid": app.uid,
        },
        "source": {"component": "inventory-operator"},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def owner(app: App) -> Object:
    """No finalizer anywhere: what belongs to an app goes with it, operator or not."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": app.name,
        "uid": app.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def release_name(app: App, release: str) -> str:
    return f"{app.name}-{release}"


def candidate_name(app: App) -> str:
    """Name of the Service in front of the candidate."""
    return f"{app.name}-candidate"


def job_name(app: App, revision: int, step: str, attempt: int) -> str:
    return f"{app.name}-{revision}-{step}-{attempt}"


def is_job_name(app: App, name: str) -> bool:
    """Whether a Job of this app has such a name, or will once have it."""
    steps = r"expand|(gate|backup|contract|downgrade|restore|look)\d+"
    return re.fullmatch(rf"{re.escape(app.name)}-\d+-({steps})-\d+", name) is not None


def stamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds, as Kubernetes writes times."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def dump_record(record: Record) -> str:
    """A record as the JSON of its annotation, defaults left out."""
    return json.dumps(_dumped(record), sort_keys=True)


def load_record(text: str) -> Record:
    """The record of an annotation, what a newer operator has added left out. Raises ValueError if it can't be read."""
    try:
        found = dict(json.loads(text))
        if "tallies" in found:
            found["tallies"] = tuple(_loaded(Tally, each) for each in found["tallies"])
        if "operation" in found:
            found["operation"] = _loaded(Operation, found["operation"])
        return _loaded(Record, found)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error


def _dumped(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_dumped(each) for each in value]
    if is_dataclass(value):
        found = ((each, getattr(value, each.name)) for each in fields(value))
        return {each.name: _dumped(inner) for each, inner in found if inner != each.default}
    return value


_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        ("started", "ended", "schema_seen", "progressed", "step_started", "measured"), datetime.fromisoformat
    ),
    "image_schema": lambda found: ImageSchema(**{key: tuple(value) for key, value in found.items()}),
    "database_schema": lambda found: DatabaseSchema(**{key: tuple(value) for key, value in found.items()}),
    "kind": Work,
}


def _loaded(kind: type[T], found: Json) -> T:
    stages = {"stage": WorkStage if kind is Operation else Stage}
    known = {each.name for each in fields(kind)} & found.keys()
    read = _READ | stages
    return kind(**{name: read[name](found[name]) if name in read else found[name] for name in known})


def env(settings: dict[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in sorted(settings.items())]


def common_container(app: App) -> Object:
    policy, mounts = app.content.get("imagePullPolicy"), app.content.get("template", {}).get("volumeMounts", ())
    return {
        **({"imagePullPolicy": policy} if policy else {}),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *mounts],  # noqa: S108 - an emptyDir in the pod
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def given(template: Json, *names: str) -> Object:
    return {name: template[name] for name in names if name in template}


def common_pod(app: App) -> Object:
    template = app.content.get("template", {})
    where = ("nodeSelector", "tolerations", "priorityClassName", "serviceAccountName")
    return {
        **given(template, *where),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "imagePullSecrets": [{"name": name} for name in app.content.get("imagePullSecrets", ())],
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            **given(template, "fsGroup"),
        },
        "volumes": [{"name": "tmp", "emptyDir": {}}, *template.get("volumes", ())],
    }
