"""Where answers lead: the contract's links (OpenAPI 3.1, Link Object), from what has been made to what takes its id.

Who reads the contract sees what can be done next; who tries it out from the contract alone gets beyond 404.
"""

from collections.abc import Iterator
from typing import Any, Final

_ID: Final = "$response.body#/id"
_ETAG: Final = "$response.header.ETag"
# What these answer is good for each operation that takes all of the names, in its path, its query or its body.
_GIVEN: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (("create_item", "get_item"), {"item_id": _ID}),
    (("create_unit", "get_unit"), {"unit_id": _ID}),
    (("create_unit", "get_unit"), {"item_id": "$response.body#/item_id", "unit_ids": [_ID]}),
    (("create_category", "get_category"), {"category_id": _ID}),
    (("create_category", "get_category"), {"parent_id": _ID}),
    (("create_location", "get_location"), {"location_id": _ID}),
    (("create_location", "get_location"), {"parent_id": _ID}),
    (("create_location", "get_location"), {"to_location_id": _ID}),
    (("check_out", "get_loan"), {"loan_id": _ID}),
    (("reserve", "get_reservation"), {"reservation_id": _ID}),
    (("start_stocktake", "get_stocktake"), {"stocktake_id": _ID}),
    (("add_scan", "set_count"), {"stocktake_id": "$request.path.stocktake_id", "scan_id": _ID}),
    (("create_user", "get_user"), {"user_id": _ID}),
    (("create_api_token",), {"token_id": _ID}),
    (("sign_in",), {"refresh_token": "$response.body#/refresh_token"}),
    (("list_sessions",), {"session_id": "$response.body#/items/0/id"}),
)
# Each tree calls it so, and takes only what is in itself.
_WITHIN_ITS_DOMAIN: Final = frozenset({"parent_id"})

Document = dict[str, Any]


def add_links(document: Document) -> None:
    """Writes into the contract where each answer leads, and the ETag of those that lead to a change."""
    operations = {each["operationId"]: each for methods in document["paths"].values() for each in methods.values()}
    for sources, given in _GIVEN:
        for source in sources:
            answer = _success(operations[source])
            for target in _takers(document, operations, source, given):
                answer.setdefault("links", {})[target["operationId"]] = _link(target, given)
                if _takes(target, "If-Match"):
                    answer.setdefault("headers", {})["ETag"] = {"required": True, "schema": {"type": "string"}}


def _takers(
    document: Document, operations: dict[str, Document], source: str, given: dict[str, Any]
) -> Iterator[Document]:
    for name, operation in operations.items():
        taken = _parameters(operation, "path") | _parameters(operation, "query") | _fields(document, operation)
        foreign = _WITHIN_ITS_DOMAIN & set(given) and operation["tags"] != operations[source]["tags"]
        reachable = _parameters(operation, "path") <= set(given)
        if name != source and reachable and set(given) <= taken and not foreign:
            yield operation


def _link(target: Document, given: dict[str, Any]) -> Document:
    parameters = {
        f"{place}.{name}": value
        for place in ("path", "query")
        for name, value in given.items()
        if name in _parameters(target, place)
    }
    body = {name: value for name, value in given.items() if not any(each.endswith(f".{name}") for each in parameters)}
    if _takes(target, "If-Match"):
        parameters["header.If-Match"] = _ETAG
    link = {"operationId": target["operationId"], "parameters": parameters, "requestBody": body}
    return {name: value for name, value in link.items() if value}


def _success(operation: Document) -> Document:
    found: Document = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
    return found


def _parameters(operation: Document, place: str) -> set[str]:
    return {each["name"] for each in operation.get("parameters", ()) if each["in"] == place}


def _takes(operation: Document, header: str) -> bool:
    return header in _parameters(operation, "header")


def _fields(document: Document, operation: Document) -> set[str]:
    """Those of a body in JSON."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return set(document["components"]["schemas"].get(name, {}).get("properties", ()))
