"""Nothing of a request runs in a thread: a busy process waits long for each of them."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from fastapi.dependencies.models import Dependant
from inventory_api.app import create_app
from inventory_api.settings import ServiceSettings
from pydantic import SecretStr


def called(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    if dependant.call is not None:
        yield dependant.call
    for inner in dependant.dependencies:
        yield from called(inner)


def dependants(routes: Any) -> Iterator[Dependant]:
    for route in routes:
        if found := getattr(route, "dependant", None):
            yield found
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", ())
        yield from dependants(inner)


def is_awaited(call: Callable[..., Any]) -> bool:
    return any(
        check(candidate)
        for candidate in (call, getattr(call, "__call__", None))  # noqa: B004 - of an instance that is called
        for check in (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    )


def test_every_endpoint_and_dependency_is_awaited() -> None:
    app = create_app(ServiceSettings(database_url=SecretStr("postgresql://nowhere"), secret_key=SecretStr("k" * 32)))
    every = {call for dependant in dependants(app.routes) for call in called(dependant)}

    assert {"check_out", "get_item", "_resources", "_transaction"} <= {getattr(call, "__name__", "") for call in every}
    assert {call for call in every if not is_awaited(call)} == set()
