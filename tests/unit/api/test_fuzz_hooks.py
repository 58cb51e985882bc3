from typing import Any

import pytest

from tests.fuzz.hooks import going_together, is_of_the_contract


def refusal(field: str, message: str, kind: str = "invalid-request") -> dict[str, Any]:
    return {"type": f"urn:inventory:problem:{kind}", "errors": [{"field": field, "message": message}]}


@pytest.mark.parametrize(
    "problem",
    [
        refusal("quantity", "Input should be a valid integer"),
        refusal("name", "String should have at least 1 character"),
        refusal("body.parts.0.quantity", "Field required"),
        refusal("header.Idempotency-Key", "String should match pattern '^a$'"),
    ],
)
def test_a_valid_request_that_is_refused_for_one_field_is_a_failure(problem: dict[str, Any]) -> None:
    assert is_of_the_contract(problem)
    both = [*refusal("body", "needs either item_id or unit_id")["errors"], *problem["errors"]]
    assert is_of_the_contract({**problem, "errors": both})


@pytest.mark.parametrize(
    "problem",
    [
        refusal("body", "needs either item_id or unit_id"),
        refusal("due_at", "must be a year from 1970 to 9000"),
        refusal("name", "Value should have at least 1 item after validation, not 0"),
        {"type": "urn:inventory:problem:same-location"},
    ],
)
def test_one_that_is_refused_for_what_no_schema_tells_is_none(problem: dict[str, Any]) -> None:
    assert not is_of_the_contract(problem)


def test_valid_bodies_are_sent_with_what_goes_together_and_now_and_then_as_they_are() -> None:
    bodies = [{"item_id": number, "unit_id": 1, "code": "a", "quantity": 1} for number in range(100)]

    sent = {frozenset(going_together("add_scan", body)) - {"quantity"} for body in bodies}

    assert sent == {
        frozenset({"item_id", "unit_id", "code"}),
        *(frozenset({one}) for one in ("item_id", "unit_id", "code")),
    }
    assert all(going_together("create_user", body) == body for body in bodies)
