"""What the operator asks of the API server, in words: a call has the same ones in each run of the same scenario."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inventory_operator.model import ANNOTATION_RECORD, LABEL_RELEASE

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    said: str
    writes: bool


def described(method: str, path: str, body: Object | None) -> Call:
    """The call in words that have neither a time nor a resource version in them."""
    plural, name, part = _place(path)
    if method == "GET":
        return Call(f"read {plural} {name}".rstrip(), writes=False)
    return Call(_written(method, plural, name, part, body or {}), writes=True)


def _place(path: str) -> tuple[str, str, str]:
    """Plural, name and subresource, empty where there is none."""
    _, _, place = path.partition("?")[0].rpartition("/namespaces/")
    words = [*place.split("/")[1:], "", "", ""]
    return words[0], words[1], words[2]


def _written(method: str, plural: str, name: str, part: str, body: Object) -> str:
    kind = {"ingresses": "Ingress"}.get(plural, plural.removesuffix("s").capitalize())
    if method == "DELETE":
        return f"delete {kind} {name}"
    if method == "POST":
        if plural == "events":
            return f"Event {body['reason']}"
        return f"create {kind} {body['metadata']['name']}"
    if part == "status":
        status = body["status"]
        ready = next(each for each in status["conditions"] if each["type"] == "Ready")
        return f"status {status['phase']}, {ready['reason']}"
    if part:
        return f"{part} of {kind} {name}"
    return f"{kind} {name}: {', '.join(_changes(plural, body))}"


def _changes(plural: str, body: Object) -> list[str]:
    annotations: Object = body["metadata"].get("annotations", {})
    spec: Object = body.get("spec", {})
    if plural == "services":
        return [spec["selector"].get(LABEL_RELEASE, "all releases")]
    if plural == "ingresses":
        return [f"{key.rpartition('/')[2]} {value}" for key, value in annotations.items() if key.endswith("-weight")]
    template = spec.get("template", {})
    return [
        *(_recorded(json.loads(annotations[ANNOTATION_RECORD])) if ANNOTATION_RECORD in annotations else ()),
        *(["pinned"] if "spec" in template else []),
        *([f"replicas {spec['replicas']}"] if "replicas" in spec else []),
    ] or ["metadata"]


def _recorded(record: Object) -> list[str]:
    """How far the release is by the record that is written, and what is done to the database."""
    operation = record.get("operation")
    return [
        record["stage"],
        *(f"{key} {record[key]}" for key in ("step", "routed", "ready") if record.get(key)),
        *([f"{operation['kind']} {operation['stage']}"] if operation else []),
    ]
