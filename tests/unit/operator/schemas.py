"""What an API server that has a CRD would say of an object."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

CHECKOUT = Path(__file__).parents[3]
FOREIGN = Path(__file__).parent / "crds"

Object = dict[str, Any]


@cache
def of_inventory_app() -> Object:
    (version,) = yaml.safe_load((CHECKOUT / "manifests" / "crd.yaml").read_text())["spec"]["versions"]
    found: Object = version["schema"]["openAPIV3Schema"]
    return found


@cache
def foreign(name: str) -> Object:
    """The schema of somebody else's CRD."""
    found: Object = yaml.safe_load((FOREIGN / f"{name}.yaml").read_text())
    return found


def objections(value: Object, schema: Object) -> list[str]:
    """What is wrong, and the fields that would be dropped without a word."""
    wrong = [error.message for error in Draft202012Validator(schema).iter_errors(value)]
    return [*wrong, *unknown(value, schema | {"x-kubernetes-preserve-unknown-fields": False}, "")]


def unknown(value: Any, schema: Object, where: str) -> Iterator[str]:
    if schema.get("x-kubernetes-preserve-unknown-fields") or where == ".metadata":
        return
    if isinstance(value, list):
        for number, inner in enumerate(value):
            yield from unknown(inner, schema.get("items", {}), f"{where}[{number}]")
    if isinstance(value, dict):
        for key, inner in value.items():
            known = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if known is None:
                yield f"{where}.{key} is unknown"
            else:
                yield from unknown(inner, known, f"{where}.{key}")


def filled(value: Any, schema: Object) -> Any:
    """The value with the schema's defaults, as the API server stores it."""
    if isinstance(value, list):
        return [filled(each, schema["items"]) for each in value]
    if not isinstance(value, dict):
        return value
    known = schema.get("properties", {})
    given = {key: each["default"] for key, each in known.items() if "default" in each} | value
    return {key: filled(each, known[key]) if key in known else each for key, each in given.items()}
