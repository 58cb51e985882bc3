"""The dashboard in a real browser: live, and its buttons do what they say."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from inventory_operator.commandline.dashboard.server import Dashboard

from .api_server import Objects
from .browser import PROGRAM, Tab, a_tab
from .objects import NOW, deployment, inventory_app, pod

pytestmark = pytest.mark.skipif(not PROGRAM, reason="no Chromium is installed")
PICTURES = os.environ.get("INVENTORY_PICTURES", "")
"""A folder: screenshots for the documentation go there."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inventory_operator.commandline.act.ANSWER_SECONDS", 0)
    monkeypatch.setattr("inventory_operator.commandline.dashboard.server.READ_SECONDS", 0)


@pytest.fixture
def objects() -> Objects:
    found = Objects(inventory_app(), [deployment(5, 0), deployment(6, 4), deployment(7, 1)])
    restarts = pod(6, 3, waiting="back-off 40s restarting the container")
    found.pods = [pod(7, 0), *(pod(6, number) for number in range(3)), restarts]
    return found


@pytest.fixture
async def tab(objects: Objects) -> AsyncIterator[Tab]:
    page = Dashboard(objects, everywhere=False)
    runner = await page.start(0)
    try:
        async with a_tab() as found:
            await found.stop_clock(NOW)
            await found.open(page.url)
            await found.until("document.querySelectorAll('article').length === 1")
            yield found
            assert found.errors == []
    finally:
        await runner.cleanup()


async def test_a_person_sees_what_goes_on_and_promotes(tab: Tab, objects: Objects) -> None:
    text = await tab.value("document.body.innerText")
    for words in (
        "Revision 7 waits at step 2 of 4",
        "25 %",
        "75 %",
        "error-ratio",
        "back-off 40s",
        "0001..0023",
        "ready 3m",
    ):
        assert words in text
    if PICTURES:
        await tab.value("document.querySelector('summary').click()")
        keep(await tab.picture(1000, 860))
    await tab.press("Promote step 2")
    await tab.until("document.body.innerText.includes('The operator has not answered yet')")
    assert [body["metadata"]["annotations"] for _, _, body, _ in objects.told] == [{"inventory.dev/promote": "7/2"}]


async def test_the_page_follows_the_cluster_without_being_reloaded(tab: Tab, objects: Objects) -> None:
    assert objects.app
    objects.app["status"] = inventory_app(phase="Progressing", message="Revision 7 rolls out.", weight=50)["status"]
    await tab.until("document.body.innerText.includes('Revision 7 rolls out.')")
    assert "50 %" in await tab.value("document.body.innerText")
    objects.app = None
    await tab.until("document.body.innerText.includes('There is no InventoryApp here.')")


async def test_an_abort_is_asked_about_first(tab: Tab, objects: Objects) -> None:
    await tab.press("Abort")
    await tab.until("document.getElementById('question').open")
    await tab.press("Cancel")
    await tab.until("!document.getElementById('question').open")
    assert objects.told == []
    await tab.press("Abort")
    await tab.press("Yes")
    await tab.until("document.querySelector('.answer').textContent.length > 1")
    assert [body["metadata"]["annotations"] for _, _, body, _ in objects.told] == [{"inventory.dev/abort": "7"}]


async def test_a_former_release_is_rolled_back_to(tab: Tab, objects: Objects) -> None:
    await tab.value("document.querySelector('summary').click()")
    await tab.press("Roll back to 5")
    await tab.press("Yes")
    await tab.until("document.querySelector('.answer').textContent.includes('Back to what revision 5 was')")
    assert objects.app
    assert objects.app["spec"]["image"].endswith(":1.2.0")


async def test_what_the_cluster_says_is_text_and_nothing_else(tab: Tab, objects: Objects) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    assert objects.app
    objects.app["status"] = inventory_app(message=evil)["status"]
    await tab.until("document.body.innerText.includes('<img src=x')")
    assert await tab.value("document.title") == "Inventory releases"
    assert await tab.value("document.querySelectorAll('main img, main script').length") == 0


def keep(picture: bytes) -> None:
    (Path(PICTURES) / "dashboard.png").write_bytes(picture)
