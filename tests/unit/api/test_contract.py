import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, get_args

import pytest
from fastapi.routing import APIRoute
from inventory_api.app import create_app, openapi_document
from inventory_api.fields import NOT_BLANK
from inventory_api.settings import ServiceSettings
from pydantic import BaseModel, SecretStr

from tests.contract import PUBLISHED, breaking_changes

OPERATION: dict[str, Any] = {
    "operationId": "lend",
    "parameters": [
        {"in": "query", "name": "limit", "schema": {"type": "integer", "maximum": 200}},
        {"in": "header", "name": "Key", "schema": {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}]}},
    ],
    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Wanted"}}}},
    "responses": {"201": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Shown"}}}}},
}
DOCUMENT: dict[str, Any] = {
    "paths": {"/loans": {"post": OPERATION}},
    "components": {
        "schemas": {
            "Wanted": {
                "type": "object",
                "additionalProperties": False,
                "required": ["item"],
                "properties": {
                    "item": {"type": "integer", "minimum": 1},
                    "note": {"anyOf": [{"type": "string", "maxLength": 100}, {"type": "null"}]},
                    "kind": {"type": "string", "enum": ["a", "b"]},
                    "name": {"type": "string", "minLength": 1},
                },
            },
            "Shown": {
                "type": "object",
                "required": ["id", "parts"],
                "properties": {
                    "id": {"type": "integer"},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Shown"}},
                },
            },
        }
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The document with one value set, or taken away if it is None; `path` has its keys, apart by spaces."""
    document = deepcopy(DOCUMENT)
    *inner, last = [int(key) if key.isdigit() and key != "201" else key for key in path.split(" ")]
    where: Any = document
    for key in inner:
        where = where[key]
    if value is None:
        del where[last]
    else:
        where[last] = value
    return document


OF = "paths /loans post"
WANTED, SHOWN = "components schemas Wanted", "components schemas Shown"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("paths /loans", None, "POST /loans is gone"),
        (f"{OF} operationId", "borrow", "POST /loans is called borrow, no longer lend"),
        (f"{OF} parameters", [], "POST /loans has no query parameter limit any more"),
        (f"{OF} parameters 0 required", True, "POST /loans needs the query parameter limit"),
        (f"{OF} parameters 0 schema maximum", 100, "POST /loans limit has a tighter maximum"),
        (f"{OF} parameters 1 schema anyOf 0 maxLength", 5, "POST /loans key has a tighter maxLength"),
        (f"{OF} requestBody required", True, "POST /loans needs a body"),
        (f"{OF} responses 201", None, "POST /loans answers no 201 any more"),
        (f"{WANTED} required", ["item", "kind"], "POST /loans body.kind is needed"),
        (f"{WANTED} properties note", None, "POST /loans body.note is refused"),
        (f"{WANTED} properties item minimum", 2, "POST /loans body.item has a tighter minimum"),
        (f"{WANTED} properties item type", "string", "POST /loans body.item takes no integer any more"),
        (f"{WANTED} properties note anyOf 0 maxLength", 50, "POST /loans body.note has a tighter maxLength"),
        (f"{WANTED} properties note anyOf", [{"type": "string"}], "POST /loans body.note takes no null any more"),
        (f"{WANTED} properties kind enum", ["a"], "POST /loans body.kind takes fewer values"),
        (f"{WANTED} properties name pattern", "^a", "POST /loans body.name has another pattern"),
        (f"{WANTED} properties kind pattern", NOT_BLANK, "POST /loans body.kind has another pattern"),
        (f"{SHOWN} properties id", None, "POST /loans 201.id is gone"),
        (f"{SHOWN} properties id type", "string", "POST /loans 201.id may be string now"),
        (f"{SHOWN} required", ["id"], "POST /loans 201.parts may be left out now"),
    ],
)
def test_what_callers_rely_on_is_seen_to_be_broken(path: str, value: Any, told: str) -> None:
    assert told in breaking_changes(DOCUMENT, changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("paths /items", {"get": OPERATION}),
        (f"{OF} parameters 0 schema maximum", 500),
        (f"{OF} parameters 1 schema", {"type": "string", "maxLength": 9}),
        (f"{WANTED} properties more", {"type": "string"}),
        (f"{WANTED} properties kind enum", ["a", "b", "c"]),
        (f"{WANTED} required", []),
        (f"{WANTED} properties name pattern", NOT_BLANK),
        (f"{SHOWN} properties more", {"type": "string"}),
        (f"{SHOWN} required", ["id", "parts", "more"]),
    ],
)
def test_what_is_only_added_breaks_nothing(path: str, value: Any) -> None:
    assert breaking_changes(DOCUMENT, changed(path, value)) == []


def test_the_published_contract_is_kept() -> None:
    assert breaking_changes(json.loads(PUBLISHED.read_text()), openapi_document()) == []


def test_the_published_contract_is_that_of_this_service() -> None:
    assert json.loads(PUBLISHED.read_text()) == openapi_document(), "make openapi"


def test_it_says_of_each_text_that_may_not_be_empty_that_spaces_are_none() -> None:
    found = dictionaries_in(openapi_document())
    # The names of attributes, which have no type here, it can't: a pattern would be of those that are described.
    texts = [each for each in found if each.get("type") == "string" and each.get("minLength") == 1]

    assert len(texts) > 30
    assert [each for each in texts if re.search(each.get("pattern", ""), " \u3000 ")] == []


def dictionaries_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from dictionaries_in(each)


def test_every_operation_has_a_name_of_its_own_and_says_what_may_go_wrong() -> None:
    operations = [operation for methods in openapi_document()["paths"].values() for operation in methods.values()]

    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert openapi_document()["openapi"].startswith("3.1.")


def test_every_body_has_examples_and_the_service_takes_them() -> None:
    settings = ServiceSettings(database_url=SecretStr("postgresql://nowhere"), secret_key=SecretStr("k" * 32))
    routes = [route for route in create_app(settings).routes if isinstance(route, APIRoute) and route.body_field]
    assert len(routes) > 30
    for route in routes:
        assert route.body_field is not None
        body = route.body_field.field_info.annotation
        (model,) = [each for each in (body, *get_args(body)) if isinstance(each, type) and issubclass(each, BaseModel)]
        examples: Any = model.model_json_schema().get("examples")
        assert examples, route.name
        for example in examples:
            model.model_validate(example)
