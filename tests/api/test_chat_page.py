"""The chat page of the examples: its back end against a server without a login, and what its script would do.

There is no browser here. A WebSocket client connects as the page would, from the page's origin, with what the back end
gave it; and the frames that come are those that the script knows.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import httpx2
import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

FOLDER = Path(__file__).parents[2] / "examples" / "chat_page"
PAGE = "http://127.0.0.1:8000"


def back_end() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chat_page_server", FOLDER / "server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def heard(given: dict[str, str], last: str = "", *, count: int = 0) -> list[dict[str, Any]]:
    """Return the frames that the page gets, all or so many."""
    frames: list[dict[str, Any]] = []
    query = urlencode({"token": given["ticket"], "offset": last})
    async with connect(f"{given['socket']}?{query}", origin=PAGE, compression=None) as connection:
        try:
            while not count or len(frames) < count:
                frames.append(msgspec.json.decode(await connection.recv()))
        except ConnectionClosed:
            pass
    return frames


def test_the_page_gets_its_answer_while_it_is_written_and_goes_on_after_a_cut(
    play: Any, monkeypatch: pytest.MonkeyPatch
):
    async def scene(desk: Any) -> None:
        monkeypatch.setenv("HEADGATE_URL", desk.server.url)
        app = back_end().app
        async with app.router.lifespan_context(app) as state:
            transport = httpx2.ASGITransport(app=_with_state(app, state))
            async with httpx2.AsyncClient(transport=transport, base_url=PAGE) as browser:
                assert "<!doctype html>" in (await browser.get("/")).text
                given = (await browser.post("/ask", json={"message": "When is the museum open?"})).json()

        first = await heard(given, count=1)
        rest = await heard(given, first[-1]["id"])

        script = (FOLDER / "index.html").read_text(encoding="utf-8")
        known = set(re.findall(r'case "(\w+)":', script))
        assert {frame["type"] for frame in [*first, *rest]} - known <= {"end", "ping"}
        text = "".join(frame["text"] for frame in [*first, *rest] if frame["type"] == "token")
        assert rest[-1]["type"] == "complete"
        assert text == rest[-1]["result"]["content"] != ""
        with pytest.raises(InvalidStatus):
            await heard({"socket": given["socket"].replace("/answer/", "/other/"), "ticket": given["ticket"]})
        with pytest.raises(InvalidStatus):
            await heard({"socket": given["socket"], "ticket": ""})

    play(scene, loopback_only=True)


def _with_state(app: Any, state: dict[str, Any]) -> Any:
    """Return the application with the state that a server would hand to each request after the lifespan."""

    async def with_state(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    return with_state
