"""What an activity is given to ask the worker protocol with, and which task the running code works on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

from headgate.core.values import Assignment
from headgate.engine.progress import bounded
from headgate.engine.slots import Slots
from headgate.ports import Admission, CallRequest, Settlement, WorkerProtocol

__all__ = ["TaskContext", "UserContext", "current_task"]

logger = logging.getLogger("headgate.worker")

WAITS_AFTER_SECONDS = 1.0
"""A call that has no answer by then waits for money or for a person."""

current_task: ContextVar[Assignment | None] = ContextVar("headgate_task", default=None)
"""The task that the running code works on; the log formatter takes the trace id from it."""


class TaskContext:
    """`ports.ActivityContext` on the engine's loop."""

    __slots__ = ("_calls", "_protocol", "_slots", "said", "task")

    def __init__(self, task: Assignment, protocol: WorkerProtocol, slots: tuple[Slots, ...] = ()) -> None:
        self.task = task
        self._protocol = protocol
        self._slots = slots
        self._calls = 0
        self.said: Any = None
        """The progress that goes along with the next heartbeat."""

    async def admit(self, request: CallRequest) -> tuple[str, Admission]:
        self._calls += 1
        call_id = f"{self.task.activity_id}/{self._calls}"
        left: list[Slots] = []

        def leave() -> None:
            left.extend(self._slots)
            for slots in left:
                slots.give_back()

        timer = asyncio.get_running_loop().call_later(WAITS_AFTER_SECONDS, leave)
        try:
            return call_id, await self._protocol.admit(self.task.activity_id, call_id=call_id, request=request)
        finally:
            timer.cancel()
            for slots in left:
                slots.take()

    async def settle(self, call_id: str, settlement: Settlement) -> None:
        await self._protocol.settle(self.task.activity_id, call_id=call_id, settlement=settlement)

    async def begin_effect(self, what: str) -> None:
        await self._protocol.begin_effect(self.task.activity_id, what=what)

    def stream(self, text: str) -> None:
        self._protocol.stream(self.task.activity_id, text)

    def restart_stream(self) -> None:
        self._protocol.restart_stream(self.task.activity_id)

    def progress(self, value: Any) -> None:
        self.said = bounded(value)

    def log(self, message: str, **fields: Any) -> None:
        task = self.task
        logger.info(message, extra={"trace_id": task.trace_id, "fields": {**fields, "place": task.place}})


class UserContext:
    """The same for code on loop U or one of its threads: every call hops to the engine's loop and back."""

    __slots__ = ("_inner", "_loop", "task")

    def __init__(self, inner: TaskContext, loop: asyncio.AbstractEventLoop) -> None:
        self.task = inner.task
        self._inner = inner
        self._loop = loop

    async def admit(self, request: CallRequest) -> tuple[str, Admission]:
        return await self._hop(self._inner.admit(request))

    async def settle(self, call_id: str, settlement: Settlement) -> None:
        await self._hop(self._inner.settle(call_id, settlement))

    async def begin_effect(self, what: str) -> None:
        await self._hop(self._inner.begin_effect(what))

    def stream(self, text: str) -> None:
        self._loop.call_soon_threadsafe(self._inner.stream, text)

    def restart_stream(self) -> None:
        self._loop.call_soon_threadsafe(self._inner.restart_stream)

    def progress(self, value: Any) -> None:
        self._inner.progress(value)

    def log(self, message: str, **fields: Any) -> None:
        self._inner.log(message, **fields)

    async def _hop(self, work: Coroutine[Any, Any, Any]) -> Any:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
