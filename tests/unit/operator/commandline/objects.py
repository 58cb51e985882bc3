"""API objects as a cluster returns them, made up: an app in the middle of a canary, and changes of it."""

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from inventory_operator.commandline.apps import App, parse
from inventory_operator.model import release_content, release_hash

Object = dict[str, Any]

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
UID = "0b7c7b52-1f6c-4a53-9d0a-3a1c1f0e7a11"
IMAGE = "registry.example/inventory-api"
EXPANDS = [f"{number:04}" for number in range(1, 24)]
SPECS: dict[int, Object] = {
    5: {"image": f"{IMAGE}:1.2.0", "config": {"LOG_LEVEL": "info"}, "secrets": ["service"]},
    6: {"image": f"{IMAGE}:1.3.0", "config": {"LOG_LEVEL": "info"}, "secrets": ["service"]},
    7: {"image": f"{IMAGE}:1.4.0", "config": {"LOG_LEVEL": "debug"}, "secrets": ["service"]},
}
HASHES = {revision: release_hash(release_content(spec)) for revision, spec in SPECS.items()}
STEPS: list[Object] = [{"weight": 25}, {"pause": {}}, {"weight": 50}, {"pause": {"seconds": 60}}]
RECORDS: dict[int, Object] = {
    5: {"stage": "promoted", "image_schema": {"expand": EXPANDS[:20], "contract": ["c0001"]}},
    6: {"stage": "promoted", "image_schema": {"expand": EXPANDS[:22], "contract": ["c0001"]}},
    7: {
        "stage": "rolling",
        "step": 1,
        "image_schema": {"expand": EXPANDS, "contract": ["c0001", "c0002"]},
        "database_schema": {"expand": EXPANDS, "contract": ["c0001"]},
        "schema_seen": (NOW - timedelta(minutes=5)).isoformat(),
    },
}


def stamp(**ago: float) -> str:
    return (NOW - timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def inventory_app(revision: int = 7, **status: Any) -> Object:
    """One that asks for this revision's content; `status` changes what the operator says of it."""
    spec = copy.deepcopy(SPECS[revision]) | {
        "replicas": 4,
        "migrations": {"secret": "owner"},
        "strategy": {"canary": {"steps": STEPS}},
    }
    said: Object = {
        "observedGeneration": 3,
        "phase": "Paused",
        "message": "Revision 7 waits at step 2 of 4 until somebody promotes it.",
        "stableRevision": 6,
        "stableRelease": HASHES[6],
        "candidateRevision": 7,
        "candidateRelease": HASHES[7],
        "weight": 25,
        "step": 2,
        "steps": 4,
        "conditions": conditions(Ready=True),
        "analysis": [
            {"name": "error-ratio", "good": 3, "bad": 0, "said": "0.0004"},
            {"name": "p99", "good": 2, "bad": 1, "said": "1.21"},
        ],
        "history": history(),
    }
    return {
        "apiVersion": "inventory.dev/v1alpha1",
        "kind": "InventoryApp",
        "metadata": {
            "name": "inventory",
            "namespace": "shop",
            "uid": UID,
            "generation": 3,
            "resourceVersion": "77",
            "managedFields": [],
        },
        "spec": spec,
        "status": {key: value for key, value in (said | status).items() if value is not None},
    }


def conditions(**true: bool) -> list[Object]:
    kinds = ("Ready", "Reconciling", "Stalled")
    return [{"type": kind, "status": "True" if true.get(kind) else "False"} for kind in kinds]


def history() -> list[Object]:
    return [
        {
            "revision": 7,
            "release": HASHES[7],
            "image": f"{IMAGE}:1.4.0",
            "outcome": "Progressing",
            "startedAt": stamp(minutes=6),
            "schema": "0023",
            "contract": "c0002",
        },
        {
            "revision": 6,
            "release": HASHES[6],
            "image": f"{IMAGE}:1.3.0",
            "outcome": "Stable",
            "startedAt": stamp(hours=30),
            "endedAt": stamp(hours=29.99),
            "schema": "0022",
            "contract": "c0001",
        },
        {
            "revision": 5,
            "release": HASHES[5],
            "image": f"{IMAGE}:1.2.0",
            "outcome": "Superseded",
            "startedAt": stamp(days=10),
            "endedAt": stamp(days=9.999),
            "schema": "0020",
            "contract": "c0001",
            "backup": "inventory-5.dump",
        },
        {
            "revision": 4,
            "release": "0123456789",
            "image": f"{IMAGE}@sha256:{'ab' * 32}",
            "outcome": "Failed",
            "reason": "MigrationFailed",
            "message": 'migration 0020 failed: column "shelf" of relation "items" contains null values',
            "startedAt": stamp(days=11),
            "endedAt": stamp(days=10.999),
            "schema": "0020",
        },
    ]


def deployment(revision: int, replicas: int, /, *, content: bool = True, **record: Any) -> Object:
    """`content` False: of an operator that did not keep it."""
    spec, release = SPECS[revision], HASHES[revision]
    known = {"revision": revision, "image": spec["image"], "started": stamp(hours=1)} | RECORDS[revision] | record
    notes = {"inventory.dev/record": json.dumps(known)}
    if content:
        notes["inventory.dev/content"] = json.dumps(release_content(spec))
    environment = [{"name": name, "value": value} for name, value in spec["config"].items()]
    field = {"name": "INVENTORY_REVISION", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}
    container = {
        "name": "api",
        "image": f"{IMAGE}@sha256:{'cd' * 32}",
        "imagePullPolicy": "IfNotPresent",
        "env": [*environment, {"name": "INVENTORY_RELEASE", "value": release}, field],
        "envFrom": [{"secretRef": {"name": "service"}}],
    }
    return {
        "metadata": {
            "name": f"inventory-{release}",
            "namespace": "shop",
            "labels": {"inventory.dev/app": "inventory", "inventory.dev/release": release},
            "annotations": notes,
            "ownerReferences": [{"kind": "InventoryApp", "name": "inventory", "uid": UID}],
        },
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [container]}}},
        "status": {"replicas": replicas, "readyReplicas": replicas},
    }


