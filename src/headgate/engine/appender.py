"""The appender: one pending list, as many commits at a time as the log takes; who waits rides in the next one.

There is no timer: a commit starts as soon as one before it has ended and something is pending, so that a lone append
waits for nobody and a crowd shares one sync. What was appended is told to its lanes in one callback per commit.

A log that many write takes two commits at a time, on two connections: one batch is sent while the server syncs the
other. Of one run there is one append in flight, so runs do not care. Budgets do where one begins with what the spend
rows hold (`Opening`): the append that says so goes alone, after all that was encoded before it and before all that
comes after.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from headgate.core.errors import Unavailable
from headgate.ports import Append, Log, Outcome, SharedLog

__all__ = ["Appender"]

COMMIT_ITEMS_MAX = 2_000
COMMIT_BYTES_MAX = 4_000_000
PENDING_MAX = 20_000
PARTED_MIN = 64
TURNS_LEFT_TO_OTHERS = 4
"""Of the loop, before a commit beside another begins. With one turn, batches of chains are a quarter smaller (500 runs:
36 appends, not 48; 10 runs: 3.7, not 5), and each batch costs a node and PostgreSQL some 0.2 ms."""

Done = Callable[[Append, Outcome], None]
Committed = Callable[[Sequence[Append], Sequence[Outcome], float], None]
"""What was to be committed, what became of it, and how many seconds the log took."""


class Appender:
    """Group commit in front of a log. `append` never waits; `done` is called on the loop, after the commit."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.lanes = log.lanes if isinstance(log, SharedLog) else 1
        """How many commits may be under way at once."""
        self._pending: deque[tuple[Append, Done]] = deque()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self._under_way = 0
        self._alone = False
        """A commit is under way beside which there must be no other."""
        self.commits = 0
        self.items = 0
        self.committed: Committed = _unheard
        """Told of each commit."""

    @property
    def idle(self) -> bool:
        """Whether no commit is under way, so that an append would start one at once."""
        return not self._under_way

    @property
    def pending(self) -> int:
        """Return how many appends wait for a commit."""
        return len(self._pending)

    @property
    def crowded(self) -> bool:
        """Whether doors should hold back new work: more than `PENDING_MAX` appends wait."""
        return len(self._pending) > PENDING_MAX

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        names = (f"headgate-appender-{number}" for number in range(1, self.lanes + 1))
        self._tasks = [loop.create_task(self._run(), name=name) for name in names]

    def append(self, item: Append, done: Done) -> None:
        if self._closing:
            raise Unavailable("The engine is shutting down; try again when it is up.")
        self._pending.append((item, done))
        self._wake.set()

    async def close(self) -> None:
        """Commit what is pending, then stop. A second call does nothing."""
        self._closing = True
        self._wake.set()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            await task

    async def _run(self) -> None:
        while True:
            if self._under_way:  # no hurry: whatever is about to be ready on the loop goes with this one
                for _ in range(TURNS_LEFT_TO_OTHERS):
                    await asyncio.sleep(0)
            batch = self._take()
            if not batch:
                if self._closing and not self._pending:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            self._under_way += 1
            items, began = [item for item, _ in batch], time.perf_counter()
            outcomes = await self._commit(items)
            self.committed(items, outcomes, time.perf_counter() - began)
            self._under_way -= 1
            if self._alone or self._closing:
                self._alone = False
                self._wake.set()  # the other lane may have waited for this commit to end
            self.commits += 1
            self.items += len(batch)
            for (item, done), outcome in zip(batch, outcomes, strict=True):
                done(item, outcome)

    def _take(self) -> list[tuple[Append, Done]]:
        """Return the next batch; nothing where there is none, or where it must wait for a commit to end."""
        batch: list[tuple[Append, Done]] = []
        size = 0
        if self._alone:
            return batch
        items_max = self._items_max()
        while self._pending and len(batch) < items_max and size < COMMIT_BYTES_MAX:
            if self.lanes > 1 and _opens(self._pending[0][0]):
                if not batch and not self._under_way:
                    self._alone = True
                    return [self._pending.popleft()]
                return batch
            batch.append(self._pending.popleft())
            size += batch[-1][0].size
        return batch

    def _items_max(self) -> int:
        """Where nothing is under way, a crowd is parted among the lanes, lest one goes with all and the other waits."""
        if self.lanes == 1 or self._under_way or len(self._pending) < PARTED_MIN:
            return COMMIT_ITEMS_MAX
        return min(COMMIT_ITEMS_MAX, -(-len(self._pending) // self.lanes))

    async def _commit(self, items: list[Append]) -> list[Outcome]:
        try:
            return await self._log.commit(items)
        except Exception as error:  # noqa: BLE001 - whatever the store raised is each waiting caller's outcome
            return [error] * len(items)


def _opens(item: Append) -> bool:
    return bool(item.moves) and any(move.opening is not None for move in item.moves)


def _unheard(items: Sequence[Append], outcomes: Sequence[Outcome], seconds: float) -> None:
    """Stand for nobody who wants to know of commits."""
