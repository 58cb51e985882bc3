"""Kubernetes objects as the operator writes them: pure functions from values to dicts.

What makes up a release's pod template is frozen in its Deployment: a change here reaches only later releases.
"""

import json
import re
from dataclasses import fields
from datetime import datetime
from typing import Any

from inventory_api.migrations.rule import DatabaseSchema, ImageSchema

from .model import (
    ANNOTATION_RECORD,
    GROUP,
    KIND,
    LABEL_APP,
    LABEL_ATTEMPT,
    LABEL_RELEASE,
    LABEL_REVISION,
    VERSION,
    App,
    Json,
    Record,
    Stage,
)

Object = dict[str, Any]

PORT = 8000
GRACE_SECONDS = 40
"""Beyond preStop; 25 s of draining fit in."""
PRE_STOP_SECONDS = 5
WAITING_BUDGET_SECONDS = 900
"""A Job may wait so long for a node, the database or a lock, besides the time to migrate; then a fresh one goes on."""
EXIT_FAILED, EXIT_REFUSED, EXIT_WAITING = 1, 3, 75


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


def deployment(app: App, release: str, record: Record) -> Object:
    """A release at zero replicas, its record on it."""
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
            *_env(content.get("config", {})),
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
        **_common_container(app),
    }
    pod_labels = extra.get("podLabels", {}) | own | {LABEL_REVISION: str(record.revision)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": release_name(app, release),
            "namespace": app.namespace,
            "labels": own,
            "annotations": {ANNOTATION_RECORD: dump_record(record)},
            "ownerReferences": [owner(app)],
        },
        "spec": {
            "replicas": 0,
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": 2147483647,  # the operator keeps the deadline: it counts over the whole release
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": pod_selector(app) | {LABEL_RELEASE: release}},
            "template": {
                "metadata": {"labels": pod_labels, "annotations": extra.get("podAnnotations", {})},
                "spec": {
                    "terminationGracePeriodSeconds": extra.get(
                        "terminationGracePeriodSeconds", pre_stop + GRACE_SECONDS
                    ),
                    "containers": [container],
                    **_common_pod(app),
                    **_given(extra, "affinity", "topologySpreadConstraints"),
                },
            },
        },
    }


def service(app: App, release: str | None) -> Object:
    """The Service in front of one release's pods, or of all while pods are being replaced."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": app.name,
            "namespace": app.namespace,
            "labels": labels(app, "service"),
            "ownerReferences": [owner(app)],
        },
        "spec": {
            "selector": pod_selector(app) | ({LABEL_RELEASE: release} if release else {}),
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def expand_job(app: App, release: str, revision: int, attempt: int, image: str) -> Object:
    """The Job that brings the schema to where a release needs it.

    Raises ValueError for an app without migrations.
    """
    if app.migrations is None:
        raise ValueError("the app has no migrations")
    own = labels(app, "migration") | {
        LABEL_RELEASE: release,
        LABEL_REVISION: str(revision),
        LABEL_ATTEMPT: str(attempt),
    }
    migrations = app.migrations
    # Its nodes are the service's. What keeps pods of the service apart, or brings them together, is not about the Job.
    nodes = _given(app.content.get("template", {}).get("affinity", {}), "nodeAffinity")
    settings = {
        "INVENTORY_APP_UID": app.uid,
        "INVENTORY_MIGRATION_TIMEOUT_SECONDS": str(migrations.timeout),
        "INVENTORY_MIGRATION_WAIT_SECONDS": str(migrations.database_wait),
        "INVENTORY_RELEASE": release,
        "INVENTORY_TERMINATION_LOG": "/dev/termination-log",
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(app, revision, attempt),
            "namespace": app.namespace,
            "labels": own,
            "ownerReferences": [owner(app)],
        },
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 4,
            # Two pods at least get to say what they wait for.
            "activeDeadlineSeconds": migrations.timeout + max(WAITING_BUDGET_SECONDS, 3 * migrations.database_wait),
            # A terminating pod still holds its database session: its successor starts only when it is gone.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": "migrate",
                            "operator": "In",
                            "values": [EXIT_FAILED, EXIT_REFUSED],
                        },
                    },
                    {
                        "action": "Ignore",
                        "onExitCodes": {"containerName": "migrate", "operator": "In", "values": [EXIT_WAITING]},
                    },
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
                ]
            },
            "template": {
                "metadata": {"labels": own},
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 30,
                    **({"affinity": nodes} if nodes else {}),
                    "containers": [
                        {
                            "name": "migrate",
                            "image": image,
                            "args": ["migrate", "expand"],
                            "env": [*_env(app.content.get("config", {})), *_env(settings)],
                            "envFrom": [{"secretRef": {"name": migrations.secret}}],
                            "resources": app.content.get("template", {}).get("resources", {}),
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                            **_common_container(app),
                        }
                    ],
                    **_common_pod(app),
                },
            },
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


def job_name(app: App, revision: int, attempt: int) -> str:
    return f"{app.name}-{revision}-expand-{attempt}"


def is_job_name(app: App, name: str) -> bool:
    """Whether a Job of this app has such a name, or will once have it."""
    return re.fullmatch(rf"{re.escape(app.name)}-\d+-expand-\d+", name) is not None


def stamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds, as Kubernetes writes times."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def dump_record(record: Record) -> str:
    """A record as the JSON of its annotation, defaults left out."""
    found: Object = {}
    for each in fields(Record):
        value = getattr(record, each.name)
        if value == each.default:
            continue
        if isinstance(value, datetime):
            value = value.isoformat()
        elif isinstance(value, ImageSchema):
            value = {"expand": value.expand, "contract": value.contract, "required_contract": value.required_contract}
        elif isinstance(value, DatabaseSchema):
            value = {"expand": value.expand, "contract": value.contract}
        found[each.name] = value
    return json.dumps(found, sort_keys=True)


def load_record(text: str) -> Record:
    """The record of an annotation. Raises ValueError if it can't be read."""
    try:
        found = json.loads(text)
        for name in ("started", "ended", "schema_seen", "progressed"):
            if name in found:
                found[name] = datetime.fromisoformat(found[name])
        for name, kind in (("image_schema", ImageSchema), ("database_schema", DatabaseSchema)):
            if name in found:
                found[name] = kind(**{key: tuple(value) for key, value in found[name].items()})
        known = {each.name for each in fields(Record)}
        found = {name: value for name, value in found.items() if name in known}
        return Record(**found | {"stage": Stage(found["stage"])})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error


def _env(settings: dict[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in sorted(settings.items())]


def _common_container(app: App) -> Object:
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


def _given(template: Json, *names: str) -> Object:
    return {name: template[name] for name in names if name in template}


def _common_pod(app: App) -> Object:
    template = app.content.get("template", {})
    where = ("nodeSelector", "tolerations", "priorityClassName", "serviceAccountName")
    return {
        **_given(template, *where),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "imagePullSecrets": [{"name": name} for name in app.content.get("imagePullSecrets", ())],
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            **_given(template, "fsGroup"),
        },
        "volumes": [{"name": "tmp", "emptyDir": {}}, *template.get("volumes", ())],
    }
