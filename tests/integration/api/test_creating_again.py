"""What is created by a request that may be sent again."""

from typing import Any

import pytest

from tests.integration.api.services import Api, created

CREATED = [
    ("categories", {"name": "Tools"}, {"name": "Toys"}),
    (
        "items",
        {"name": "Drill", "sku": "DRILL-1", "quantity": 3},
        {"name": "Drill", "sku": "DRILL-1", "quantity": 4},
    ),
]


@pytest.mark.parametrize(("path", "body", "_other"), CREATED)
async def test_with_a_key_it_is_created_once_and_answered_the_same(
    admin: Api, path: str, body: dict[str, Any], _other: Any
) -> None:
    first = await admin.post(f"/api/v1/{path}", body, Idempotency_Key="k")
    second = await admin.post(f"/api/v1/{path}", body, Idempotency_Key="k")

    assert created(first) == created(second)
    assert first.headers.get("ETag") == second.headers.get("ETag")
    assert [answer.headers.get("Idempotency-Replayed") for answer in (first, second)] == [None, "true"]


@pytest.mark.parametrize(("path", "body", "other"), CREATED)
async def test_a_key_with_another_body_is_refused(
    admin: Api, path: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    created(await admin.post(f"/api/v1/{path}", body, Idempotency_Key="k"))

    answer = await admin.post(f"/api/v1/{path}", other, Idempotency_Key="k")

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:inventory:problem:idempotency-key-reused")


@pytest.mark.parametrize(("path", "body", "_other"), CREATED)
async def test_without_a_key_what_is_there_already_is_a_conflict(
    admin: Api, path: str, body: dict[str, Any], _other: Any
) -> None:
    created(await admin.post(f"/api/v1/{path}", body))

    assert (await admin.post(f"/api/v1/{path}", body)).status_code == 409
