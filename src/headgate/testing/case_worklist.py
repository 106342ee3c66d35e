"""The worker protocol of a case: tasks that the case answers never reach the worker, and who waits is known.

The engine's own protocol stays in place; three of its verbs are watched on their way. An activity that would reach
the outside world and has no answer is an error: a test asks nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from headgate.core import events as e
from headgate.core.catalogue import BUILTINS
from headgate.core.values import Assignment, Failure
from headgate.engine.task_context import current_task
from headgate.ports import Acknowledged, Admission, CallRequest, Completed, Failed, Report, WorkerProtocol
from headgate.testing.case_script import Answers
from headgate.testing.cases import Mismatch
from headgate.testing.clock import VirtualClock

__all__ = ["REAL", "Worklist"]

REAL = frozenset(
    {"echo", "llm_prompt", "embedding", "script", "text_split", "document_text"}
    | {"vector_index", "vector_search", "conversation", "file_read", "file_write"}
)
"""Built-in activities that run in earnest: they stay inside, or their calls are the providers'. Those that look at
the outside world are answered by the case."""
WORKER_ID = "case"
OUTCOMES = (e.ActivityCompleted, e.AttemptFailed, e.AttemptTimedOut, e.AttemptLost)


class Worklist:
    """What is under way in the present engine of a case."""

    def __init__(self, answers: Answers, clock: VirtualClock) -> None:
        self.answers = answers
        self.kept = [answers]
        """All lists of which something may be taken by what is under way."""
        self.mismatches: list[Mismatch] = []
        self.moved = asyncio.Event()
        self.moves = 0
        self.reports: list[asyncio.Task[Any]] = []
        self._clock = clock
        self._under_way: dict[str, Assignment] = {}
        self._idle: set[str] = set()
        self._recorded: set[tuple[str, str]] = set()
        self._protocol: WorkerProtocol

    @property
    def busy(self) -> bool:
        """Whether somebody works in earnest: neither sleeps in virtual time, nor waits for the gate."""
        return not self._under_way.keys() <= self._idle

    def stand_between(self, protocol: Any) -> None:
        """Watch a new engine's protocol; what was under way with the one before is gone."""
        self._under_way.clear()
        self._idle.clear()
        poll, report, admit = protocol.poll, protocol.report, protocol.admit

        async def watched_poll(
            queues: Sequence[str], *, worker_id: str, count: int, wait_seconds: float
        ) -> list[Assignment]:
            tasks = await poll(queues, worker_id=worker_id, count=count, wait_seconds=wait_seconds)
            return [task for task in tasks if not self._begin(task)]

        async def watched_report(reports: Sequence[Report], *, worker_id: str) -> list[Acknowledged]:
            acknowledged = await report(reports, worker_id=worker_id)
            for one in reports:
                self._end(one.activity_id)
            return acknowledged

        async def watched_admit(activity_id: str, *, call_id: str, request: CallRequest) -> Admission:
            self._idle.add(activity_id)
            self._move()
            try:
                return await admit(activity_id, call_id=call_id, request=request)
            finally:
                self._idle.discard(activity_id)
                self._move()

        protocol.poll, protocol.report, protocol.admit = watched_poll, watched_report, watched_admit
        self._protocol = protocol

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time, for the task that asks."""
        task = current_task.get()
        activity_id = task.activity_id if task else ""
        self._idle.add(activity_id)
        self._move()
        try:
            await self._clock.sleep(seconds)
        finally:
            self._idle.discard(activity_id)
            self._move()

    def committed(self, event: e.Event) -> None:
        """An event is in the log: what an attempt took is used when its outcome is recorded."""
        if isinstance(event, OUTCOMES):
            for activity_id, task in list(self._under_way.items()):
                if (task.workflow_id, task.place, task.attempt) == (event.run_id, event.place, event.attempt):
                    for answers in self.kept:
                        answers.keep(activity_id)
            if isinstance(event, e.ActivityCompleted):
                self._recorded.add((event.run_id, event.place))

    # --- One task --------------------------------------------------------------------------------------------------

    def _begin(self, task: Assignment) -> bool:
        """Note a task; return whether it is answered here, so that no worker gets it."""
        self._under_way[task.activity_id] = task
        self._move()
        if (task.workflow_id, task.place) in self._recorded:
            said = "ran again, though its completion was recorded"
            self.mismatches.append(Mismatch(f"activities.{task.place}", said))
        key = self.answers.key_of((task.place, task.activity_key))
        if key is None and (task.activity_name in REAL or task.activity_name not in BUILTINS):
            return False
        outcome = self._unscripted(task, key) if key is None else self._answer(task, key)
        self.reports.append(asyncio.get_running_loop().create_task(self._report(task, *outcome)))
        return True

    def _answer(self, task: Assignment, key: str) -> tuple[Report, float]:
        entry = self.answers.take(key, task.activity_id)
        if entry is None:
            return self._unscripted(task, key)
        if "error" in entry:
            return Failed(task.activity_id, _failure(entry["error"])), float(entry.get("delay", 0))
        return Completed(task.activity_id, entry.get("output")), float(entry.get("delay", 0))

    def _unscripted(self, task: Assignment, key: str | None) -> tuple[Report, float]:
        why = f"the answers under activities.{key} are used up" if key else "it would reach the outside world"
        said = f"{task.activity_name} of {task.place} was begun, and {why}. Give it an answer under activities"
        self.mismatches.append(Mismatch(f"activities.{key or task.place}", said))
        return Failed(task.activity_id, Failure("unscripted_call", f"{said}.", retryable=False)), 0.0

    async def _report(self, task: Assignment, report: Report, delay: float) -> None:
        if delay:
            current_task.set(task)
            await self.sleep(delay)
        await self._protocol.report([report], worker_id=WORKER_ID)

    def _end(self, activity_id: str) -> None:
        self._under_way.pop(activity_id, None)
        self._move()

    def _move(self) -> None:
        self.moves += 1
        self.moved.set()


def _failure(error: Mapping[str, Any]) -> Failure:
    return Failure(
        code=str(error.get("code", "activity_error")),
        message=str(error.get("message", "as the case has it")),
        retryable=bool(error.get("retryable", True)),
    )
