"""Which build of the service this is."""

from importlib.metadata import PackageNotFoundError, version

NAME = "inventory"
_DISTRIBUTION = "inventory-on-kubernetes"


def installed_version() -> str:
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
