"""Who may do what, in one place."""

import enum
from dataclasses import dataclass
from http import HTTPStatus

from inventory_api.problems import Problem
from inventory_api.users.models import Role


class Permission(enum.Enum):
    EDIT_CATALOGUE = "change categories, locations and items"
    MOVE_STOCK = "receive, move, adjust or write off stock"
    LEND_TO_OTHERS = "lend to others"
    SEE_ALL_LOANS = "see the loans of others"
    RETURN_FOR_OTHERS = "take back the loans of others"
    RESERVE_FOR_OTHERS = "reserve for others"
    SEE_ALL_RESERVATIONS = "see the reservations of others"
    TAKE_STOCK = "count a location and book the difference"
    MAINTAIN_UNITS = "change the state of units and keep their log"
    SEE_REPORTS = "see reports"
    IMPORT_AND_EXPORT = "import and export"
    SEE_HEALTH = "see how the service is"
    SEE_USERS = "see other users"
    EDIT_USERS = "add and change users"
    SEE_AUDIT = "see who changed what, and what happened at sign-in"


_ONLY_ADMIN = frozenset({Permission.EDIT_USERS, Permission.SEE_AUDIT})
_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission),
    Role.STAFF: frozenset(Permission) - _ONLY_ADMIN,
    Role.MEMBER: frozenset(),
}


@dataclass(frozen=True)
class Principal:
    """Who is calling, as far as a request needs to know."""

    id: int
    role: Role


def may(caller: Principal, permission: Permission) -> bool:
    return permission in _PERMISSIONS[caller.role]


def demand(caller: Principal, permission: Permission) -> None:
    """Raises a 403 Problem unless the caller may."""
    if not may(caller, permission):
        raise Problem(HTTPStatus.FORBIDDEN, "not-permitted", f"The role {caller.role} may not {permission.value}.")
