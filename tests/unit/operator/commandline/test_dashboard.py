"""The dashboard's server: who gets in, what is shown, and what a button does."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from inventory_operator.commandline.dashboard.cards import card
from inventory_operator.commandline.dashboard.server import Dashboard

from .api_server import Objects
from .objects import HASHES, at_rest, deployment, in_mid_canary, inventory_app

Object = dict[str, Any]
OURS = {"X-Inventory-Dashboard": "1"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inventory_operator.commandline.act.ANSWER_SECONDS", 0)


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def objects() -> Objects:
    return Objects(inventory_app(), [deployment(5, 0), deployment(6, 4), deployment(7, 1)])


@pytest.fixture
async def page(objects: Objects) -> AsyncIterator[Dashboard]:
    found = Dashboard(objects, everywhere=False)
    runner = await found.start(0)
    yield found
    await runner.cleanup()


def an_order(action: str, value: str, **changes: str) -> Object:
    return {"namespace": "shop", "name": "inventory", "action": action, "value": value} | changes


def origin(page: Dashboard) -> str:
    return f"http://{urlsplit(page.url).netloc}"


async def order(browser: aiohttp.ClientSession, page: Dashboard, body: Object) -> Object:
    headers = OURS | {"Origin": origin(page)}
    async with browser.post(f"{page.url}orders", json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        found: Object = await response.json()
        return found


async def test_the_page_and_its_apps_are_there_for_who_knows_the_address(
    browser: aiohttp.ClientSession, page: Dashboard
) -> None:
    for name, kind in (("", "text/html"), ("page.css", "text/css"), ("page.js", "text/javascript")):
        async with browser.get(f"{page.url}{name}") as response:
            assert (response.status, response.content_type) == (200, kind)
            assert "script-src 'self'" in response.headers["Content-Security-Policy"]
            assert response.headers["Referrer-Policy"] == "no-referrer"
    async with browser.get(f"{page.url}apps") as response:
        [found] = (await response.json())["apps"]
    assert (found["name"], found["phase"], found["allowed"]) == ("inventory", "Paused", True)


async def test_without_the_word_there_is_nothing(browser: aiohttp.ClientSession, page: Dashboard) -> None:
    for path in ("/", "/apps", "/orders", "/x/apps", "/page.js"):
        async with browser.get(f"{origin(page)}{path}") as response:
            assert response.status == 404
            assert "Content-Security-Policy" in response.headers


async def test_a_foreign_name_that_leads_here_is_refused(browser: aiohttp.ClientSession, page: Dashboard) -> None:
    async with browser.get(f"{page.url}apps", headers={"Host": "evil.example"}) as response:
        assert response.status == 421


async def test_another_page_in_the_same_browser_can_order_nothing(
    browser: aiohttp.ClientSession, page: Dashboard, objects: Objects
) -> None:
    body = an_order("abort", "7")
    good = OURS | {"Origin": origin(page)}
    for headers in (
        good | {"Origin": "http://evil.example"},
        good | {"Origin": f"https{origin(page)[4:]}"},
        {"Origin": origin(page)},
        OURS,
    ):
        async with browser.post(f"{page.url}orders", json=body, headers=headers) as response:
            assert response.status == 403
    async with browser.post(f"{page.url}orders", data=str(body), headers=good) as response:
        assert response.status == 403
    async with browser.options(f"{page.url}orders", headers={"Origin": "http://evil.example"}) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
    assert objects.told == []


async def test_a_button_orders_what_was_seen(browser: aiohttp.ClientSession, page: Dashboard, objects: Objects) -> None:
    assert (await order(browser, page, an_order("promote", "7/2")))["code"] == 0
    assert [body["metadata"]["annotations"] for _, _, body, _ in objects.told] == [{"inventory.dev/promote": "7/2"}]


async def test_what_has_moved_on_since_it_was_seen_is_left_alone(
    browser: aiohttp.ClientSession, page: Dashboard, objects: Objects
) -> None:
    found = await order(browser, page, an_order("promote", "7/1"))
    assert found == {"code": 3, "said": "inventory has moved on since you looked: nothing was ordered"}
    assert objects.told == []


async def test_a_rollback_asks_for_the_old_content_and_leaves_helms_fields_to_helm(
    browser: aiohttp.ClientSession, page: Dashboard, objects: Objects
) -> None:
    assert objects.app
    fields: Object = {"f:spec": {"f:image": {}}}
    objects.app["metadata"]["managedFields"] = [{"manager": "helm", "operation": "Apply", "fieldsV1": fields}]
    found = await order(browser, page, an_order("rollback", HASHES[6]))
    assert (found["code"], objects.told) == (3, [])
    assert "helm rollback" in found["said"]
    objects.app["metadata"]["managedFields"] = []
    assert (await order(browser, page, an_order("rollback", HASHES[6])))["code"] == 0
    assert objects.app["spec"]["image"].endswith(":1.3.0")


@pytest.mark.parametrize(
    "body",
    [an_order("contract", "x"), an_order("abort", "7", namespace="other"), an_order("rollback", "0123456789")],
)
async def test_the_page_can_do_no_more_than_its_buttons(
    browser: aiohttp.ClientSession, page: Dashboard, objects: Objects, body: Object
) -> None:
    assert (await order(browser, page, body))["code"] in (2, 3)
    assert objects.told == []


async def test_nonsense_is_a_bad_request(browser: aiohttp.ClientSession, page: Dashboard) -> None:
    headers = OURS | {"Origin": origin(page), "Content-Type": "application/json"}
    for text, status in (("{", 400), ("[]", 400), ("{}", 400), ('"x"', 400), (" " * 5000, 413)):
        async with browser.post(f"{page.url}orders", data=text, headers=headers) as response:
            assert response.status == status


async def test_who_may_only_look_gets_no_buttons(
    browser: aiohttp.ClientSession, page: Dashboard, objects: Objects
) -> None:
    objects.allowed = False
    async with browser.get(f"{page.url}apps") as response:
        [found] = (await response.json())["apps"]
    assert found["allowed"] is False


def test_a_canary_can_be_promoted_and_aborted() -> None:
    found = card(in_mid_canary(), allowed=True)
    assert [(each["action"], each["value"]) for each in found["orders"]] == [
        ("promote", "7/2"),
        ("promote-full", "7"),
        ("abort", "7"),
    ]
    assert [(each["role"], each["weight"]) for each in found["releases"]] == [("candidate", 25), ("stable", 75)]


def test_only_what_can_serve_again_can_be_rolled_back_to() -> None:
    def ways(contract: tuple[str, ...]) -> list[int]:
        found = card(at_rest(contract=contract), allowed=True)
        return [each["revision"] for each in found["history"] if each["rollback"]]

    assert ways(("c0001",)) == [6, 5]
    assert ways(("c0001", "c0002")) == []
