"""The API's contract with its callers: docs/openapi.json, and what would break it.

`python -m tests.contract` writes it anew, unless that would break what callers rely on.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inventory_api.app import openapi_document
from inventory_api.fields import NOT_BLANK

PUBLISHED = Path(__file__).parents[1] / "docs" / "openapi.json"
_METHODS = ("get", "put", "post", "delete", "patch")
# What a request may be bounded by: a bound that appears or gets tighter refuses what was taken before.
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")

Schema = dict[str, Any]


def main(arguments: list[str]) -> int:
    new = openapi_document()
    if PUBLISHED.exists() and "--break" not in arguments:
        broken = breaking_changes(json.loads(PUBLISHED.read_text()), new)
        if broken:
            print("This would break callers; with --break it is written all the same:", *broken, sep="\n  ")
            return 1
    PUBLISHED.write_text(json.dumps(new, indent=1, ensure_ascii=False) + "\n")
    print(f"{PUBLISHED.name} has {len(new['paths'])} paths.")
    return 0


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Each thing that a caller of the old contract may rely on and that the new one doesn't keep, in a line."""
    return list(_Comparison(old, new).operations())


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new

    def operations(self) -> Iterator[str]:
        for path, methods in self._old["paths"].items():
            for method in set(methods) & set(_METHODS):
                name = f"{method.upper()} {path}"
                now = self._new["paths"].get(path, {}).get(method)
                if now is None:
                    yield f"{name} is gone"
                else:
                    yield from self._operation(name, methods[method], now)

    def _operation(self, name: str, old: Schema, new: Schema) -> Iterator[str]:
        if old["operationId"] != new["operationId"]:
            yield f"{name} is called {new['operationId']}, no longer {old['operationId']}"
        yield from self._parameters(name, old, new)
        before, after = old.get("requestBody"), new.get("requestBody")
        if after and after.get("required") and not (before or {}).get("required"):
            yield f"{name} needs a body"
        if before and not after:
            yield f"{name} takes no body any more"
        if before and after:
            for kind, content in before["content"].items():
                if kind not in after["content"]:
                    yield f"{name} takes no {kind} any more"
                else:
                    now = after["content"][kind].get("schema", {})
                    yield from self._taken(f"{name} body", content.get("schema", {}), now, ())
        for status, answer in old["responses"].items():
            now = new["responses"].get(status)
            if now is None:
                yield f"{name} answers no {status} any more"
                continue
            for kind, content in answer.get("content", {}).items():
                if kind not in now.get("content", {}):
                    yield f"{name} answers {status} no longer as {kind}"
                else:
                    shown = now["content"][kind].get("schema", {})
                    yield from self._given(f"{name} {status}", content.get("schema", {}), shown, ())

    def _parameters(self, name: str, old: Schema, new: Schema) -> Iterator[str]:
        """None of them can be sent as null, whatever the contract said of it."""
        before = {(each["in"], each["name"].lower()): each for each in old.get("parameters", ())}
        after = {(each["in"], each["name"].lower()): each for each in new.get("parameters", ())}
        for place, parameter in before.items():
            if place not in after:
                yield f"{name} has no {' parameter '.join(place)} any more"
            else:
                where = f"{name} {place[1]}"
                yield from self._taken(where, _sent(parameter), _sent(after[place]), ())
        for place, parameter in after.items():
            if parameter.get("required") and not before.get(place, {}).get("required"):
                yield f"{name} needs the {' parameter '.join(place)}"

    def _taken(self, where: str, old: Schema, new: Schema, seen: tuple[str, ...]) -> Iterator[str]:
        """What was taken before must still be taken."""
        if old.get("$ref") in seen:
            return
        seen = (*seen, old.get("$ref", ""))
        old, new = resolved(self._old, old), resolved(self._new, new)
        gone = _types(self._old, old) - _types(self._new, new)
        if gone and "any" not in _types(self._new, new):
            yield f"{where} takes no {', '.join(sorted(gone))} any more"
        for bound in _UPPER:
            if bound in new and (bound not in old or new[bound] < old[bound]):
                yield f"{where} has a tighter {bound}"
        for bound in _LOWER:
            if bound in new and (bound not in old or new[bound] > old[bound]):
                yield f"{where} has a tighter {bound}"
        if new.get("pattern", old.get("pattern")) != old.get("pattern") and not _says_only_blank(old, new):
            yield f"{where} has another pattern"
        if "enum" in new and not set(old.get("enum", ())) <= set(new["enum"]):
            yield f"{where} takes fewer values"
        for name in set(new.get("required", ())) - set(old.get("required", ())):
            yield f"{where}.{name} is needed"
        for name, schema in old.get("properties", {}).items():
            if name in new.get("properties", {}):
                yield from self._taken(f"{where}.{name}", schema, new["properties"][name], seen)
            elif new.get("additionalProperties") is False:
                yield f"{where}.{name} is refused"
        yield from self._within(self._taken, where, old, new, seen)

    def _given(self, where: str, old: Schema, new: Schema, seen: tuple[str, ...]) -> Iterator[str]:
        """What was given before must still be given, and nothing in its place that nobody expects."""
        if old.get("$ref") in seen:
            return
        seen = (*seen, old.get("$ref", ""))
        old, new = resolved(self._old, old), resolved(self._new, new)
        added = _types(self._new, new) - _types(self._old, old)
        if added and "any" not in _types(self._old, old):
            yield f"{where} may be {', '.join(sorted(added))} now"
        for name, schema in old.get("properties", {}).items():
            if name not in new.get("properties", {}):
                yield f"{where}.{name} is gone"
                continue
            if name in old.get("required", ()) and name not in new.get("required", ()):
                yield f"{where}.{name} may be left out now"
            yield from self._given(f"{where}.{name}", schema, new["properties"][name], seen)
        yield from self._within(self._given, where, old, new, seen)

    def _within(self, compare: Any, where: str, old: Schema, new: Schema, seen: tuple[str, ...]) -> Iterator[str]:
        if "items" in old and "items" in new:
            yield from compare(f"{where}[]", old["items"], new["items"], seen)
        for one, other in zip(_alternatives(old), _alternatives(new), strict=False):
            yield from compare(where, one, other, seen)


def resolved(document: Schema, schema: Schema) -> Schema:
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _sent(parameter: Schema) -> Schema:
    schema: Schema = parameter.get("schema", {})
    alternatives = _alternatives(schema)
    return alternatives[0] if len(alternatives) == 1 else schema


def _says_only_blank(old: Schema, new: Schema) -> bool:
    """Of a text that may not be empty, one of spaces was refused all along: those around it don't count."""
    return "pattern" not in old and new["pattern"] == NOT_BLANK and old.get("minLength", 0) > 0


def _alternatives(schema: Schema) -> list[Schema]:
    """Without null, which `_types` tells of."""
    return [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]


def _types(document: Schema, schema: Schema) -> set[str]:
    if "anyOf" in schema:
        return {name for each in schema["anyOf"] for name in _types(document, resolved(document, each))}
    if "type" not in schema:
        return {"any"}
    return {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
