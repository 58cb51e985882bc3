from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from inventory_api.app import openapi_document

from tests.contract import resolved

DOCUMENT = openapi_document()
OPERATIONS: dict[str, dict[str, Any]] = {
    operation["operationId"]: operation for methods in DOCUMENT["paths"].values() for operation in methods.values()
}


class Link(NamedTuple):
    source: str
    answer: dict[str, Any]
    name: str
    link: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.source} to {self.name}"


def links() -> Iterator[Link]:
    for source, operation in OPERATIONS.items():
        for answer in operation["responses"].values():
            for name, link in answer.get("links", {}).items():
                yield Link(source, answer, name, link)


def parameters(operation: str) -> set[str]:
    return {f"{each['in']}.{each['name']}" for each in OPERATIONS[operation].get("parameters", ())}


def schema_of(content: dict[str, Any]) -> dict[str, Any]:
    return resolved(DOCUMENT, content["content"]["application/json"]["schema"])


def is_there(link: Link, expression: str) -> bool:
    """Whether the answer, or the request that led to it, has what the expression names."""
    if expression.startswith("$request."):
        return expression.removeprefix("$request.") in parameters(link.source)
    if expression.startswith("$response.header."):
        return expression.removeprefix("$response.header.") in link.answer["headers"]
    schema = schema_of(link.answer)
    for step in expression.removeprefix("$response.body#/").split("/"):
        found = schema.get("items") if step == "0" else schema["properties"].get(step)
        if found is None:
            return False
        schema = resolved(DOCUMENT, found)
    return True


@pytest.mark.parametrize("link", list(links()), ids=str)
def test_a_link_leads_to_parameters_that_there_are_with_values_that_the_answer_has(link: Link) -> None:
    target, body = link.link["operationId"], link.link.get("requestBody", {})

    assert set(link.link.get("parameters", ())) <= parameters(target)
    assert not body or set(body) <= set(schema_of(OPERATIONS[target]["requestBody"])["properties"])
    given = [each for value in body.values() for each in (value if isinstance(value, list) else [value])]
    given += link.link.get("parameters", {}).values()
    assert given
    assert [expression for expression in given if not is_there(link, expression)] == []


def test_whatever_is_in_a_path_is_led_to() -> None:
    led_to = {(link.link["operationId"], each) for link in links() for each in link.link.get("parameters", ())}
    in_paths = {(name, each) for name in OPERATIONS for each in parameters(name) if each.startswith("path.")}

    assert in_paths - led_to == set()


def test_whoever_is_led_to_a_change_is_given_the_version_that_it_needs() -> None:
    led_to = [link for link in links() if "header.If-Match" in parameters(link.link["operationId"])]

    assert led_to
    assert {link.link["parameters"].get("header.If-Match") for link in led_to} == {"$response.header.ETag"}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("create_item", "check_out"),
        ("create_unit", "check_out"),
        ("reserve", "check_out"),
        ("create_location", "start_stocktake"),
        ("create_category", "create_item"),
        ("create_user", "check_out"),
    ],
)
def test_what_has_been_made_leads_to_where_it_is_named_in_a_body(source: str, target: str) -> None:
    assert any(link.source == source and link.name == target and link.link["requestBody"] for link in links())
