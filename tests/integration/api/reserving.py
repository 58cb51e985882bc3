"""What tests of reservations do again and again, and the settings that they do it with."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.integration.api.services import Api, created

# A service that passes on what is due only when a test does, for people who may reserve a lot.
PATIENT = pytest.mark.settings(reservation_seconds_between_looks=3600, reservations_per_person=1000)
MONDAY = (datetime.now(UTC) + timedelta(days=7)).replace(hour=0, minute=0, second=0, microsecond=0)
BEGIN = "UPDATE reservations SET starts_at = now() - interval '1 second', set_aside_at = now() WHERE id = %s"
EXPIRE = "UPDATE reservations SET expires_at = now() - interval '1 second' WHERE id = %s"


def at(hours: float) -> str:
    """So many hours after the beginning of a day that is to come."""
    return (MONDAY + timedelta(hours=hours)).isoformat()


def soon(hours: float = 1) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


async def reserve(api: Api, key: str | None = None, **body: Any) -> httpx.Response:
    return await api.post("/api/v1/reservations", body, Idempotency_Key=key or uuid.uuid4().hex)


async def book(api: Api, item_id: int, since: float, until: float, **more: Any) -> httpx.Response:
    return await reserve(api, item_id=item_id, starts_at=at(since), ends_at=at(until), **more)


async def wait(api: Api, item_id: int, **more: Any) -> dict[str, Any]:
    return created(await reserve(api, item_id=item_id, **more))


async def shown(api: Api, reservation: dict[str, Any]) -> dict[str, Any]:
    answer = await api.get(f"/api/v1/reservations/{reservation['id']}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def statuses(api: Api, *reservations: dict[str, Any]) -> list[str]:
    return [(await shown(api, each))["status"] for each in reservations]


async def cancel(api: Api, reservation: dict[str, Any]) -> httpx.Response:
    return await api.post(f"/api/v1/reservations/{reservation['id']}/cancel")


async def give_back(api: Api, loan: dict[str, Any]) -> None:
    answer = await api.post(f"/api/v1/loans/{loan['id']}/return")
    assert answer.status_code == 200, answer.text


async def units_item(api: Api, count: int) -> tuple[int, list[int]]:
    item = (await api.item(0, tracking="units"))["id"]
    bodies = [{"serial": uuid.uuid4().hex} for _ in range(count)]
    path = f"/api/v1/items/{item}/units"
    return item, [created(await api.post(path, body, Idempotency_Key=body["serial"]))["id"] for body in bodies]


def kind(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:inventory:problem:")


async def receive(api: Api, item_id: int, quantity: int, location_id: int | None = None) -> None:
    body = {"item_id": item_id, "quantity": quantity, "location_id": location_id}
    created(await api.post("/api/v1/stock/receive", body, Idempotency_Key=uuid.uuid4().hex))


async def borrow(api: Api, reservation: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"reservation_id": reservation["id"], "due_at": soon(24), **more}
    return await api.post("/api/v1/loans", body, Idempotency_Key=uuid.uuid4().hex)
