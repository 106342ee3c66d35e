"""How the server is, part by part, and why: what `/health/ready` answers, what probes and people go by.

`failing`: runs cannot be started or do not go on, so a load balancer should send nobody here. `degraded`: somebody
should look, but to take the server out would make it no better.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from headgate.core.errors import HeadgateError
from headgate.engine.database_time import AHEAD_SECONDS_MAX, DatabaseTime, told_apart
from headgate.engine.engine import Engine
from headgate.ports import FeedLag, Queue

__all__ = ["FEED_LAG_SECONDS_MAX", "FREE_BYTES_MIN", "STATES", "Check", "Health", "State", "free_bytes", "worst_of"]

FREE_BYTES_MIN = 200_000_000
FULL_BYTES = 1_000_000
"""Below, a file takes no more: SQLite says that a disk is full before it is."""
FEED_LAG_SECONDS_MAX = 5.0
"""A feed that is further behind is worth a look: some transaction is open for long."""
ANSWER_SECONDS_MAX = 2.0
"""What has not answered by then counts as failing: probes do not wait for long."""
KNOWN_SECONDS = 1.0
"""For so long an answer holds: whoever asks more often, and anybody may, asks nothing of the database."""

State = Literal["ok", "degraded", "failing"]
STATES: tuple[State, ...] = ("ok", "degraded", "failing")
PARTS = {"headgate-scheduler": "scheduler", "headgate-worker": "worker"}
"""Tasks of the process that are parts by themselves; all others are the engine's."""


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    status: State
    message: str = ""


OK = Check("ok")


class Health:
    """One per engine. `tasks` returns what the process must keep doing: whichever has ended is an ailment."""

    def __init__(
        self,
        engine: Engine,
        queue: Queue,
        folder: Path,
        tasks: Callable[[], Iterable[asyncio.Task[Any]]],
        time: DatabaseTime | None = None,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._folder = folder
        self._tasks = tasks
        self._time = time
        self._asking = asyncio.Lock()
        self._known: dict[str, Check] = {}
        self._known_at = 0.0
        self.feed_lag: FeedLag | None = None
        """As it was when somebody last asked; None: this log's feed is never behind, or cannot be asked."""

    async def checks(self) -> dict[str, Check]:
        """Return how each part is, as of a second ago at most. Raises nothing: what fails is the answer."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if not self._known or now - self._known_at >= KNOWN_SECONDS:
                self._known = await self._look()
                self._known_at = asyncio.get_running_loop().time()
            return self._known

    async def _look(self) -> dict[str, Check]:
        database, queue, feed = await asyncio.gather(
            self._asked(self._engine.log.next_attention(0)), self._asked(self._queue.lengths()), self._of_feed()
        )
        found = {"database": database, "engine": self._of_engine(), "queue": queue}
        if self._engine.others is not None:
            found["feed"] = feed
        if self._time is not None:
            found["clock"] = _of_clock(self._time)
        found["disk"] = self._of_disk()
        for task in self._tasks():
            part = PARTS.get(task.get_name(), "engine")
            found.setdefault(part, OK)
            if task.done():
                found[part] = Check("failing", f"{task.get_name()} has ended; the log says why. Restart the process.")
        return found

    async def _asked(self, question: Awaitable[object]) -> Check:
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await question
        except TimeoutError:
            trouble = self._engine.others.trouble if self._engine.others is not None else ""
            return Check("failing", trouble or f"It has not answered within {ANSWER_SECONDS_MAX:g} s.")
        except HeadgateError as error:
            return Check("failing", error.message)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            return Check("failing", f"It cannot be read ({type(error).__name__}).")
        return OK

    def _of_engine(self) -> Check:
        if self._engine.appender.crowded:
            return Check("failing", "More is waiting to be written than the disk keeps up with.")
        return OK

    async def _of_feed(self) -> Check:
        log, self.feed_lag = self._engine.others, None
        if log is None:
            return OK
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                lag = self.feed_lag = await log.feed_lag()
        except (HeadgateError, TimeoutError):
            return Check("degraded", "It cannot be asked how far the feed is behind.")
        if lag.seconds > FEED_LAG_SECONDS_MAX:
            late = f"{lag.events:,} events are not in the feed yet, the oldest for {lag.seconds:.0f} s"
            return Check("degraded", f"{late}: look for a transaction that stays open (pg_stat_activity).")
        return OK

    def _of_disk(self) -> Check:
        free = free_bytes(self._folder)
        if free < FULL_BYTES and self._engine.others is None:
            return Check("failing", "The disk that holds the database is full: nothing can be written.")
        if free < FREE_BYTES_MIN:
            return Check("degraded", f"{free / 1e6:,.0f} MB are free for the state folder.")
        return OK


def _of_clock(time: DatabaseTime) -> Check:
    ahead = time.ahead_seconds
    return OK if abs(ahead) <= AHEAD_SECONDS_MAX else Check("degraded", told_apart(ahead))


def worst_of(checks: Iterable[Check]) -> State:
    """Return the state of all together."""
    return STATES[max((STATES.index(check.status) for check in checks), default=0)]


def free_bytes(folder: Path) -> int:
    """Return the room on the disk of a folder, or of where it will be made."""
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
