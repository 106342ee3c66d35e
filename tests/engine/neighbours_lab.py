"""Two nodes, one of which reads what streams at the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.engine.tapped import Tap, Watcher
from tests.engine.two_nodes.nodes import until
from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url

from headgate.app import App
from headgate.ports import StartRequest
from headgate.stores.postgres import PostgresLog

ASK = "name: asks\nactivities:\n  ask: {use: llm_prompt, with: {model: [tap/one, tap/two], prompt: Hello}}\n"


class Node:
    """An app of a node, with models that say what a test tells them to."""

    def __init__(self, *, work: bool, url: str = "") -> None:
        self.log = PostgresLog(url or server_url(), schema=SCHEMA)
        self.tap = Tap()
        self.app = App(self.log, environment={}, offline=True, work=work, providers={"tap": self.tap})
        self.texts = self.app.texts_of_neighbours

    async def start(self, definition: str = ASK) -> str:
        return (await self.app.desk.start(StartRequest(definition=definition))).id

    def watch(self, run_id: str, **rest: Any) -> Watcher:
        return Watcher(self.app.desk, run_id, **rest)

    @property
    def hears(self) -> bool:
        return self.texts._neighbourhood._connection is not None


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for node in nodes:
            await stack.enter_async_context(node.app)
        for node in nodes:
            await until(lambda node=node: node.hears)
        yield
        for node in nodes:
            assert node.app.engine.failures == []


Scene = Callable[[Node, Node], Awaitable[None]]


def play(scene: Scene) -> None:
    """Play a scene on a node that works and one that is only read at."""

    async def whole() -> None:
        worker, reader = Node(work=True), Node(work=False)
        async with running(worker, reader), asyncio.timeout(60):
            await scene(worker, reader)

    asyncio.run(empty_postgres_log().close())
    asyncio.run(whole())


def said(watcher: Watcher) -> str:
    return watcher.heard().text


async def begun(worker: Node, reader: Node, words: str) -> Watcher:
    """Start a run at one node, have these words said, and watch it at the other until they are there."""
    there = reader.watch(await worker.start())
    worker.tap.say(words)
    await until(lambda: said(there) == words)
    return there
