"""The short way to an endpoint that only reads.

With each request, FastAPI looks through all routes in turn, opens stacks for what might have to be closed, and goes
through all that an endpoint might depend on, which takes longer than to read an item. Of an endpoint that needs nothing
of that, it is known beforehand. What such a request brings is checked by the very fields that FastAPI made of the
endpoint's signature; if anything about it is not in order, FastAPI's own way is taken, and says what it is.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

_METHOD = "GET"
Dependency = Callable[..., Awaitable[Any]]


class DirectRoutes:
    """What FastAPI's router is wrapped in: it has these routes, too, and all others."""

    def __init__(self, router: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._router = router
        self._routes: dict[tuple[int, str], list[_DirectRoute]] = {}
        before: list[APIRoute] = []
        for route in routes:
            if not isinstance(route, APIRoute) or _METHOD not in (route.methods or ()):
                continue
            # Of two that a path fits, the first one is meant.
            if is_simple(route) and not any(_overlap(route, other) for other in before):
                self._routes.setdefault(_place(route.path), []).append(_DirectRoute(route))
            before.append(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == _METHOD and not scope.get("root_path"):
            path = scope["path"]
            for route in self._routes.get(_place(path), ()):
                found = route.match(path)
                if found is not None:
                    request = Request(scope, receive, send)
                    values = route.values(found, request)
                    if values is None:
                        break
                    scope.update(route.scope, path_params=found)
                    response = await route.call(request, values)
                    return await response(scope, receive, send)
        await self._router(scope, receive, send)


class _DirectRoute:
    def __init__(self, route: APIRoute) -> None:
        self.scope = {"route": route, "endpoint": route.endpoint}
        self._pattern = route.path_regex
        self._path_fields = route.dependant.path_params
        self._query_fields = route.dependant.query_params
        self._endpoint: Callable[..., Awaitable[Response]] = route.endpoint
        self._dependencies = [_named(dependency) for dependency in route.dependant.dependencies]

    def match(self, path: str) -> dict[str, str] | None:
        found = self._pattern.match(path)
        return None if found is None else found.groupdict()

    def values(self, path: Mapping[str, str], request: Request) -> dict[str, Any] | None:
        """What the endpoint is given of the path and the query; None if that is not in order."""
        values: dict[str, Any] = {}
        for field in self._path_fields:
            values[field.name], error = field.validate(path[field.alias], values, loc=("path", field.alias))
            if error:
                return None
        if self._query_fields:
            of_query, errors = request_params_to_args(self._query_fields, request.query_params)
            if errors:
                return None
            values.update(of_query)
        return values

    async def call(self, request: Request, values: dict[str, Any]) -> Response:
        for name, dependency in self._dependencies:
            values[name] = await dependency(request)
        return await self._endpoint(**values)


def is_simple(route: APIRoute) -> bool:
    """Whether the endpoint makes its answer itself, and needs of a request no more than its path and its query, and
    coroutines that need no more than the request.
    """
    needs = route.dependant
    return (
        inspect.signature(route.endpoint).return_annotation is Response
        and all(type(convertor).__name__ == "StringConvertor" for convertor in route.param_convertors.values())
        and needs.concurrency is None
        and not (needs.body_params or needs.header_params or needs.cookie_params)
        and not (needs.request_param_name or _asks_more(needs))
        and all(map(_is_simple_dependency, needs.dependencies))
    )


def _is_simple_dependency(needs: Dependant) -> bool:
    is_coroutine = inspect.iscoroutinefunction(needs.call) or inspect.iscoroutinefunction(type(needs.call).__call__)
    parameters = (needs.path_params, needs.query_params, needs.header_params, needs.cookie_params, needs.body_params)
    return (
        needs.name is not None
        and is_coroutine
        and needs.concurrency is None
        and needs.request_param_name is not None
        and not (any(parameters) or needs.dependencies or _asks_more(needs))
    )


def _asks_more(needs: Dependant) -> bool:
    return bool(
        needs.websocket_param_name
        or needs.http_connection_param_name
        or needs.response_param_name
        or needs.background_tasks_param_name
        or needs.security_scopes_param_name
    )


def _named(needs: Dependant) -> tuple[str, Dependency]:
    assert needs.name is not None and needs.call is not None  # noqa: S101, PT018 - else it is not simple
    return needs.name, needs.call


def _place(path: str) -> tuple[int, str]:
    """How many names the path has, and the one that says which domain it is of."""
    names = path.split("/")
    return len(names), names[3] if len(names) > 3 else ""


def _overlap(one: APIRoute, other: APIRoute) -> bool:
    """Whether a path may fit both."""
    if any(type(convertor).__name__ != "StringConvertor" for convertor in other.param_convertors.values()):
        return True
    names, other_names = one.path.split("/"), other.path.split("/")
    return len(names) == len(other_names) and all(
        name == other_name or name.startswith("{") or other_name.startswith("{")
        for name, other_name in zip(names, other_names, strict=True)
    )
