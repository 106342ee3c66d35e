"""The thread that waits for the disk, and how transactions end in it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

import apsw

from headgate.stores.sqlite_file import BUSY_MILLISECONDS_MAX

__all__ = ["Committer", "empty_wal", "in_transaction", "roll_back"]

QUICK_SECONDS = 0.001
"""A disk so quick is not waited for in the thread: two switches would cost more than the wait."""
CHECKPOINT_BUSY_MILLISECONDS_MAX = 200
"""So long a checkpoint waits for readers, and appends with it."""

Result = TypeVar("Result")


class Committer:
    """The thread that waits for the disk, one commit at a time."""

    def __init__(self, writer: apsw.Connection | None) -> None:
        assert writer is not None
        self._writer = writer
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._seconds = 1.0
        """How long a commit takes, as a moving average."""
        self._thread = threading.Thread(target=self._run, name="headgate-commit", daemon=True)
        self._thread.start()

    @property
    def quick(self) -> bool:
        """Whether the disk answers so quickly of late that a small commit need not leave the loop."""
        return self._seconds < QUICK_SECONDS

    def commit_here(self) -> None:
        began = time.perf_counter()
        self._writer.execute("commit")
        self._seconds += (time.perf_counter() - began - self._seconds) / 8

    async def commit(self) -> None:
        """Return when the disk has answered, and not before, even if the caller is cancelled meanwhile."""
        await self.perform(self.commit_here)

    async def perform(self, work: Callable[[], Result]) -> Result:
        """Do `work` in the thread; return or raise when it is done, and not before, in the same way."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        results: list[Result] = []

        def do() -> None:
            failure: BaseException | None = None
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001 - told to the one who waits, or he waits for ever
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_finish, done, failure)

        self._asked.put(do)
        await _to_the_end(done)
        return results[0]

    def close(self) -> None:
        self._asked.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._asked.get()) is not None:
            work()


async def _to_the_end(done: asyncio.Future[None]) -> None:
    cancelled: asyncio.CancelledError | None = None
    while not done.done():
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError as error:
            cancelled = error
        except apsw.Error:
            break
    if cancelled is not None:
        done.exception()  # the caller is gone; what the disk said is of no use to anybody
        raise cancelled
    done.result()


def _finish(done: asyncio.Future[None], failure: BaseException | None) -> None:
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)


def in_transaction(writer: apsw.Connection, work: Callable[[apsw.Connection], Result]) -> Result:
    """Do `work` in a transaction; return its result when that is committed. What it raises takes all of it back."""
    writer.execute("begin immediate")
    try:
        result = work(writer)
        writer.execute("commit")
    except BaseException:
        roll_back(writer)
        raise
    return result


def roll_back(writer: apsw.Connection) -> None:
    """Leave the writer outside any transaction. SQLite may have rolled back by itself."""
    with contextlib.suppress(apsw.Error):
        if not writer.get_autocommit():
            writer.execute("rollback")


def empty_wal(writer: apsw.Connection) -> None:
    """Fold the WAL into the file. Raises `apsw.BusyError` where a reader is in the way for too long."""
    writer.set_busy_timeout(CHECKPOINT_BUSY_MILLISECONDS_MAX)
    try:
        writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        writer.set_busy_timeout(BUSY_MILLISECONDS_MAX)
