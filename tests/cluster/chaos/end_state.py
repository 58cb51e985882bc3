"""What a scenario ends with, as values that are the same for each run of it: no time, no UID, no count of writes."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inventory_operator.model import ANNOTATION_CONTENT, ANNOTATION_RECORD, LABEL_RELEASE

from tests.cluster.installation import NAME, Installation
from tests.cluster.kube import Object

TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)")
ABSENT = "nothing"


def found(app: Installation) -> Object:
    """The objects as the cluster has them; those of the InventoryApp's own that the operator may write."""
    kube, namespace, mine = app.cluster.kube, app.namespace, f"inventory.dev/app={NAME}"
    return {
        "app": kube.get(app.app_path),
        "deployments": kube.items(f"/apis/apps/v1/namespaces/{namespace}/deployments", mine),
        "jobs": kube.items(f"/apis/batch/v1/namespaces/{namespace}/jobs", mine),
        "services": kube.items(f"/api/v1/namespaces/{namespace}/services", mine),
        "ingresses": kube.items(f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses", mine),
    }


def told(app: Installation) -> Counter[str]:
    """How often the operator has told what, by the reasons of its Events."""
    events = app.cluster.kube.items(f"/api/v1/namespaces/{app.namespace}/events")
    return Counter(each["reason"] for each in events if each["source"].get("component") == "inventory-operator")


def end_state(objects: Object, images: Mapping[str, str]) -> Object:
    """Comparable values of what was found. `images` are names of releases by their image."""
    values = {
        "app": _app(objects["app"]) if objects["app"] else ABSENT,
        "deployments": _by_name(objects["deployments"], _deployment),
        "jobs": _by_name(objects["jobs"], _job),
        "services": _by_name(objects["services"], lambda each: [each["spec"]["selector"], each["spec"]["ports"]]),
        "ingresses": _by_name(objects["ingresses"], lambda each: [each["metadata"]["annotations"], each["spec"]]),
    }
    text = TIME.sub("<time>", json.dumps(values))
    if objects["app"]:
        text = text.replace(objects["app"]["metadata"]["uid"], "<uid>")
    for release, name in names(objects, images).items():
        text = text.replace(release, name)
    found: Object = json.loads(text)
    return found


def names(objects: Object, images: Mapping[str, str]) -> dict[str, str]:
    """What each release is called, by its hash: its image's name."""
    contents = {
        each["metadata"]["labels"][LABEL_RELEASE]: json.loads(each["metadata"]["annotations"][ANNOTATION_CONTENT])
        for each in objects["deployments"]
    }
    return {release: images.get(content["image"], "unknown") for release, content in contents.items()}


def differences(expected: Any, actual: Any) -> list[str]:
    """One sentence for each value that is another one."""
    before, after = dict(_flat(expected)), dict(_flat(actual))
    return [
        f"{place}: {after.get(place, ABSENT)} instead of {before.get(place, ABSENT)}"
        for place in sorted({*before, *after})
        if before.get(place, ABSENT) != after.get(place, ABSENT)
    ]


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    else:
        yield place, str(value)
        return
    for key, inner in parts:
        yield from _flat(inner, f"{place}.{key}".lstrip("."))


def _by_name(objects: Iterable[Object], values: Any) -> Object:
    return {each["metadata"]["name"]: values(each) for each in objects}


def _app(found: Object) -> Object:
    meta, status = found["metadata"], found.get("status") or {}
    current = meta["generation"]
    conditions = {
        each["type"]: [each["status"], each["reason"], each["message"], each["observedGeneration"] == current]
        for each in status.get("conditions", ())
    }
    seen = status.get("observedGeneration") == current
    return {
        "orders": _ours(meta.get("annotations") or {}),
        "spec": found["spec"],
        "status": {**status, "conditions": conditions, "observedGeneration": seen},
    }


def _ours(notes: Mapping[str, str]) -> Object:
    return {key: value for key, value in notes.items() if key.startswith("inventory.dev/")}


def _deployment(found: Object) -> Object:
    meta, status = found["metadata"], found.get("status", {})
    return {
        "labels": meta["labels"],
        "content": json.loads(meta["annotations"][ANNOTATION_CONTENT]),
        "record": json.loads(meta["annotations"][ANNOTATION_RECORD]),
        "spec": found["spec"],
        "pods": [status.get("replicas", 0), status.get("readyReplicas", 0)],
    }


def _job(found: Object) -> Object:
    """With the pods that it took: a second one is a second run."""
    status = found.get("status", {})
    container = found["spec"]["template"]["spec"]["containers"][0]
    return {
        "labels": _ours(found["metadata"]["labels"]),
        "runs": [container["image"], container.get("command"), container.get("args")],
        "suspended": found["spec"].get("suspend", False),
        "ended": sorted(each["type"] for each in status.get("conditions", ()) if each["status"] == "True"),
        "pods": {key: status.get(key, 0) for key in ("active", "succeeded", "failed")},
    }
