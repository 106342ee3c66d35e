"""Two engines on one PostgreSQL database, in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url

from headgate.app import App
from headgate.core import commands as c
from headgate.engine.audit import verify
from headgate.engine.clock import WallClock
from headgate.ports import StartRequest
from headgate.stores.postgres import PostgresLog

PATIENCE_SECONDS = 12.0
KEY = {"HEADGATE_KEY": f"{'A' * 43}="}
TWO_DOORS = "name: doors\nactivities: {w: {wait_for: go}, a: {use: approval, after: [w]}}"


class Node:
    """An app on a log of its own."""

    def __init__(self, *, slow: Any = None, work: bool = True, ahead_seconds: int = 0) -> None:
        self.log = PostgresLog(server_url(), schema=SCHEMA)
        activities = {"slow": slow} if slow is not None else None
        clock = WallClock(wall=lambda: time.time_ns() + ahead_seconds * 1_000_000_000)
        self.app = App(self.log, clock=clock, environment=KEY, offline=True, work=work, activities=activities)
        self.engine = self.app.engine

    async def start(self, definition: str, given: Any = None, **fields: Any) -> str:
        return (await self.app.desk.start(StartRequest(definition=definition, input=given, **fields))).id

    async def act(self, run_id: str, command: c.Command) -> Any:
        return await self.engine.submit(run_id, command)


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (found := holds()):  # noqa: ASYNC110 - what is waited for happens in the engines' own tasks
            await asyncio.sleep(0.005)
        return found


async def within(work: Awaitable[Any]) -> Any:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await work


Scene = Callable[[Node, Node], Awaitable[None]]


def play(scene: Scene, *, one: dict[str, Any] | None = None, two: dict[str, Any] | None = None) -> None:
    """Play a scene on two nodes, and see that no engine has failed and the log is whole."""

    async def whole() -> None:
        first, second = Node(**(one or {})), Node(**(two or {}))
        async with first.app, second.app:
            await scene(first, second)
            for node in (first, second):
                assert node.engine.failures == []
            assert await verify(first.log) == []

    empty = empty_postgres_log()
    asyncio.run(empty.close())
    asyncio.run(whole())
