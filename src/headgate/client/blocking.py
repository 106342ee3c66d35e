"""For code that is not async: a loop in a thread of its own, and a run in the hands of such code."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from typing import Any, Self, TypeVar, cast

from headgate.client.handle import Handle, Result
from headgate.core.errors import Refused
from headgate.core.view import RunView
from headgate.ports import Position, SpendRow, Update

__all__ = ["BlockingHandle", "Bridge"]

T = TypeVar("T")

END_SECONDS_MAX = 10.0
"""How long work that was interrupted may take to put things away; the log is on disk already."""


class BlockingHandle:
    """A `Handle` for code that is not async, from any thread. `Handle` says what each method does and raises.

    `own`: the bridge is this handle's, and is closed with it, at the end of the program at the latest.
    """

    def __init__(self, bridge: Bridge, handle: Handle, *, own: bool = False) -> None:
        self.id = handle.id
        self._bridge = bridge
        self._handle = handle
        self._streams: list[AsyncGenerator[Update]] = []
        self._own = own
        if own:
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

    def costs(self) -> list[SpendRow]:
        return self._bridge.call(self._handle.costs())

    def cancel(self, reason: str = "") -> None:
        self._bridge.call(self._handle.cancel(reason))

    def close(self) -> None:
        """Close what was opened for this handle (an engine and its thread); what has not ended goes on later. Harmless
        when repeated."""
        atexit.unregister(self.close)
        for updates in list(self._streams):
            self._end(updates)
        if not self._bridge.closed:
            self._bridge.call(self._handle.close())
            if self._own:
                self._bridge.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Bridge:
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
