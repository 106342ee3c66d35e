"""A real browser for tests, without a window and without a driver: Chromium, spoken to by its own protocol.

`HEADGATE_TEST_BROWSER` names the program, else it is looked for by its usual names. Where there is none the test says
so loudly, and under CI=true it fails. The browser keeps its profile in a temporary folder, reaches this machine only,
and ends with the test.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect

__all__ = ["Page", "browser_program", "open_page"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
START_SECONDS_MAX = 60.0
ANSWER_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.05
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root, and open pages of their own only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=900,700",
    "--remote-debugging-port=0",
)


def browser_program() -> str:
    """Return the browser of this machine; skip the test where there is none."""
    named = os.environ.get("HEADGATE_TEST_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if named is None:
        pytest.skip(
            "no browser: `apt-get install chromium`, or let HEADGATE_TEST_BROWSER name one; `make test` does it"
        )
    return named


class Page:
    """One tab. `problems` are the errors that its scripts had and its console showed."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self.problems: list[str] = []

    async def listen(self) -> None:
        """Take what the browser says, until it is gone."""
        async for text in self._connection:
            said = msgspec.json.decode(text)
            asked = self._asked.pop(said.get("id", 0), None)
            if asked is not None and not asked.done():
                asked.set_result(said)
            match said.get("method"):
                case "Runtime.exceptionThrown":
                    self.problems.append(str(said["params"]["exceptionDetails"]))
                case "Log.entryAdded" if said["params"]["entry"]["level"] == "error":
                    self.problems.append(str(said["params"]["entry"]))
                case _:
                    pass

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the result of a command of the protocol."""
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        await self._connection.send(
            msgspec.json.encode({"id": number, "method": method, "params": parameters}).decode()
        )
        said = await asyncio.wait_for(answer, ANSWER_SECONDS_MAX)
        assert "error" not in said, f"{method}: {said['error']}"
        return said["result"]

    async def go_to(self, url: str) -> None:
        await self.ask("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def evaluate(self, expression: str) -> Any:
        """Return what an expression of JavaScript comes to; a promise is awaited."""
        done = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            while not await self.evaluate(expression):  # noqa: ASYNC110 - it becomes true in another process
                await asyncio.sleep(LOOK_SECONDS)

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.ask("Input.insertText", text=text)

    async def press_enter(self) -> None:
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        await self.ask("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
        await self.ask("Input.dispatchKeyEvent", type="keyUp", **key)

    async def picture(self, path: Path) -> None:
        shot = await self.ask("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))


@asynccontextmanager
async def open_page() -> AsyncGenerator[Page]:
    """Yield an empty page of a browser that is begun for it."""
    program = browser_program()
    profile = Path(tempfile.mkdtemp(prefix="headgate-browser-"))
    with (profile / "said").open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            program, *OPTIONS, f"--user-data-dir={profile}", stdout=said, stderr=said, start_new_session=True
        )
    try:
        async with connect(await _address_of_page(process, profile), max_size=MESSAGE_BYTES_MAX) as connection:
            page = Page(connection)
            listening = asyncio.ensure_future(page.listen())
            for domain in ("Page", "Runtime", "Log"):
                await page.ask(f"{domain}.enable")
            try:
                yield page
            finally:
                listening.cancel()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def _address_of_page(process: asyncio.subprocess.Process, profile: Path) -> str:
    """Return where the browser's first page is spoken to, when it says so."""
    async with asyncio.timeout(START_SECONDS_MAX), httpx2.AsyncClient() as client:
        while True:
            said = (profile / "said").read_text(errors="replace")[-2_000:]
            assert process.returncode is None, f"the browser ended with {process.returncode}:\n{said}"
            with suppress(FileNotFoundError, ValueError, IndexError, httpx2.TransportError):
                port = int((profile / "DevToolsActivePort").read_text().split()[0])
                targets = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
                return next(one for one in targets if one["type"] == "page")["webSocketDebuggerUrl"]
            await asyncio.sleep(LOOK_SECONDS)
