import pytest
from inventory_api.problems import Problem
from inventory_api.security import SecurityEventKind
from inventory_api.users.models import Role
from inventory_api.users.permissions import Permission, Principal, Scope, demand, demand_change, may, useless

ALL = frozenset(Scope)


def permitted(role: Role, scopes: frozenset[Scope] | None = None) -> set[Permission]:
    caller = Principal(7, role, scopes=scopes)
    return {permission for permission in Permission if may(caller, permission)}


def test_each_role_may_all_that_the_one_below_it_may() -> None:
    assert permitted(Role.MEMBER) == {Permission.OWN_ACCOUNT, Permission.BORROW}
    assert permitted(Role.MEMBER) < permitted(Role.STAFF) < permitted(Role.ADMIN) == set(Permission)
    assert permitted(Role.ADMIN) - permitted(Role.STAFF) == {Permission.EDIT_USERS, Permission.SEE_AUDIT}


@pytest.mark.parametrize("role", list(Role))
def test_an_api_token_may_never_do_more_than_its_owner(role: Role) -> None:
    for scope in Scope:
        assert permitted(role, frozenset({scope})) <= permitted(role)
    assert permitted(role, ALL) == permitted(role) - {Permission.OWN_ACCOUNT}


def test_every_permission_is_in_a_scope_but_that_for_the_own_account() -> None:
    """A new permission must be put into one, or no API token has it."""
    assert permitted(Role.ADMIN, ALL) == set(Permission) - {Permission.OWN_ACCOUNT}


def test_a_token_without_scopes_may_nothing() -> None:
    assert permitted(Role.ADMIN, frozenset()) == set()
    with pytest.raises(Problem):
        demand_change(Principal(7, Role.ADMIN, scopes=frozenset()))


def test_a_token_for_reading_alone_changes_nothing() -> None:
    with pytest.raises(Problem, match="for read, may not change anything"):
        demand_change(Principal(7, Role.ADMIN, scopes=frozenset({Scope.READ})))
    demand_change(Principal(7, Role.ADMIN, scopes=frozenset({Scope.READ, Scope.LEND})))
    demand_change(Principal(7, Role.MEMBER))


@pytest.mark.parametrize(
    ("caller", "why"),
    [
        (Principal(7, Role.MEMBER), "The role member may not add and change users."),
        (Principal(7, Role.STAFF, scopes=ALL), "The role staff may not add and change users."),
        (
            Principal(7, Role.ADMIN, scopes=frozenset({Scope.READ, Scope.LEND})),
            "This API token, for lend, read, may not add and change users.",
        ),
    ],
)
def test_a_refusal_says_why_and_what_security_wants_to_see(caller: Principal, why: str) -> None:
    with pytest.raises(Problem) as refused:
        demand(caller, Permission.EDIT_USERS)

    assert (refused.value.status, refused.value.kind, refused.value.detail) == (403, "not-permitted", why)
    event = refused.value.event
    assert event is not None
    assert (event.kind, event.user_id, event.detail) == (SecurityEventKind.PERMISSION_REFUSED, 7, "edit-users")


def test_a_scope_is_useless_to_a_role_that_may_nothing_of_it() -> None:
    assert useless(Role.MEMBER, Scope) == [Scope.STOCK, Scope.CATALOGUE, Scope.ADMIN]
    assert useless(Role.STAFF, Scope) == [Scope.ADMIN]
    assert useless(Role.ADMIN, Scope) == []
