"""Who may do what, in one place."""

import enum
from http import HTTPStatus

from inventory_api.problems import Problem
from inventory_api.users.models import Role, User


class Permission(enum.Enum):
    EDIT_CATALOGUE = "change categories and items"
    LEND_TO_OTHERS = "lend to others"
    SEE_ALL_LOANS = "see the loans of others"
    RETURN_FOR_OTHERS = "take back the loans of others"
    SEE_USERS = "see other users"
    EDIT_USERS = "add users"


_STAFF = frozenset(Permission) - {Permission.EDIT_USERS}
_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission),
    Role.STAFF: _STAFF,
    Role.MEMBER: frozenset(),
}


def may(user: User, permission: Permission) -> bool:
    return permission in _PERMISSIONS[Role(user.role)]


def demand(user: User, permission: Permission) -> None:
    """Raises a 403 Problem unless the user may."""
    if not may(user, permission):
        raise Problem(HTTPStatus.FORBIDDEN, "not-permitted", f"The role {user.role} may not {permission.value}.")
