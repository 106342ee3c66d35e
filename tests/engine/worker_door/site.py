"""An owner of a database, and workers that come to it over its control socket."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from headgate.api.socket import SocketServer
from headgate.client.worker import SocketProtocol
from headgate.core import events as e
from headgate.core.values import Candidate, Price
from headgate.ports import (
    CallRequest,
)

PRICE = Price(input=1_000_000_000)
REQUEST = CallRequest("h", (Candidate("lab/m", 100, PRICE),))
ONE = "name: one\nactivities: {a: {use: work, queue: gpu, with: {n: 1}}}"
TEN = "name: ten\nactivities: {a: {use: work, queue: gpu, for_each: '{{INPUT.all}}', with: {n: '{{ITEM}}'}}}"
MANY = {"all": list(range(10))}


class Site:
    """An owner with its door, and the connections of workers to it."""

    def __init__(self, bench: Any, server: SocketServer, stack: AsyncExitStack) -> None:
        self.bench = bench
        self.server = server
        self.door = server.workers
        self._stack = stack

    def connect(self, name: str = "w", *, activities: tuple[str, ...] = ("work",)) -> SocketProtocol:
        protocol = SocketProtocol(lambda: self.server.address, worker_id=name, activities=activities)
        self._stack.push_async_callback(protocol.close)
        return protocol

    async def begin(self, definition: str = ONE, given: Any = None, **fields: Any) -> tuple[str, SocketProtocol, Any]:
        """Start a run and take its first task."""
        run_id, protocol = await self.bench.start(definition, given, **fields), self.connect()
        (task,) = await protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=5)
        return run_id, protocol, task


async def kinds(site: Site, run_id: str, kind: type[e.Event]) -> list[Any]:
    return [event for event in await site.bench.events(run_id) if isinstance(event, kind)]


async def cut(protocol: SocketProtocol) -> None:
    """Break the connection as the end of its process does."""
    protocol._link._writer.transport.abort()
    await asyncio.sleep(0)
