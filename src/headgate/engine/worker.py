"""The built-in worker: asks the worker protocol for tasks, runs them, reports. It knows no engine and no database.

Two loops. Built-in activities run on the engine's loop E: they only wait, or are quick. User activities run on loop U
in a thread of its own, plain functions in that thread's bounded pool: user code that blocks can starve other user
code, never a lease, an append or a timer. A plain built-in function (`echo`) is called in place.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from headgate.core.errors import HeadgateError, StaleAttempt, Unavailable
from headgate.core.values import Assignment, Failure
from headgate.engine.slots import Slots
from headgate.engine.task_context import TaskContext, current_task
from headgate.engine.user_loop import UserLoop
from headgate.ports import (
    ActivityFunction,
    Attempt,
    Completed,
    Failed,
    Report,
    WorkerProtocol,
)

__all__ = ["Worker"]

logger = logging.getLogger("headgate.worker")

BUILT_IN_SLOTS = 1_000
USER_SLOTS = 64
TASKS_MAX = 10_000
"""Of one worker, those included that hold no slot because they wait for money or for a person."""
FIRST_HEARTBEAT_SECONDS = 10.0
POLL_SECONDS = 30.0
POLL_AGAIN_SECONDS = 0.5
REPORT_TRIES_MAX = 8
"""A report that the log cannot take is tried so often, at most a minute apart; then the claim is left to its lease."""


class Worker:
    """One per process. `builtins` run on the loop that calls `run`, `activities` (the user's) on loop U."""

    def __init__(
        self,
        protocol: WorkerProtocol,
        *,
        builtins: Mapping[str, ActivityFunction],
        activities: Mapping[str, ActivityFunction] | None = None,
        queues: Sequence[str] = ("std", "py-std"),
        worker_id: str = "built-in",
        slots: int | None = None,
    ) -> None:
        self._protocol = protocol
        self._builtins = builtins
        self._plain = frozenset(name for name, function in builtins.items() if not _returns_later(function))
        self._activities = activities or {}
        self._queues = tuple(queues)
        self._worker_id = worker_id
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ended_now: list[tuple[Assignment, Report]] = []
        """What is to be reported when the loop comes to it."""
        self._reporting: set[asyncio.Task[None]] = set()
        self._slot_free = asyncio.Event()
        self._slots = Slots(BUILT_IN_SLOTS if slots is None else slots, self._slot_free.set)
        self._user_slots = Slots(USER_SLOTS)
        self._user_loop = UserLoop() if self._activities else None
        self._closing = False

    async def run(self) -> None:
        """Work until `close`."""
        while not self._closing:
            free = min(self._slots.free, TASKS_MAX - len(self._running))
            if free <= 0:
                self._slot_free.clear()
                await self._slot_free.wait()
                continue
            try:
                batch = await self._protocol.poll(
                    self._queues, worker_id=self._worker_id, count=free, wait_seconds=POLL_SECONDS
                )
            except Unavailable as error:
                logger.warning("cannot take tasks, trying again: %s", error)
                await asyncio.sleep(POLL_AGAIN_SECONDS)
                continue
            self.accept(batch)

    def accept(self, tasks: Sequence[Assignment]) -> None:
        """Work on these."""
        done = [(task, report) for task in tasks if (report := self._begin(task)) is not None]
        if done:
            self._report_soon(done)

    async def drain(self, seconds: float) -> bool:
        """Return when what is under way has ended and is reported, or after so many seconds; return whether it has.

        To be called when nothing calls `run` any more.
        """
        until = asyncio.get_running_loop().time() + seconds
        while (left := [*self._running.values(), *self._reporting]) and until > asyncio.get_running_loop().time():
            await asyncio.wait(left, timeout=until - asyncio.get_running_loop().time())
        return not left

    async def close(self) -> None:
        """Stop polling and working; what was under way is taken up again by the next process."""
        self._closing = True
        tasks = [*self._running.values(), *self._reporting]
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._user_loop is not None:
            self._user_loop.close()

    def stop(self, activity_ids: Sequence[str]) -> None:
        """Cancel work that is in vain. What is not cancelled by that (a blocked thread) is discarded when it ends."""
        for activity_id in activity_ids:
            task = self._running.get(activity_id)
            if task is not None:
                task.cancel("stopped")

    # --- One task ------------------------------------------------------------------------------------------------

    def _begin(self, task: Assignment) -> Report | None:
        """Run a plain built-in at once and return its report; give anything else a task of its own."""
        function = self._builtins.get(task.activity_name)
        if function is not None and task.activity_name in self._plain:
            return self._run_in_place(task, function)
        work = asyncio.get_running_loop().create_task(self._work(task, function))
        self._running[task.activity_id] = work
        self._slots.take()
        work.add_done_callback(lambda _: self._ended(task.activity_id))
        return None

    def _ended(self, activity_id: str) -> None:
        self._running.pop(activity_id, None)
        self._slots.give_back()

    def _run_in_place(self, task: Assignment, function: ActivityFunction) -> Report:
        try:
            return Completed(task.activity_id, function(task.parameters, TaskContext(task, self._protocol)))
        except Exception as error:  # noqa: BLE001 - whatever an activity raises is its outcome
            return Failed(task.activity_id, failure_of(error))

    async def _work(self, task: Assignment, function: ActivityFunction | None) -> None:
        current_task.set(task)
        report: Report
        slots = (self._slots,) if function is not None else (self._slots, self._user_slots)
        context = TaskContext(task, self._protocol, slots)
        lease = _Lease(lambda: self._keep_lease(context))
        try:
            output = await self._call(context, function)
            report = Completed(task.activity_id, output)
        except asyncio.CancelledError:
            report = Failed(task.activity_id, Failure("cancelled", "the attempt was stopped", retryable=False))
            if self._closing:
                return
        except Exception as error:  # noqa: BLE001 - whatever an activity raises is its outcome
            report = Failed(task.activity_id, failure_of(error))
        finally:
            lease.end()
        self._report_soon([(task, report)])

    async def _call(self, context: TaskContext, function: ActivityFunction | None) -> Any:
        task = context.task
        if function is not None:
            outcome = function(task.parameters, context)
            return await outcome if inspect.isawaitable(outcome) else outcome
        user = self._activities.get(task.activity_name)
        if user is None or self._user_loop is None:
            known = ", ".join(sorted({*self._builtins, *self._activities}))
            raise Attempt.failed(
                "unknown_activity",
                f"this worker has no activity {task.activity_name!r}; it has {known}",
                retryable=False,
            )
        async with self._user_slots:
            return await self._user_loop.call(user, task, context)

    async def _keep_lease(self, context: TaskContext) -> None:
        activity_id = context.task.activity_id
        while True:
            said, context.said = context.said, None
            try:
                seconds = await self._protocol.heartbeat(activity_id, worker_id=self._worker_id, progress=said)
            except StaleAttempt:
                self.stop([activity_id])
                return
            await asyncio.sleep(seconds)

    # --- Reports -------------------------------------------------------------------------------------------------

    def _report_soon(self, reports: list[tuple[Assignment, Report]]) -> None:
        """Report these, together with whatever else ends before the loop comes to it."""
        self._ended_now += reports
        if len(self._ended_now) > len(reports):
            return
        work = asyncio.get_running_loop().create_task(self._report_ended())
        self._reporting.add(work)
        work.add_done_callback(self._reporting.discard)

    async def _report_ended(self) -> None:
        done, self._ended_now = self._ended_now, []
        await self._report(done)

    async def _report(self, done: Sequence[tuple[Assignment, Report]]) -> None:
        reports = [report for _, report in done]
        for number in range(REPORT_TRIES_MAX):
            try:
                answers = await self._protocol.report(reports, worker_id=self._worker_id)
                for (task, _), acknowledged in zip(done, answers, strict=True):
                    if acknowledged.stale:
                        logger.info("report discarded: %s", acknowledged.stale, extra={"trace_id": task.trace_id})
                return
            except Unavailable as error:
                if self._closing:
                    return
                for trace_id in dict.fromkeys(task.trace_id for task, _ in done):
                    logger.warning("cannot report, trying again: %s", error, extra={"trace_id": trace_id})
                await asyncio.sleep(min(2**number, 60))
            except HeadgateError as error:
                if len(done) > 1:
                    for one in done:  # what is wrong with one of them is not the others' fault
                        await self._report([one])
                else:
                    logger.error("the report is refused: %s", error, extra={"trace_id": done[0][0].trace_id})
                return


class _Lease:
    """Keeps a task's lease while it is worked on. Most end before the first heartbeat is due, and need only a timer."""

    __slots__ = ("_keep", "_keeping", "_timer")

    def __init__(self, keep: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._keep = keep
        self._keeping: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(FIRST_HEARTBEAT_SECONDS, self._begin)

    def _begin(self) -> None:
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    def end(self) -> None:
        self._timer.cancel()
        if self._keeping is not None:
            self._keeping.cancel()


def _returns_later(function: Callable[..., Any]) -> bool:
    """Whether calling gives an awaitable: a coroutine function, or an object or partial made of one."""
    inner = (function, getattr(function, "__call__", None), getattr(function, "func", None))  # noqa: B004 - its type matters
    return any(inspect.iscoroutinefunction(callable_) for callable_ in inner)


def failure_of(error: BaseException) -> Failure:
    """Return how an exception of an activity's code counts."""
    if isinstance(error, Attempt):
        return error.failure
    if isinstance(error, HeadgateError):
        return Failure(error.code, str(error), retryable=isinstance(error, Unavailable))
    return Failure("activity_error", f"{type(error).__name__}: {error}")
