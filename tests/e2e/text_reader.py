"""Somebody who reads a text over HTTP while it is made, and comes back, to whichever node answers, until its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import Any, Literal

import httpx2
from tests.e2e.http_site import LOOK_SECONDS, PATIENCE_SECONDS, Process, Site
from tests.e2e.telling_model import TellingModel
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

__all__ = ["Door", "TextReader"]

Door = Literal["stream", "ws"]
AWAY = (OSError, httpx2.TransportError, ConnectionClosed, InvalidMessage)
FOR_NOW = (429, 503)


class TextReader:
    """Reads from the first of `nodes`; from the next one when that is away. Each frame is held to those before it."""

    def __init__(self, site: Site, model: TellingModel, run: str, nodes: Sequence[Process], door: Door) -> None:
        self._site = site
        self._model = model
        self._path = f"/api/v1/workflows/{run}/activities/tell/{door}"
        self._nodes = nodes
        self._door = door
        self._last = ""
        self._stands: tuple[int, str, int] | None = None
        """Epoch, who counts it, and how many bytes of it are known."""
        self._status = ""
        self.told = ""
        self.restarts = 0
        self.connections = 0
        self.result: dict[str, Any] | None = None

    @property
    def words(self) -> int:
        return self.told.count(" ")

    async def read(self) -> None:
        """Return when the text has its end."""
        while self.result is None:
            for node in self._nodes:
                with suppress(*AWAY):
                    self.connections += 1
                    await self._read_at(node)
                if self.result is not None:
                    return
                await asyncio.sleep(LOOK_SECONDS)

    async def _read_at(self, node: Process) -> None:
        headers = await self._site.authorization(node)
        url = f"{node.url}{self._path}?offset={self._last}"
        async with aclosing(_frames_of[self._door](url, headers)) as frames:
            async for frame in frames:
                self._hear(frame)

    def _hear(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "restart":
                self.told, self.restarts = "", self.restarts + 1
            case "token" | "end":
                assert self._stands in (None, _place_of(frame)), f"{frame} does not follow on {self._stands}"
                assert self._stands or not frame["offset"]
                assert not self._status, f"{frame} comes after the end"
                self.told += frame.get("text", "")
                self._status = frame.get("status", "")
            case "complete":
                self.result = frame["result"]
            case "ping":
                return
            case _:
                raise AssertionError(f"this is not to be told: {frame}")
        if "id" in frame:
            self._last = frame["id"]
            self._stands = _position_of(frame)
        known = [call.text for call in self._model.calls]
        assert any(text.startswith(self.told) for text in known), f"this is no model's text: {self.told}"


def _place_of(frame: dict[str, Any]) -> tuple[int, str, int]:
    return frame["epoch"], _position_of(frame)[1], frame["offset"]


def _position_of(frame: dict[str, Any]) -> tuple[int, str, int]:
    _, epoch, offset, origin = frame["id"].split(":")
    return int(epoch), origin, int(offset)


async def _events(url: str, headers: dict[str, str]) -> AsyncIterator[dict[str, Any]]:
    async with (
        httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        if answer.status_code in FOR_NOW:
            return
        assert answer.status_code == 200, await answer.aread()
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


async def _frames(url: str, headers: dict[str, str]) -> AsyncIterator[dict[str, Any]]:
    try:
        async with connect(url.replace("http", "ws", 1), additional_headers=headers) as socket:
            while True:
                yield json.loads(await socket.recv())
    except InvalidStatus as refused:
        if refused.response.status_code not in FOR_NOW:
            raise


_frames_of = {"stream": _events, "ws": _frames}
