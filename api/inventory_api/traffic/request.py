"""What several look for in a request, looked for once."""

from starlette.types import Scope

from inventory_api.traffic.routes import RouteClass, route_class


def first_headers(scope: Scope) -> dict[bytes, bytes]:
    """Each header by its name in lower case; of several with one name, the first."""
    state = scope["state"]
    found: dict[bytes, bytes] | None = state.get("headers")
    if found is None:
        found = state["headers"] = dict(reversed(scope["headers"]))
    return found


def class_of(scope: Scope) -> RouteClass:
    state = scope["state"]
    found: RouteClass | None = state.get("class")
    if found is None:
        found = state["class"] = route_class(scope["method"], scope["path"])
    return found
