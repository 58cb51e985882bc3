"""The short way to an endpoint that only reads leads to nothing else than FastAPI's own way."""

from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Body, Depends, FastAPI, Header, Query, Request, Response
from fastapi.routing import APIRoute
from inventory_api.app import create_app
from inventory_api.direct_routes import DirectRoutes, is_simple
from inventory_api.settings import ServiceSettings
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.routing import Match

Number = Annotated[int, Field(ge=1, le=9)]


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=5, ge=1, le=9)
    word: str | None = None


async def who(request: Request) -> str:
    return request.headers.get("authorization", "nobody")


Who = Annotated[str, Depends(who)]


def said(*what: object) -> Response:
    return Response(repr(what), media_type="text/plain")


def of_two_ways() -> tuple[FastAPI, FastAPI]:
    """The same endpoints, and those that can be, direct in the second."""
    apps = []
    for _ in range(2):
        app = FastAPI()

        @app.get("/api/v1/things/first")
        async def get_first() -> dict[str, str]:
            return {"this": "is the first"}

        @app.get("/api/v1/things/{number}")
        async def get_shadowed(number: Number) -> Response:
            return said("shadowed", number)

        @app.get("/api/v1/things/{number}/parts/{part}")
        async def get_part(number: Number, part: str, caller: Who) -> Response:
            return said(number, part, caller)

        @app.get("/api/v1/things")
        async def get_list(query: Annotated[Asked, Query()], caller: Who) -> Response:
            return said(query, caller)

        @app.post("/api/v1/things")
        async def add(thing: Annotated[str, Body()]) -> Response:
            return said("added", thing)

        apps.append(app)
    apps[1].router.middleware_stack = DirectRoutes(apps[1].router.middleware_stack, apps[1].routes)
    return apps[0], apps[1]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/things/first"),
        ("GET", "/api/v1/things/3"),
        ("GET", "/api/v1/things/3/parts/a%20b"),
        ("GET", "/api/v1/things/0/parts/b"),
        ("GET", "/api/v1/things/x/parts/b"),
        ("GET", "/api/v1/things/3/parts/"),
        ("GET", "/api/v1/things/3/parts/b%2Fc"),
        ("GET", "/api/v1/things"),
        ("GET", "/api/v1/things?limit=7&word=drill"),
        ("GET", "/api/v1/things?limit=1&limit=2"),
        ("GET", "/api/v1/things?limit=10"),
        ("GET", "/api/v1/things?limit=7&unknown=1"),
        ("GET", "/api/v1/things/"),
        ("GET", "/api/v1/nothing"),
        ("HEAD", "/api/v1/things"),
        ("DELETE", "/api/v1/things"),
        ("POST", "/api/v1/things"),
    ],
)
async def test_both_ways_give_the_same_answer(method: str, path: str) -> None:
    answers = []
    for app in of_two_ways():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            answer = await client.request(method, path, headers={"Authorization": "Bearer me"}, follow_redirects=False)
            answers.append((answer.status_code, answer.headers, answer.content))

    assert answers[0] == answers[1]


async def test_what_asks_for_more_than_the_request_is_left_to_fastapi() -> None:
    app = FastAPI()

    def slow() -> str:
        return "in a thread"

    async def kept() -> Any:
        yield "closed afterwards"

    def with_header(given: Annotated[str, Header()]) -> str:
        return given

    async def nested(caller: Who) -> str:
        return caller

    for number, dependency in enumerate((slow, kept, with_header, nested)):

        @app.get(f"/api/v1/of/{number}")
        async def read(asked: Annotated[str, Depends(dependency)]) -> Response:
            return said(asked)

    @app.get("/api/v1/model")
    async def read_model() -> Asked:
        return Asked()

    @app.get("/api/v1/request")
    async def read_request(request: Request) -> Response:
        return said(request)

    @app.get("/api/v1/file/{path:path}")
    async def read_path(path: str) -> Response:
        return said(path)

    assert [route.path for route in api_routes(app) if is_simple(route)] == []


def test_each_direct_route_is_the_one_that_the_router_finds() -> None:
    app = create_app(
        ServiceSettings(database_url=SecretStr("postgresql://nowhere"), secret_key=SecretStr("-" * 32)),
    )
    direct = [route for route in api_routes(app) if is_simple(route)]

    for route in direct:
        path = "/".join("7" if name.startswith("{") else name for name in route.path.split("/"))
        scope = {"type": "http", "method": "GET", "path": path, "root_path": ""}
        assert next(each for each in app.routes if each.matches(dict(scope))[0] is Match.FULL) is route
    assert {"get_item", "list_items", "get_statistics"} <= {route.name for route in direct}


def api_routes(app: FastAPI) -> Iterator[APIRoute]:
    return (route for route in app.routes if isinstance(route, APIRoute))
