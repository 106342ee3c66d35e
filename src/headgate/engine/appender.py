"""The appender: one pending list, one commit at a time, everybody who waits rides in the next one.

There is no timer: a commit starts as soon as the one before it has ended and something is pending, so that a lone
append waits for nobody and a crowd shares one sync. What was appended is told to its lanes in one callback per commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from headgate.core.errors import Unavailable
from headgate.ports import Append, Log, Outcome

__all__ = ["Appender"]

COMMIT_ITEMS_MAX = 2_000
COMMIT_BYTES_MAX = 4_000_000
PENDING_MAX = 20_000

Done = Callable[[Append, Outcome], None]


class Appender:
    """Group commit in front of a log. `append` never waits; `done` is called on the loop, after the commit."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._pending: deque[tuple[Append, Done]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._idle = True
        self.commits = 0
        self.items = 0

    @property
    def idle(self) -> bool:
        """Whether no commit is under way, so that an append would start one at once."""
        return self._idle

    @property
    def crowded(self) -> bool:
        """Whether doors should hold back new work: more than `PENDING_MAX` appends wait."""
        return len(self._pending) > PENDING_MAX

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="headgate-appender")

    def append(self, item: Append, done: Done) -> None:
        if self._closing:
            raise Unavailable("The engine is shutting down; try again when it is up.")
        self._pending.append((item, done))
        self._wake.set()

    async def close(self) -> None:
        """Commit what is pending, then stop. A second call does nothing."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            if not self._pending:
                if self._closing:
                    return
                self._wake.clear()
                self._idle = True
                await self._wake.wait()
                continue
            self._idle = False
            batch = self._take()
            outcomes = await self._commit([item for item, _ in batch])
            self.commits += 1
            self.items += len(batch)
            for (item, done), outcome in zip(batch, outcomes, strict=True):
                done(item, outcome)

    def _take(self) -> list[tuple[Append, Done]]:
        batch: list[tuple[Append, Done]] = []
        size = 0
        while self._pending and len(batch) < COMMIT_ITEMS_MAX and size < COMMIT_BYTES_MAX:
            batch.append(self._pending.popleft())
            size += batch[-1][0].size
        return batch

    async def _commit(self, items: list[Append]) -> list[Outcome]:
        try:
            return await self._log.commit(items)
        except Exception as error:  # noqa: BLE001 - whatever the store raised is each waiting caller's outcome
            return [error] * len(items)
