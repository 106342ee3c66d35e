"""The chat page in a real browser: a person types, and reads the answer while it is written."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest
from tests.browser import browser_program, open_page

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "examples" / "chat_page"
SECONDS_MAX = 60
PACE_SECONDS = 0.4
"""A token: so that an answer of some 15 is on its way for as long as it is looked at."""
SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    if (window.sockets.push(this) <= %d) this.addEventListener("message", () => this.close(), { once: true });
  }
};
"""
"""Remember the connections that the page makes, and cut the first ones as soon as each has brought a frame.

The page cuts them itself: a test that looks from outside may come when the answer is whole, and nothing is left to cut.
"""
WATCH = """
window.seen = [];
new MutationObserver(() => {
  const answer = document.querySelector(".theirs");
  if (answer && answer.textContent !== window.seen.at(-1)) window.seen.push(answer.textContent);
}).observe(document.getElementById("talk"), { childList: true, subtree: true, characterData: true });
"""
"""Remember every text that the answer has shown."""


@contextmanager
def running(words: list[str], folder: Path, **environment: str) -> Generator[subprocess.Popen[str]]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    with (folder / "said.txt").open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=folder,
            env=plain | environment,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS_MAX)


@contextmanager
def chat(folder: Path) -> Generator[tuple[str, str]]:
    """Serve as the back end's own words say; yield the page's address and Headgate's."""
    with running(["headgate", "dev", "--port", "0", "--json", "--pace", str(PACE_SECONDS)], folder) as dev:
        assert dev.stdout is not None
        headgate = json.loads(dev.stdout.readline())["url"]
        port = str(free_port())
        words = ["uvicorn", "server:app", "--app-dir", str(FOLDER), "--port", port, "--log-level", "warning"]
        with running(words, folder, HEADGATE_URL=headgate) as back_end:
            yield answering(f"http://127.0.0.1:{port}/", back_end), headgate


def answering(url: str, process: subprocess.Popen[str]) -> str:
    """Return the address when somebody answers there."""
    while process.poll() is None:
        try:
            httpx2.get(url)
        except httpx2.TransportError:
            continue
        return url
    raise AssertionError(f"the back end ended with {process.returncode}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def answer_of(headgate: str) -> str:
    """Return what the model has answered, when it is whole."""
    async with httpx2.AsyncClient(base_url=f"{headgate}/api/v1", timeout=SECONDS_MAX) as client:
        (run,) = (await client.get("/runs")).json()
        ended = (await client.get(f"/workflows/{run['id']}?wait={SECONDS_MAX}")).json()
    return ended["activities"][0]["outputs"][0]["value"]["content"]


@pytest.mark.parametrize("cuts", [0, 2])
def test_a_person_reads_the_answer_while_it_is_written_whether_the_connection_holds_or_is_cut(
    tmp_path: Path, cuts: int
):
    browser_program()

    async def scene(address: str, headgate: str) -> None:
        async with open_page() as page:
            await page.ask("Page.addScriptToEvaluateOnNewDocument", source=SOCKETS % cuts)
            await page.go_to(address)
            await page.evaluate(WATCH)
            await page.until("document.activeElement.id === 'message'")  # the page puts the cursor where one types
            await page.type("When is the museum open?")
            await page.press_enter()
            await page.until(f"window.sockets.length > {cuts} && window.seen.length > {cuts + 1}")
            await page.picture(tmp_path / "in-the-middle.png")
            answer = await answer_of(headgate)
            await page.until(f"document.querySelector('.theirs').textContent === {json.dumps(answer)}")

            assert await page.evaluate("document.querySelector('.mine').textContent") == "When is the museum open?"
            assert await page.evaluate("document.getElementById('message').value") == ""
            assert await page.evaluate("document.querySelectorAll('.failed').length") == 0
            assert await page.evaluate("window.sockets.length") == 1 + cuts
            seen = [text for text in await page.evaluate("window.seen") if text]
            assert seen[0] != answer, "it was shown when it was whole"
            assert all(later.startswith(earlier) for earlier, later in pairwise(seen))
            assert page.problems == []

    with chat(tmp_path) as (address, headgate):
        asyncio.run(asyncio.wait_for(scene(address, headgate), SECONDS_MAX))