def pod(revision: int, number: int, *, waiting: str = "") -> Object:
    status: Object = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False" if waiting else "True"}]}
    if waiting:
        status["containerStatuses"] = [{"state": {"waiting": {"reason": "CrashLoopBackOff", "message": waiting}}}]
    labels = {"inventory.dev/app": "inventory", "inventory.dev/release": HASHES[revision]}
    name = f"inventory-{HASHES[revision]}-{number}"
    meta = {"name": name, "namespace": "shop", "labels": labels, "creationTimestamp": stamp(minutes=3)}
    return {"metadata": meta, "status": status}


def job(revision: int, *, step: str = "", ended: str = "Complete", **ago: float) -> Object:
    """`ago`: when it was made, five minutes ago by default."""
    name = f"inventory-{revision}-{step or 'expand'}-1"
    labels = {"inventory.dev/app": "inventory", "inventory.dev/revision": str(revision), "inventory.dev/attempt": "1"}
    labels |= {"inventory.dev/step": step} if step else {}
    finished = [{"type": ended, "status": "True", "lastTransitionTime": stamp(minutes=5)}] if ended else []
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": labels,
            "creationTimestamp": stamp(**(ago or {"minutes": 5, "seconds": 12})),
            "ownerReferences": [{"kind": "InventoryApp", "name": "inventory", "uid": UID}],
        },
        "spec": {},
        "status": {"conditions": finished},
    }


def pod_of(made: Object) -> Object:
    """The pod that a Job has made."""
    meta = made["metadata"]
    owner = {"kind": "Job", "name": meta["name"]}
    kept = {key: meta[key] for key in ("namespace", "labels", "creationTimestamp")}
    named = {"name": f"{meta['name']}-x2v8q", "ownerReferences": [owner]}
    return {"metadata": kept | named, "status": {"phase": "Succeeded"}}


def in_mid_canary(**status: Any) -> App:
    """Revision 7 at step 2 of 4 with one pod; 6 serves with four, one of which restarts; 5 is kept."""
    return parse(
        inventory_app(**status),
        [deployment(5, 0), deployment(6, 4), deployment(7, 1)],
        [job(7)],
        [
            pod(7, 0),
            *(pod(6, number) for number in range(3)),
            pod(6, 3, waiting="back-off 40s restarting the container"),
        ],
    )


def at_rest(stable: int = 7, contract: tuple[str, ...] = ("c0001",), **status: Any) -> App:
    """This revision serves alone, on a database that has these contract migrations."""
    nobody = {"candidateRevision": None, "candidateRelease": None, "weight": None, "step": None, "analysis": None}
    said: Object = {
        **nobody,
        "phase": "Healthy",
        "message": f"Revision {stable} serves with 4 of 4 pods.",
        "stableRevision": stable,
        "stableRelease": HASHES[stable],
    }
    database = {"expand": EXPANDS, "contract": list(contract)}
    kept = [
        deployment(
            each, 4 if each == stable else 0, stage="promoted", database_schema=database, schema_seen=NOW.isoformat()
        )
        for each in SPECS
    ]
    return parse(inventory_app(stable, **{**said, **status}), kept, [], [])
