"""What is written by an engine that dies at a commit, and what not."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from headgate.testing.mortal_log import MortalLog


class Written:
    """A log that takes everything."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    async def commit(self, batch: list[str]) -> list[str]:
        self.batches.append(batch)
        return ["stale"] * len(batch)


@pytest.mark.parametrize(
    ("dies", "written"), [("before", []), ("after", [["first"]])], ids=["dies before it", "dies after it"]
)
def test_a_dead_engine_writes_nothing_more_and_hears_of_nothing(dies: str, written: list[list[str]]):
    async def live() -> None:
        beneath = Written()
        log = MortalLog(cast("Any", beneath), lambda _: dies == "after", doomed=lambda: dies == "before")
        first = asyncio.create_task(log.commit(cast("Any", ["first"])))
        async with asyncio.timeout(20):
            await log.died.wait()
        second = asyncio.create_task(log.commit(cast("Any", ["more"])))
        for _ in range(10):
            await asyncio.sleep(0)

        assert not first.done()
        assert not second.done()
        assert beneath.batches == written
        first.cancel()
        second.cancel()

    asyncio.run(live())
