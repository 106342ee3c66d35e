"""What the engine tests share: an app on a log in memory and virtual time, and a way to wait for what must come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.engine.gate_lab import Lab

from headgate.app import App
from headgate.core.codec import content_value, decode
from headgate.core.definition import Definition
from headgate.core.events import Event
from headgate.engine.start import Start
from headgate.ports import Log, RunRow, StartRequest
from headgate.stores.memory import MemoryLog
from headgate.testing.clock import VirtualClock

PATIENCE_SECONDS = 10.0
TURNS_OF_REST = 50
ALARMS_MAX = 2_000


class Bench:
    """An app under test. Its time is virtual unless a test says otherwise."""

    def __init__(self, log: Log | None = None, **settings: Any) -> None:
        self.log = log or MemoryLog()
        self.clock = settings.pop("clock", None) or VirtualClock()
        settings.setdefault("environment", {})
        self.app = App(self.log, clock=self.clock, offline=True, **settings)

    async def start(self, definition: str | Definition, given: Any = None, **fields: Any) -> str:
        if isinstance(definition, str):
            return (await self.app.desk.start(StartRequest(definition=definition, input=given, **fields))).id
        await self.app.engine.definitions.deploy(definition, tenant=fields.get("tenant", "default"))
        return (await self.app.engine.start(Start(workflow=definition.name, input=given, **fields))).id

    async def finished(self, run_id: str) -> RunRow:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.app.engine.finished(run_id)

    async def until(self, holds: Callable[[], Any]) -> None:
        """Let the loop turn until `holds()`; fail when it never does."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():  # noqa: ASYNC110 - what is waited for happens in threads and in the engine's own tasks
                await asyncio.sleep(0.001)

    async def rest(self) -> None:
        """Let everything happen that happens by itself while time stands still."""
        quiet, before = 0, None
        while quiet < TURNS_OF_REST:
            await asyncio.sleep(0)
            now = (self.app.engine.appender.commits, self.app.gate.waiting, self.clock.next_alarm)
            quiet = quiet + 1 if now == before else 0
            before = now

    async def live_until_done(self, *runs: str) -> None:
        """Let time pass, from one alarm to the next, until the runs have ended."""
        for _ in range(ALARMS_MAX):
            await self.rest()
            rows = [await self.log.run(run) for run in runs]
            if all(row and row.head.finished_at for row in rows):
                return
            self.clock.advance(to=self.clock.next_alarm)
        raise AssertionError(f"{runs} have not ended after {ALARMS_MAX} alarms")

    async def events(self, run_id: str) -> list[Event]:
        row = await self.log.run(run_id)
        assert row is not None
        return [decode(stored.data)[0] for stored in await self.log.events(row.key)]

    async def stored(self, run_id: str) -> bytes:
        """Return all that the log holds of a run, as bytes."""
        row = await self.log.run(run_id)
        assert row is not None
        rows = await self.log.events(row.key)
        contents = await self.log.contents(row.key, [stored.version for stored in rows])
        return b"".join([*(stored.data for stored in rows), *contents.values()])

    async def output(self, run_id: str, key: str) -> Any:
        view = await self.app.desk.show(run_id)
        return next(activity.output for activity in view.activities if activity.key == key)

    async def content(self, run_id: str, version: int) -> Any:
        row = await self.log.run(run_id)
        assert row is not None
        return content_value((await self.log.contents(row.key, [version]))[version])


Scene = Callable[[Bench], Awaitable[None]]


@pytest.fixture
def play() -> Callable[..., None]:
    """Return a function that opens an app, plays a scene on it, and sees that nothing of the engine failed."""

    def run(scene: Scene, log: Log | None = None, **settings: Any) -> None:
        async def whole() -> None:
            bench = Bench(log, **settings)
            async with bench.app:
                await scene(bench)
            assert bench.app.engine.failures == []

        asyncio.run(whole())

    return run


@pytest.fixture
def gated(play: Callable[..., None]) -> Callable[..., None]:
    """Return a function that plays a scene with a lab of one's own."""

    def run(scene: Any, answers: Any = None, **settings: Any) -> None:
        clock = VirtualClock()
        lab = Lab(clock, answers)
        settings.setdefault("providers", {"lab": lab})
        play(lambda bench: scene(bench, lab), clock=clock, **settings)

    return run
