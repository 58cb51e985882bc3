"""A headless Chromium, told what to do over its own protocol."""

import asyncio
import json
import shutil
import tempfile
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
START_SECONDS = 60
ANSWER_SECONDS = 30
INTERVAL_SECONDS = 0.05


class Tab:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.errors: list[str] = []
        """What the page has complained of."""

    async def send(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                message = json.loads((await self._socket.receive()).data)
                if message.get("method") == "Runtime.exceptionThrown":
                    self.errors.append(json.dumps(message["params"]["exceptionDetails"]))
                elif message.get("method") == "Log.entryAdded":
                    self.errors.append(message["params"]["entry"]["text"])
                elif message.get("id") == self._number:
                    assert "error" not in message, message
                    return message["result"]

    async def open(self, url: str) -> None:
        await self.send("Page.navigate", url=url)

    async def stop_clock(self, moment: datetime) -> None:
        """For the pages that are opened from now on."""
        source = f"Date.now = () => {int(moment.timestamp() * 1000)}"
        await self.send("Page.addScriptToEvaluateOnNewDocument", source=source)

    async def value(self, expression: str) -> Any:
        """Of a JavaScript expression."""
        answer = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Until it is true. Raises AssertionError with what the page shows instead."""
        deadline = asyncio.get_running_loop().time() + ANSWER_SECONDS
        while not await self.value(expression):
            shown = await self.value("document.body.innerText")
            assert asyncio.get_running_loop().time() < deadline, f"{expression}\n{shown}\n{self.errors}"
            await asyncio.sleep(INTERVAL_SECONDS)

    async def press(self, label: str) -> None:
        """The button with this label, as a person does it."""
        found = f"[...document.querySelectorAll('button')].find((each) => each.textContent === {json.dumps(label)})"
        await self.until(f"!!({found}) && !({found}).disabled")
        await self.value(f"({found}).scrollIntoView({{block: 'center'}})")
        box = await self.value(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])(({found}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    async def picture(self, width: int, height: int) -> bytes:
        """A PNG."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.send("Emulation.setDeviceMetricsOverride", **size)
        answer = await self.send("Page.captureScreenshot", format="png")
        return b64decode(answer["data"])


@asynccontextmanager
async def a_tab() -> AsyncIterator[Tab]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0")
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *words, f"--user-data-dir={profile}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            port = await _port(profile)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                    tabs = [each for each in await response.json() if each["type"] == "page"]
                async with session.ws_connect(tabs[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    tab = Tab(socket)
                    for domain in ("Page", "Runtime", "Log"):
                        await tab.send(f"{domain}.enable")
                    yield tab
        finally:
            process.terminate()
            await process.wait()


async def _port(profile: str) -> int:
    """The browser writes it down when it listens."""
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while not (lines := _read(Path(profile) / "DevToolsActivePort")):
        assert asyncio.get_running_loop().time() < deadline, "the browser does not start"
        await asyncio.sleep(INTERVAL_SECONDS)
    return int(lines[0])


def _read(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
