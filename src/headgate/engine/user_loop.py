"""Loop U: where a user's activities run, so that code which blocks starves no lease, append or timer."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import msgspec

from headgate.core.values import Assignment
from headgate.engine.task_context import TaskContext, UserContext, current_task
from headgate.engine.user_threads import UserThreads
from headgate.engine.watchdog import Watchdog
from headgate.ports import ActivityFunction, Attempt

__all__ = ["UserLoop"]

THREADS_MAX = 32
USER_LOOP_END_SECONDS = 1.0


class UserLoop:
    """A thread with a loop for async activities, and a bounded pool of threads for plain ones."""

    def __init__(self) -> None:
        self._pool = UserThreads(THREADS_MAX, "headgate-activity")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="headgate-user-loop", daemon=True)
        self._thread.start()
        self._watchdog = Watchdog(self._loop, self._thread)
        self._watchdog.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def call(self, function: ActivityFunction, task: Assignment, inner: TaskContext) -> Any:
        """Run a user's activity; its parameters are a copy of its own, whatever it does to them."""
        context = UserContext(inner, asyncio.get_running_loop())
        parameters = msgspec.json.decode(msgspec.json.encode(task.parameters))
        if inspect.iscoroutinefunction(function):
            work = _within(task, function(parameters, context))
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
        current_task.set(task)
        run = partial(_called, copy_context(), function, parameters, context)
        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    def close(self) -> None:
        """Stop and cancel what runs on the loop. Code that blocks it, or a thread, is left to end with the process."""
        self._watchdog.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._thread.join(USER_LOOP_END_SECONDS)


async def _within(task: Assignment, work: Awaitable[Any]) -> Any:
    current_task.set(task)
    running = asyncio.current_task()
    assert running is not None
    running.set_name(f"activity {task.activity_name}")
    try:
        return await work
    except SystemExit as error:
        raise _exited(error) from error


def _called(within: Context, function: Callable[..., Any], parameters: Any, context: UserContext) -> Any:
    try:
        return within.run(function, parameters, context)
    except SystemExit as error:
        raise _exited(error) from error


def _exited(error: SystemExit) -> Attempt:
    """Return `sys.exit()` as what it means here: a failure. As it is, it would end the loop, or the whole process, and
    with it everybody else's work."""
    return Attempt.failed("activity_error", f"it called for the end of the process: SystemExit: {error}")
