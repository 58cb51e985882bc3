"""What schemathesis is told of this service's rules where they go beyond a JSON Schema.

Valid requests are made valid by these as well, that they get further; and where they are not, a refusal is no failure.
"""

import json
import os
import re
import zlib
from pathlib import Path
from typing import Any, Final

import schemathesis
from schemathesis import Case, HookContext, Response
from schemathesis.auths import refresh_auth
from schemathesis.core.failures import Failure
from schemathesis.generation.meta import TestPhase
from schemathesis.openapi.checks import RejectedPositiveData, UnsupportedMethodResponse

from tests.fuzz.known import KnownThings

# Fields that don't go together: one of these sets is left out.
_THING: Final = ({"item_id", "unit_id"}, {"item_id", "code"}, {"unit_id", "code"})
_LEFT_OUT: Final[dict[str, tuple[set[str], ...]]] = {
    "create_item": ({"tracking"}, {"tracking", "location_id", "category_id"}),
    "check_out": (
        {"reservation_id", "unit_ids"},
        {"reservation_id", "unit_ids", "user_id", "location_id"},
        {"item_id", "unit_ids", "user_id", "location_id", "quantity"},
    ),
    "return_loan": ({"quantity", "unit_ids"}, {"unit_ids"}),
    "report_lost": ({"quantity", "unit_ids"}, {"unit_ids"}),
    "reserve": ({"unit_id"}, {"unit_id", "starts_at", "ends_at", "location_id"}, {"item_id", "quantity"}),
    "add_scan": _THING,
    "set_count": _THING,
}
# After these, whoever asks signs in again: along links, it would go on with a token that is over.
_END_A_SESSION: Final = {"sign_out", "sign_out_everywhere", "end_session", "change_user", "reset_password"}
# Rules of one field that a JSON Schema has no words for.
_NOT_IN_A_SCHEMA = re.compile(
    "must be a year from 1970 to 9000"
    "|must not contain NUL"
    "|must be an http or https address"
    "|must name each item once"
    r"|must have \d+ (words|characters in all) at most.*"
    # Spaces around a text are taken away before it is measured.
    r"|Value should have at least \d+ items? after validation, not \d+"
    # It compares as floating-point numbers, which can't tell this one from those that follow.
    "|Input should be less than or equal to 9223372036854775807"
)
# Bodies and queries as a whole have rules of how their fields go together. As for the header, where it finds no value
# that the pattern allows, it puts one that is refused into cases that are meant to be valid; and it finds none with a
# quote in it. Links and the dictionary have proper ones.
_NOT_OF_A_FIELD = frozenset({"body", "query", "header.If-Match"})


class _Session:
    over = False


_session = _Session()
_known = KnownThings()
_accepted: set[str] = set()


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    if _session.over and case._has_explicit_auth and not case.operation.schema.is_security_param_negated(case):
        refresh_auth(case)
        _session.over = False
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.body, dict):
        case.body = going_together(_name(case), case.body)
    if _name(case) == "export_file":
        case.query = {name: value for name, value in case.query.items() if name in ("kind", "format", "archived")}
    # That phase goes through values one by one, and none of them is to be lost.
    if case.meta.phase.name != TestPhase.COVERAGE:
        _known.fill_in(_name(case), case)


@schemathesis.hook
def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
    if _name(case) in _END_A_SESSION and response.status_code < 300:
        _session.over = True
    if response.status_code < 300 and _name(case) not in _accepted:
        _accepted.add(_name(case))
        with Path(os.environ["FUZZ_ACCEPTED"]).open("a") as accepted:
            accepted.write(f"{_name(case)}\n")


def going_together(operation: str, body: dict[str, Any]) -> dict[str, Any]:
    """One of so many is left as it is."""
    choices = (*_LEFT_OUT.get(operation, ()), set())
    chosen = choices[zlib.crc32(json.dumps(body, sort_keys=True, default=str).encode()) % len(choices)]
    kept = {name: value for name, value in body.items() if name not in chosen}
    return {"quantity": 1, **kept} if operation == "check_out" and "item_id" in kept else kept


def _name(case: Case[Any]) -> str:
    return str(case.operation.definition.raw.get("operationId", ""))


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Whether it is a failure."""
    if isinstance(failure, RejectedPositiveData):
        return response.status_code != 422 or is_of_the_contract(response.json())
    if isinstance(failure, UnsupportedMethodResponse):
        # `me` is also what the path of a user with an id matches, in which it is no id.
        return not (case.operation.path == "/api/v1/users/me" and response.status_code == 422)
    return True


def is_of_the_contract(problem: dict[str, Any]) -> bool:
    """Whether a valid request was refused for what the contract can tell: the bounds and the kind of one field.

    How fields go together, or with what is stored, has problems of its own, or is one of the body as a whole.
    """
    if problem["type"] != "urn:inventory:problem:invalid-request":
        return False
    return any(
        each["field"] not in _NOT_OF_A_FIELD and not _NOT_IN_A_SCHEMA.fullmatch(each["message"])
        for each in problem["errors"]
    )
