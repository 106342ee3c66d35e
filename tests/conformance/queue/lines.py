"""Queues of each kind, and how tasks come into them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from tests.postgres_logs import empty_postgres_log

from headgate.ports import Claim, Clock, Offer, Queue, Task
from headgate.queues.memory import MemoryQueue
from headgate.queues.store import StoreQueue
from headgate.stores.postgres import PostgresLog
from headgate.testing.log_conformance import NOON

ADAPTERS: dict[str, Callable[[Clock], Queue]] = {"memory": MemoryQueue}
LONG = 30.0
"""Seconds that no test waits for: whoever waits is woken."""


class StillClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> int:
        return self.time

    async def wait(self, until: int | None, wake: asyncio.Event) -> None:
        raise AssertionError("a queue has nothing to wait for but tasks")


class Line(NamedTuple):
    """A queue, and how tasks come into it and leave it: by themselves, or as rows of appends."""

    queue: Queue
    log: PostgresLog | None

    async def offer(self, task: Task) -> None:
        if self.log is None:
            self.queue.put(task)
            return
        assert isinstance(self.queue, StoreQueue)
        await self.log.tasks.add(
            [Offer(task.run_id, task.place, task.attempt, task.queue, 1, "", held=False, tenant=task.tenant)]
        )
        self.queue.wake([task.queue])

    async def over(self, claim: Claim) -> None:
        self.queue.finish(claim.activity_id)
        if self.log is not None:
            assert isinstance(self.queue, StoreQueue)
            await self.log.tasks.remove([claim.task], self.queue.node)


KINDS = ("memory", "store")


@asynccontextmanager
async def opened(kind: str) -> AsyncGenerator[Line]:
    """Yield a queue of this kind, with nothing in it."""
    if kind == "memory":
        yield Line(MemoryQueue(StillClock()), None)
        return
    log = empty_postgres_log()
    queue = StoreQueue(log.tasks, StillClock())
    try:
        yield Line(queue, log)
    finally:
        await queue.close()
        await log.close()


def task(
    place: str = "a", *, run: str = "run-1", attempt: int = 1, line: str = "default", tenant: str = "default"
) -> Task:
    return Task(line, run, place, attempt, tenant)


async def take(queue: Queue, count: int = 1, *lines: str, wait: float = 0.0) -> list[Claim]:
    return await queue.take(lines or ("default",), worker_id="worker-1", count=count, wait_seconds=wait)


def places(claims: list[Claim]) -> list[str]:
    return [claim.task.place for claim in claims]
