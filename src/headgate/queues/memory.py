"""The queue of one process: tasks in order, claims with a lease and a deadline, workers that wait woken at once."""

from __future__ import annotations

import asyncio
import heapq
import secrets
from collections import OrderedDict, deque
from collections.abc import Sequence

from headgate.ports import Claim, Clock, Task

__all__ = ["MemoryQueue"]

LEASE_MICROSECONDS = 30_000_000
DEADLINES_KEPT_MIN = 1_000
"""Below so many entries the deadlines are not tidied."""


class _Entry:
    """A task in a line or in a worker's hands."""

    __slots__ = ("claim", "task")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.claim: Claim | None = None


class _Waiting:
    """A worker that found nothing, and until when (the loop's time) it stays."""

    __slots__ = ("queues", "until", "woken")

    def __init__(self, queues: Sequence[str], until: float, woken: asyncio.Future[None]) -> None:
        self.queues = queues
        self.until = until
        self.woken = woken


class MemoryQueue:
    """`ports.Queue` in memory. Its bound is the log's: it holds one entry per scheduled attempt of a loaded run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: dict[str, OrderedDict[_Entry, None]] = {}
        self._of_run: dict[str, dict[tuple[str, int], _Entry]] = {}
        """Per run, by place and attempt: what is in a line or in a worker's hands."""
        self._claims: dict[str, Claim] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._waiting: deque[_Waiting] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        """Rings when the wait of somebody who waits is over: one for all, for most waits end long before."""
        self._claim_prefix = secrets.token_hex(4)
        self._claim_number = 0

    def put(self, task: Task) -> None:
        entries = self._of_run.get(task.run_id)
        if entries is None:
            entries = self._of_run[task.run_id] = {}
        key = (task.place, task.attempt)
        if key in entries:
            return
        entry = entries[key] = _Entry(task)
        line = self._lines.get(task.queue)
        if line is None:
            line = self._lines[task.queue] = OrderedDict()
        line[entry] = None
        self._wake(task.queue)

    def _wake(self, queue: str) -> None:
        for number, waiting in enumerate(self._waiting):
            if queue in waiting.queues and not waiting.woken.done():
                waiting.woken.set_result(None)
                del self._waiting[number]
                return

    async def take(self, queues: Sequence[str], *, worker_id: str, count: int, wait_seconds: float) -> list[Claim]:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_seconds
        claims = self._take(queues, worker_id, count)
        while not claims and loop.time() < until:
            await self._something(queues, until)
            claims = self._take(queues, worker_id, count)
        return claims

    async def _something(self, queues: Sequence[str], until: float) -> None:
        """Wait until a task is put into one of the queues, or the time is over."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(queues, until, loop.create_future())
        self._waiting.append(waiting)
        if self._alarm is None or until < self._alarm.when():
            self._set_alarm(loop)
        try:
            await waiting.woken
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            if not waiting.woken.cancelled():  # it was this one's turn, which another must have now
                for queue in queues:
                    self._wake(queue)
            raise

    def _set_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        until = min((waiting.until for waiting in self._waiting), default=None)
        self._alarm = None if until is None else loop.call_at(until, self._let_go, loop)

    def _let_go(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let those go whose wait is over, with nothing."""
        now = loop.time()
        over = [waiting for waiting in self._waiting if waiting.until <= now]
        for waiting in over:
            self._waiting.remove(waiting)
            if not waiting.woken.done():
                waiting.woken.set_result(None)
        self._set_alarm(loop)

    def _take(self, queues: Sequence[str], worker_id: str, count: int) -> list[Claim]:
        claims: list[Claim] = []
        now = 0
        for queue in queues:
            line = self._lines.get(queue)
            while line and len(claims) < count:
                entry, _ = line.popitem(last=False)
                now = now or self._clock.now()
                claims.append(self._claim(entry, worker_id, now))
        return claims

    def _claim(self, entry: _Entry, worker_id: str, now: int) -> Claim:
        task = entry.task
        self._claim_number += 1
        activity_id = f"{task.run_id}/{task.place}/{task.attempt}/{self._claim_prefix}{self._claim_number:x}"
        lease_until = now + LEASE_MICROSECONDS
        claim = entry.claim = Claim(activity_id, task, worker_id, now, lease_until, lease_until)
        self._claims[activity_id] = claim
        return claim

    def claimed(self, activity_id: str) -> Claim | None:
        return self._claims.get(activity_id)

    def renew(self, activity_id: str, lease_until: int) -> bool:
        claim = self._claims.get(activity_id)
        if claim is None:
            return False
        claim.lease_until = lease_until
        return True

    def set_deadline(self, activity_id: str, deadline: int) -> None:
        claim = self._claims.get(activity_id)
        if claim is not None:
            claim.deadline = deadline
            heapq.heappush(self._deadlines, (deadline, activity_id))
            if len(self._deadlines) > max(DEADLINES_KEPT_MIN, 2 * len(self._claims)):
                self._tidy_deadlines()

    def _tidy_deadlines(self) -> None:
        """Drop the entries of claims that are over: most end long before their deadline."""
        self._deadlines = [entry for entry in self._deadlines if self._is_due_at(*entry)]
        heapq.heapify(self._deadlines)

    def _is_due_at(self, deadline: int, activity_id: str) -> bool:
        claim = self._claims.get(activity_id)
        return claim is not None and claim.deadline == deadline

    def finish(self, activity_id: str) -> None:
        claim = self._claims.pop(activity_id, None)
        if claim is not None:
            self._forget(claim.task)

    def _forget(self, task: Task) -> None:
        entries = self._of_run[task.run_id]
        del entries[task.place, task.attempt]
        if not entries:
            del self._of_run[task.run_id]

    def drop(self, run_id: str) -> list[Claim]:
        for entry in list(self._of_run.get(run_id, {}).values()):
            if entry.claim is None:
                del self._lines[entry.task.queue][entry]
                self._forget(entry.task)
        return self.claims_of(run_id)

    def claims_of(self, run_id: str) -> list[Claim]:
        entries = self._of_run.get(run_id, {}).values()
        return [entry.claim for entry in entries if entry.claim is not None]

    def overdue(self, now: int) -> list[Claim]:
        found: list[Claim] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, activity_id = heapq.heappop(self._deadlines)
            if self._is_due_at(deadline, activity_id):
                found.append(self._claims[activity_id])
        return found

    def next_deadline(self) -> int | None:
        while self._deadlines:
            if self._is_due_at(*self._deadlines[0]):
                return self._deadlines[0][0]
            heapq.heappop(self._deadlines)
        return None

    def waiting(self, queue: str) -> int:
        """Return how many workers wait for a task of the queue."""
        return sum(queue in waiting.queues for waiting in self._waiting)

    def depth(self, queue: str) -> int:
        return len(self._lines.get(queue, ()))
