"""What holds for every list of the contract, and so for the next one, too."""

import uuid
from typing import Any

import httpx
import pytest
from inventory_api.app import openapi_document

from tests.integration.api.services import Api, created
from tests.integration.stores import Postgres

# What a list needs to show what the tests have made.
QUERIES: dict[str, dict[str, Any]] = {
    "/api/v1/maintenance/due": {"until": "2100-01-01T00:00:00Z"},
    "/api/v1/stock/levels": {"location_id": 1},
}

FAILED_SIGN_IN = (
    "INSERT INTO security_events (at, kind, request_id, address, detail) VALUES (now(), 'sign-in-failed', '', '', '')"
)


def lists() -> set[str]:
    document = openapi_document()
    found = set()
    for path, methods in document["paths"].items():
        content = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        name = content.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
        if "next_cursor" in document["components"]["schemas"].get(name, {}).get("properties", {}):
            found.add(path)
    return found


class Things:
    """Something for every list, made anew with each call."""

    def __init__(self, api: Api, postgres: Postgres, database: str) -> None:
        self._api = api
        self._postgres = postgres
        self._database = database
        self._first_unit = 0
        self._stocktake = 0

    async def _add(self, path: str, **body: Any) -> int:
        return int(created(await self._api.post(f"/api/v1/{path}", body, Idempotency_Key=uuid.uuid4().hex))["id"])

    def _sql(self, statement: str, *values: Any) -> None:
        self._postgres.execute(statement, *values, database=self._database)

    async def begin(self) -> None:
        self._stocktake = await self._add("stocktakes", location_id=1)

    async def add(self) -> None:
        name = uuid.uuid4().hex
        await self._add("categories", name=name)
        location = await self._add("locations", name=name, count_every_days=1)
        item = (await self._api.item(3, minimum_stock=9))["id"]
        of_units = (await self._api.item(0, tracking="units"))["id"]
        unit = await self._add(f"items/{of_units}/units", serial=name)
        self._first_unit = self._first_unit or unit
        for each in {unit, self._first_unit}:
            await self._add(f"units/{each}/maintenance", kind="inspection", next_due_at="2099-01-01T00:00:00Z")
        body = {"email": f"{name}@example.com", "name": "Ada", "password": "long enough"}
        user = created(await self._api.post("/api/v1/users", body))["id"]
        created(await self._api.check_out(item, user_id=user))
        created(await self._api.check_out(of_units))
        self._sql("UPDATE loans SET due_at = now() - interval '1 day', lent_at = now() - interval '2 days'")
        self._sql(FAILED_SIGN_IN)
        await self._add("reservations", item_id=item)
        created(await self._api.post("/api/v1/tokens", {"name": name, "scopes": ["read"]}))
        await self._add("stocktakes", location_id=location)
        for counted in ({"item_id": item}, {"unit_id": unit}):
            await self._add(f"stocktakes/{self._stocktake}/scans", **counted)
        self._sql("UPDATE locations SET created_at = now() - interval '9 days'")
        self._sql("UPDATE stocktakes SET started_at = now() - interval '9 days' WHERE id <> %s", self._stocktake)
        await self._api.sign_in()

    async def page(self, path: str, **query: Any) -> httpx.Response:
        where = path.format(unit_id=self._first_unit, stocktake_id=self._stocktake)
        return await self._api.get(where, params={**QUERIES.get(path, {}), **query})


@pytest.fixture
async def things(admin: Api, postgres: Postgres, database: str) -> Things:
    things = Things(admin, postgres, database)
    await things.begin()
    return things


def rows_of(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["items"]
    return found


async def test_every_list_takes_as_many_statements_for_many_rows_as_for_few(
    things: Things, statements: list[str]
) -> None:
    counts: list[dict[str, tuple[int, int]]] = []
    for more in (1, 4):
        for _ in range(more):
            await things.add()
        found = {}
        for path in sorted(lists()):
            await things.page(path)  # who is calling may be asked for once
            statements.clear()
            found[path] = (len(rows_of(await things.page(path))), len(statements))
        counts.append(found)

    few, many = counts
    assert len(few) > 20
    assert [path for path in few if many[path][0] <= few[path][0]] == []
    assert {path: each[1] for path, each in few.items()} == {path: each[1] for path, each in many.items()}


async def test_every_list_comes_in_pages_of_a_bounded_size_that_neither_skip_nor_repeat(things: Things) -> None:
    for _ in range(3):
        await things.add()

    for path in sorted(lists()):
        whole = rows_of(await things.page(path, limit=200))
        pages: list[list[Any]] = []
        query: dict[str, Any] = {"limit": 2}
        while not pages or "cursor" in query:
            answer = await things.page(path, **query)
            pages.append(rows_of(answer))
            cursor = answer.json()["next_cursor"]
            query = {"limit": 2, **({"cursor": cursor} if cursor else {})}

        assert [row for page in pages for row in page] == whole, path
        assert len(whole) > 2, path
        assert max(len(page) for page in pages) == 2, path
        assert (await things.page(path, limit=201)).status_code == 422, path
        assert (await things.page(path, cursor="nonsense")).status_code == 422, path
        assert (await things.page(path, nonsense=1)).status_code == 422, path
