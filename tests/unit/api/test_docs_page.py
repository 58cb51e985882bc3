"""The page of the API's operations: it shows them all, and loads nothing from anywhere else."""

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
from inventory_api.app import create_app, openapi_document
from inventory_api.settings import ServiceSettings
from pydantic import SecretStr

SCRIPT = Path(str(files("inventory_api.docs_page").joinpath("page.js")))


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    settings = ServiceSettings(database_url=SecretStr("postgresql://nowhere"), secret_key=SecretStr("k" * 32))
    transport = httpx.ASGITransport(create_app(settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://inventory") as client:
        yield client


async def test_the_page_and_all_that_it_needs_come_from_the_service(http: httpx.AsyncClient) -> None:
    page = await http.get("/api/docs")
    needed = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    parts = [await http.get(page.url.join(reference)) for reference in needed]

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert set(needed) == {"docs/page.css", "docs/page.js", "openapi.json"}
    assert {part.status_code for part in parts} == {200}
    for answer in (page, *parts[:2]):
        assert not re.search(r"https?://|@import|\burl\(|\beval\b|innerHTML", answer.text)


async def test_a_browser_would_refuse_whatever_else_somebody_brings_into_it(http: httpx.AsyncClient) -> None:
    policy = (await http.get("/api/docs")).headers["content-security-policy"]
    allowed = dict(directive.strip().split(" ", 1) for directive in policy.split(";"))

    assert allowed.pop("default-src") == "'none'"
    assert {allowed.pop(name) for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert set(allowed.values()) == {"'none'"}


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on this machine")
def test_it_shows_every_operation_with_its_parameters_bodies_and_answers() -> None:
    document = openapi_document()
    renderer = Path(__file__).parent / "docs_page.js"

    shown = subprocess.run(
        ["node", renderer, SCRIPT], input=json.dumps(document), capture_output=True, text=True, check=True
    ).stdout

    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert f"{method.upper()} {path}" in shown
            for parameter in operation.get("parameters", []):
                assert f"{parameter['name']}  in {parameter['in']}" in shown
    for schema in ("CheckOut", "LoanShown", "ProblemDocument"):
        assert set(document["components"]["schemas"][schema]["properties"]) <= set(re.findall(r"\w+", shown))
    assert 'curl -X POST "$URL/api/v1/loans"' in shown
    assert "undefined" not in shown
    assert "922337203685477" not in shown
