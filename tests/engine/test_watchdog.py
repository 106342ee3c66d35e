"""The watchdog: whose code blocks the loop of user activities, and where."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Generator
from typing import Any

import pytest
from tests.engine.conftest import Bench

from headgate.engine import watchdog
from headgate.engine.watchdog import BLOCKED_SECONDS, Watchdog


class Looped:
    """A loop in a thread, with a watchdog whose time is set by hand."""

    def __init__(self) -> None:
        self.time = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.watchdog = Watchdog(self._loop, self._thread, now=lambda: self.time)

    def turn(self) -> None:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop).result(30)

    def block(self) -> threading.Event:
        """Block the loop; return what releases it."""
        begun, release = threading.Event(), threading.Event()

        async def blocks() -> None:
            begun.set()
            assert release.wait(30)

        asyncio.run_coroutine_threadsafe(blocks(), self._loop)
        assert begun.wait(30)
        return release

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def looped() -> Generator[Looped]:
    looped = Looped()
    yield looped
    looped.close()


def test_a_loop_that_does_not_turn_for_seconds_is_told_of_once_with_the_line_that_blocks_it(
    looped: Looped, caplog: pytest.LogCaptureFixture
):
    release = looped.block()
    looped.watchdog.look()
    looped.time = BLOCKED_SECONDS - 0.1
    looped.watchdog.look()
    assert caplog.messages == []

    looped.time = BLOCKED_SECONDS
    looped.watchdog.look()
    looped.time = 10 * BLOCKED_SECONDS
    looped.watchdog.look()
    release.set()

    (message,) = caplog.messages
    lines, first = inspect.getsourcelines(Looped.block)
    line = first + next(number for number, text in enumerate(lines) if "release.wait" in text)
    assert f"{__file__}:{line}, in blocks" in message


def test_a_loop_that_turns_is_not_told_of_however_rarely_it_is_looked_at(
    looped: Looped, caplog: pytest.LogCaptureFixture
):
    for number in range(5):
        looped.time = number * 100.0
        looped.watchdog.look()
        looped.turn()

    assert caplog.messages == []


def test_each_blockage_is_told_of(looped: Looped, caplog: pytest.LogCaptureFixture):
    for number in range(2):
        release = looped.block()
        looped.watchdog.look()
        looped.time += BLOCKED_SECONDS
        looped.watchdog.look()
        release.set()
        looped.turn()
        assert len(caplog.messages) == number + 1


def test_a_blocking_activity_is_named_while_leases_are_kept(
    play: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watchdog, "BLOCKED_SECONDS", 0.0)
    monkeypatch.setattr(watchdog, "LOOK_SECONDS", 0.01)
    release = threading.Event()

    async def hog(parameters: Any, context: Any) -> str:
        assert release.wait(30)
        return "let go"

    async def scene(bench: Bench) -> None:
        run_id = await bench.start("name: one\nactivities: {a: {use: hog}}")
        await bench.until(lambda: any("activity hog blocks the loop" in said for said in caplog.messages))
        (claim,) = await bench.app.queue.claims_of(run_id)
        assert await bench.app.protocol.heartbeat(claim.activity_id, worker_id="built-in") > 0
        release.set()
        await bench.finished(run_id)
        assert await bench.output(run_id, "a") == "let go"

    with caplog.at_level(logging.WARNING):
        play(scene, activities={"hog": hog})
