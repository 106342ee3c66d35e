"""Readers at sockets, and what they are told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from headgate.api.http import socket_door

ASKING = """
name: asking
activities:
  begin: {use: echo, with: {x: 1}}
  ask: {use: approval, after: [begin], with: {title: "Go on?"}}
  then: {use: echo, with: {by: "{{ ask.by }}"}}
"""
TALKING = """
name: talking
activities:
  say: {use: say, queue: outside, streaming: true, retry: 2}
  after: {use: echo, with: {said: "{{ say }}"}}
"""


@asynccontextmanager
async def watching(desk: Any, path: str, **rest: Any) -> AsyncGenerator[ClientConnection]:
    url = f"ws://127.0.0.1:{desk.client.base_url.port}/api/v1{path}"
    async with connect(url, compression=None, **rest) as connection:
        yield connection


async def frames(connection: ClientConnection, until: str = "") -> list[dict[str, Any]]:
    """Return the frames up to the one of this type (of an event: of this event type), or to the end."""
    found: list[dict[str, Any]] = []
    try:
        while not until or not found or until not in (found[-1]["type"], found[-1].get("event_type")):
            found.append(msgspec.json.decode(await connection.recv()))
    except ConnectionClosed:
        assert not until, f"it ended before {until!r} came: {found}"
    return found


async def taken(desk: Any) -> str:
    """Return the path of the task that a worker gets."""
    polled = await desk.post("/workers/poll", {"worker": "outside", "worker_id": "w", "wait_seconds": 20})
    (task,) = polled.json()["activities"]
    return f"/activities/{task['activity_id']}"


async def say(desk: Any, task: str, text: str) -> dict[str, Any]:
    answer = await desk.post(f"{task}/ws/token", {"text": text, "index": 0})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(desk: Any, path: str, **rest: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        async with watching(desk, path, **rest):
            pass
    response = caught.value.response
    return response.status_code, msgspec.json.decode(response.body)["error"]["code"]


def beat_all(desk: Any) -> None:
    for _ in range(socket_door.SHARES):
        desk.application.sockets.beat()
