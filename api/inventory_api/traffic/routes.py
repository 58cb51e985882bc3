"""The kinds of requests that have bounds of their own, by method and path."""

import enum
from typing import Final

_API: Final = "/api/v1/"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class RouteClass(enum.Enum):
    SIGN_IN = "sign-in"
    READ = "reads"
    WRITE = "writes"
    REPORT = "reports"
    EXPORT = "export"
    IMPORT = "import"


_BY_SEGMENT: Final = {
    "auth": RouteClass.SIGN_IN,
    "reports": RouteClass.REPORT,
    "export": RouteClass.EXPORT,
    "import": RouteClass.IMPORT,
}


def route_class(method: str, path: str) -> RouteClass:
    """Before any routing, and for a path that leads nowhere too."""
    if path.startswith(_API):
        found = _BY_SEGMENT.get(path[len(_API) :].partition("/")[0])
        if found is not None:
            return found
    return RouteClass.READ if method in _SAFE else RouteClass.WRITE
