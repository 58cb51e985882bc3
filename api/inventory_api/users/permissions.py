"""Who may do what, in one place."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from inventory_api.problems import Problem
from inventory_api.security import SecurityEvent, SecurityEventKind
from inventory_api.users.models import Role


class Permission(enum.Enum):
    OWN_ACCOUNT = "change their own name and password, their sessions and API tokens"
    BORROW = "borrow, reserve and return for themselves"
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


class Scope(enum.StrEnum):
    """What an API token is for. Each token may read what every member may, whatever its scopes."""

    READ = "read"
    LEND = "lend"
    STOCK = "stock"
    CATALOGUE = "catalogue"
    ADMIN = "admin"


_ONLY_ADMIN = frozenset({Permission.EDIT_USERS, Permission.SEE_AUDIT})
_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission),
    Role.STAFF: frozenset(Permission) - _ONLY_ADMIN,
    Role.MEMBER: frozenset({Permission.OWN_ACCOUNT, Permission.BORROW}),
}
# What is in none of them, no API token may do: one that is stolen must not make more of itself.
_SCOPES: dict[Scope, frozenset[Permission]] = {
    Scope.READ: frozenset(
        {
            Permission.SEE_ALL_LOANS,
            Permission.SEE_ALL_RESERVATIONS,
            Permission.SEE_REPORTS,
            Permission.SEE_HEALTH,
            Permission.SEE_USERS,
        }
    ),
    Scope.LEND: frozenset(
        {
            Permission.BORROW,
            Permission.LEND_TO_OTHERS,
            Permission.SEE_ALL_LOANS,
            Permission.RETURN_FOR_OTHERS,
            Permission.RESERVE_FOR_OTHERS,
            Permission.SEE_ALL_RESERVATIONS,
        }
    ),
    Scope.STOCK: frozenset({Permission.MOVE_STOCK, Permission.TAKE_STOCK, Permission.MAINTAIN_UNITS}),
    Scope.CATALOGUE: frozenset({Permission.EDIT_CATALOGUE, Permission.IMPORT_AND_EXPORT}),
    Scope.ADMIN: _ONLY_ADMIN,
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling, as far as a request needs to know."""

    id: int
    role: Role
    session_id: int | None = None
    """What they signed in to; None for an API token, and for an access token of a release that knew no sessions."""
    scopes: frozenset[Scope] | None = None
    """What the API token is for; None for a person who signed in."""


def may(caller: Principal, permission: Permission) -> bool:
    return permission in _PERMISSIONS[caller.role] and (
        caller.scopes is None or any(permission in _SCOPES[scope] for scope in caller.scopes)
    )


def demand(caller: Principal, permission: Permission) -> None:
    """Raises a 403 Problem unless the caller may."""
    if may(caller, permission):
        return
    if permission in _PERMISSIONS[caller.role]:
        raise _refused(caller, f"This API token, for {_named(caller)}, may not {permission.value}.", permission.name)
    raise _refused(caller, f"The role {caller.role} may not {permission.value}.", permission.name)


def demand_change(caller: Principal) -> None:
    """Raises a 403 Problem for an API token that is for reading alone, whatever it is about to change."""
    if caller.scopes is not None and caller.scopes <= {Scope.READ}:
        raise _refused(caller, f"This API token, for {_named(caller)}, may not change anything.", "change")


def useless(role: Role, scopes: Iterable[Scope]) -> list[Scope]:
    """Those of the scopes that give somebody with this role nothing."""
    return [scope for scope in scopes if scope != Scope.READ and not _SCOPES[scope] & _PERMISSIONS[role]]


def _named(caller: Principal) -> str:
    return ", ".join(sorted(caller.scopes or ())) or "nothing"


def _refused(caller: Principal, detail: str, what: str) -> Problem:
    event = SecurityEvent(SecurityEventKind.PERMISSION_REFUSED, caller.id, what.lower().replace("_", "-"))
    return Problem(HTTPStatus.FORBIDDEN, "not-permitted", detail, event=event)
