from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI, Response
from inventory_api.concurrency import IfMatch, demand_version, with_etag
from inventory_api.metrics import Metrics
from inventory_api.middleware import RequestRecord
from inventory_api.problems import handle_problems


@dataclass
class Thing:
    version: int = 7


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    handle_problems(app)
    app.add_middleware(RequestRecord, metrics=Metrics("1", "r1", "7"), release="r1")

    @app.get("/thing")
    async def get_thing(response: Response) -> Thing:
        return with_etag(response, Thing())

    @app.patch("/thing")
    async def change_thing(if_match: IfMatch) -> Thing:
        demand_version(if_match, 7)
        return Thing(8)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inventory") as http:
        yield http


async def test_what_was_read_may_be_changed(client: httpx.AsyncClient) -> None:
    tag = (await client.get("/thing")).headers["ETag"]

    assert tag == '"7"'
    assert (await client.patch("/thing", headers={"If-Match": tag})).status_code == 200


@pytest.mark.parametrize("given", ["*", 'W/"7"', '"6", "7"', '"6"\t,W/"7"'])
async def test_every_way_to_say_the_version_counts(client: httpx.AsyncClient, given: str) -> None:
    assert (await client.patch("/thing", headers={"If-Match": given})).status_code == 200


@pytest.mark.parametrize("given", ['"6"', '"77"', '""', '"6", "8"', '"*"', '"W/7"'])
async def test_another_version_is_refused(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.patch("/thing", headers={"If-Match": given})

    assert (answer.status_code, answer.json()["type"]) == (412, "urn:inventory:problem:precondition-failed")


async def test_no_version_is_refused_with_what_to_do(client: httpx.AsyncClient) -> None:
    answer = await client.patch("/thing")

    assert (answer.status_code, answer.json()["type"]) == (428, "urn:inventory:problem:precondition-required")
    assert "If-Match" in answer.json()["detail"]


@pytest.mark.parametrize("given", ["7", '"7', '"7" "8"', "", '"7",', "*, *", '"' + "7" * 200 + '"', '"\xff"'])
async def test_what_is_no_tag_is_refused_by_name(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.patch("/thing", headers=[(b"If-Match", given.encode("latin-1"))])

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["header.If-Match"]
