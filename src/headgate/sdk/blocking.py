"""The same for code that is not async: `run`, `start`, and a bridge to a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar, cast

from headgate.core.errors import Refused
from headgate.core.view import RunView
from headgate.ports import Position, Update
from headgate.sdk.connection import Database, arun, astart
from headgate.sdk.embedded import database_path, owned_by_this_loop
from headgate.sdk.given import Mode, Models, Runnable
from headgate.sdk.handle import Handle, Result
from headgate.sdk.workflow import Amount

__all__ = ["BlockingHandle", "run", "start"]

T = TypeVar("T")

END_SECONDS_MAX = 10.0
"""How long work that was interrupted may take to put things away; the log is on disk already."""


def run(
    workflow: Runnable,
    input: Any = None,  # noqa: A002 - the word for it everywhere
    *,
    db: Database | None = None,
    models: Models | None = None,
    mode: Mode = "realtime",
    budget: Amount | None = None,
    labels: Mapping[str, str] | None = None,
    unique_key: str = "",
    activities: Iterable[Callable[..., Any]] = (),
    offline: bool = False,
    command_id: str = "",
) -> Result:
    """Run a workflow to its end and return what it came to: `arun`, which see, for code that is not async.

    Where a loop runs already (a notebook), a thread with a loop of its own does the work; the caller's loop stands
    still meanwhile, so code that can `await` should `await arun(...)`. Ctrl-C stops the waiting and loses nothing;
    inside of `asyncio.run` it takes two, for the first one asks the loop, which stands still. Raises `Refused` where
    the caller's loop itself has the database's engine: both would wait for each other.
    """
    work = arun(
        workflow,
        input,
        db=db,
        models=models,
        mode=mode,
        budget=budget,
        labels=labels,
        unique_key=unique_key,
        activities=activities,
        offline=offline,
        command_id=command_id,
    )
    if not _in_a_loop():
        return asyncio.run(work)
    try:
        _refuse_deadlock(db)
    except Refused:
        work.close()
        raise
    with _Bridge() as bridge:
        return bridge.call(work)


def start(
    workflow: Runnable,
    input: Any = None,  # noqa: A002 - the word for it everywhere
    *,
    db: Database | None = None,
    **options: Any,
) -> BlockingHandle:
    """Start a run and return its handle; the work is done in a thread beside the program, which goes on.

    `astart` has the options. The thread lasts until `close()`, the end of `with`, or the end of the program; a run that
    has not ended then goes on with the next process that opens the database. Raises what `astart` and `run` raise.
    """
    if _in_a_loop():
        _refuse_deadlock(db)
    bridge = _Bridge()
    try:
        return BlockingHandle(bridge, bridge.call(astart(workflow, input, db=db, **options)))
    except BaseException:
        bridge.close()
        raise


class BlockingHandle:
    """A `Handle` for code that is not async, from any thread. `Handle` says what each method does and raises."""

    def __init__(self, bridge: _Bridge, handle: Handle) -> None:
        self.id = handle.id
        self._bridge = bridge
        self._handle = handle
        self._streams: list[AsyncGenerator[Update]] = []
        atexit.register(self.close)

    def __repr__(self) -> str:
        return f"<run {self.id}>"

    def status(self) -> str:
        return self._bridge.call(self._handle.status())

    def show(self) -> RunView:
        return self._bridge.call(self._handle.show())

    def result(self) -> Result:
        return self._bridge.call(self._handle.result())

    def stream(self, place: str = "", *, resume: Sequence[Position] = ()) -> Iterator[Update]:
        updates = cast("AsyncGenerator[Update]", self._handle.stream(place, resume=resume))
        self._streams.append(updates)
        try:
            while (update := self._bridge.call(_next(updates))) is not None:
                yield update
        finally:
            self._end(updates)

    def _end(self, updates: AsyncGenerator[Update]) -> None:
        if updates in self._streams:
            self._streams.remove(updates)
            self._bridge.call(_close(updates))

    def signal(self, name: str, data: Any = None, *, key: str = "") -> None:
        self._bridge.call(self._handle.signal(name, data, key=key))

    def approve(self, key: str = "", *, by: str = "", comment: str = "", data: Any = None) -> None:
        self._bridge.call(self._handle.approve(key, by=by, comment=comment, data=data))

    def reject(self, key: str = "", *, by: str = "", comment: str = "", data: Any = None) -> None:
        self._bridge.call(self._handle.reject(key, by=by, comment=comment, data=data))

    def cancel(self, reason: str = "") -> None:
        self._bridge.call(self._handle.cancel(reason))

    def close(self) -> None:
        """Close the engine and its thread; what has not ended goes on later. Harmless when repeated."""
        atexit.unregister(self.close)
        for updates in list(self._streams):
            self._end(updates)
        if not self._bridge.closed:
            self._bridge.call(self._handle.close())
            self._bridge.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Bridge:
    """A loop in a thread of its own, and a way to have it do something and wait for that."""

    def __init__(self) -> None:
        self.closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._turn, name="headgate-bridge", daemon=True)
        self._thread.start()

    def _turn(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine comes to. When the waiting is interrupted, the coroutine is cancelled, and waited for
        a while. Raises `Refused` once the bridge is closed."""
        if self.closed:
            work.close()
            raise Refused(
                "The handle is closed; `headgate.open` gives another for the same run: connection.handle(id)."
            )
        done = asyncio.run_coroutine_threadsafe(_finishing(work, ended := threading.Event()), self._loop)
        try:
            return done.result()
        except BaseException:
            done.cancel()
            ended.wait(END_SECONDS_MAX)
            raise

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _finishing(work: Coroutine[Any, Any, T], ended: threading.Event) -> T:
    try:
        return await work
    finally:
        ended.set()


async def _next(updates: AsyncGenerator[Update]) -> Update | None:
    return await anext(updates, None)


async def _close(updates: AsyncGenerator[Update]) -> None:
    await updates.aclose()


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _refuse_deadlock(db: Database | None) -> None:
    database = database_path(db)
    if owned_by_this_loop(database):
        raise Refused(
            f"The engine of {database} runs on this very loop, which would stand still while it waits. "
            "Use `await headgate.arun(...)`, or the connection that opened it."
        )
