"""The queue of one process: tasks in order, claims with a lease and a deadline, workers that wait woken at once."""

from __future__ import annotations

import asyncio
import heapq
import os
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence

from headgate.ports import LEASE_MICROSECONDS, Claim, Clock, Length, Task
from headgate.queues.leases import Leases

__all__ = ["MemoryQueue"]

FOR_EVER = 1 << 60
"""A deadline from here on is none (microseconds)."""
NONCE_BYTES = 8
"""At the end of a claim's id. Of the claims of others a number would tell how many there are."""
NONCES_DRAWN_TOGETHER = 128
"""To ask the kernel for one takes longer than all else that a claim does."""
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

    __slots__ = ("queues", "tenant", "until", "woken")

    def __init__(self, queues: Sequence[str], tenant: str | None, until: float, woken: asyncio.Future[None]) -> None:
        self.queues = queues
        self.tenant = tenant
        self.until = until
        self.woken = woken


class MemoryQueue:
    """`ports.Queue` in memory. Its bound is the log's: it holds one entry per scheduled attempt of a loaded run."""

    def __init__(self, clock: Clock, *, prefix: str = "") -> None:
        self._clock = clock
        self._lines: dict[str, OrderedDict[str, OrderedDict[_Entry, None]]] = {}
        """Per queue, the line of each tenant that has tasks in it: whose turn it is stands first."""
        self._of_run: dict[str, dict[tuple[str, int], _Entry]] = {}
        """Per run, by place and attempt: what is in a line or in a worker's hands."""
        self._claims: dict[str, Claim] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._leases = Leases(self._claims)
        self._waiting: deque[_Waiting] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        """Rings when the wait of somebody who waits is over: one for all, for most waits end long before."""
        self._prefix = prefix
        self._nonces: list[str] = []

    def put(self, task: Task) -> None:
        entries = self._of_run.get(task.run_id)
        if entries is None:
            entries = self._of_run[task.run_id] = {}
        key = (task.place, task.attempt)
        if key in entries:
            return
        entry = entries[key] = _Entry(task)
        lines = self._lines.get(task.queue)
        if lines is None:
            lines = self._lines[task.queue] = OrderedDict()
        line = lines.get(task.tenant)
        if line is None:
            line = lines[task.tenant] = OrderedDict()
        line[entry] = None
        self.wake(task.queue, task.tenant)

    def wake(self, queue: str, tenant: str | None = None) -> None:
        """Wake the first who would take what is in the queue; `tenant` None: whoever it would be for."""
        for number, waiting in enumerate(self._waiting):
            meant = tenant is None or waiting.tenant in (None, tenant)
            if meant and queue in waiting.queues and not waiting.woken.done():
                waiting.woken.set_result(None)
                del self._waiting[number]
                return

    async def take(
        self, queues: Sequence[str], *, worker_id: str, count: int, wait_seconds: float, tenant: str | None = None
    ) -> list[Claim]:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_seconds
        claims = self._take(queues, tenant, worker_id, count)
        while not claims and loop.time() < until:
            await self.something(queues, tenant, until)
            claims = self._take(queues, tenant, worker_id, count)
        return claims

    async def something(self, queues: Sequence[str], tenant: str | None, until: float) -> None:
        """Wait until somebody is woken for one of the queues, or the loop's time is `until`."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(queues, tenant, until, loop.create_future())
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
                    self.wake(queue, tenant)
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

    def _take(self, queues: Sequence[str], tenant: str | None, worker_id: str, count: int) -> list[Claim]:
        claims: list[Claim] = []
        now = 0
        for queue in queues:
            lines = self._lines.get(queue)
            while lines and len(claims) < count and (entry := _next_of(lines, tenant)) is not None:
                now = now or self._clock.now()
                claims.append(self._claim(entry, worker_id, now))
        return claims

    def adopt(self, task: Task, worker_id: str, version: int) -> Claim | None:
        """Return a claim of a task that was in no line here; None where it is offered or claimed here already."""
        entries = self._of_run.setdefault(task.run_id, {})
        key = (task.place, task.attempt)
        if key in entries:
            return None
        entry = entries[key] = _Entry(task)
        claim = self._claim(entry, worker_id, self._clock.now())
        claim.version = version
        return claim

    def in_line(self) -> list[Task]:
        """Return the tasks that nobody has claimed."""
        return [entry.task for lines in self._lines.values() for line in lines.values() for entry in line]

    def claims(self) -> list[Claim]:
        """Return all claims."""
        return list(self._claims.values())

    def waiting_of(self, run_id: str) -> list[Task]:
        """Return those of a run."""
        return [entry.task for entry in self._of_run.get(run_id, {}).values() if entry.claim is None]

    def knows(self, task: Task) -> bool:
        """Whether the task is offered or claimed here."""
        return (task.place, task.attempt) in self._of_run.get(task.run_id, {})

    def withdraw(self, task: Task) -> None:
        """Take the task out of its line, if it is in one."""
        entry = self._of_run.get(task.run_id, {}).get((task.place, task.attempt))
        if entry is not None and entry.claim is None:
            _leave(self._lines[task.queue], entry)
            self._forget(task)

    def seconds_left(self, claim: Claim) -> float | None:
        """Return how long the claim may last from now on; None: for ever."""
        return None if claim.deadline >= FOR_EVER else (claim.deadline - self._clock.now()) / 1_000_000

    def _claim(self, entry: _Entry, worker_id: str, now: int) -> Claim:
        task = entry.task
        activity_id = f"{task.run_id}/{task.place}/{task.attempt}/{self._prefix}{self._nonce()}"
        claim = entry.claim = Claim(activity_id, task, worker_id, now, now + LEASE_MICROSECONDS, FOR_EVER)
        self._claims[activity_id] = claim
        return claim

    def _nonce(self) -> str:
        if not self._nonces:
            drawn = os.urandom(NONCE_BYTES * NONCES_DRAWN_TOGETHER)
            self._nonces = [drawn[at : at + NONCE_BYTES].hex() for at in range(0, len(drawn), NONCE_BYTES)]
        return self._nonces.pop()

    def claimed(self, activity_id: str) -> Claim | None:
        return self._claims.get(activity_id)

    async def set_leases(self, leases: Mapping[str, int]) -> None:
        for activity_id, lease in leases.items():
            claim = self.note_lease(activity_id, lease)
            if claim is not None:
                self._leases.watch(claim)

    def note_lease(self, activity_id: str, lease: int) -> Claim | None:
        """Write a lease down, which begins now, and is somebody else's to watch."""
        claim = self._claims.get(activity_id)
        if claim is not None:
            claim.lease = lease
            claim.lease_until = self._clock.now() + lease
        return claim

    async def renew(self, activity_id: str) -> bool:
        claim = self._claims.get(activity_id)
        if claim is None:
            return False
        claim.lease_until = self._clock.now() + claim.lease
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

    def discard(self, activity_id: str) -> None:
        self.finish(activity_id)

    def _forget(self, task: Task) -> None:
        entries = self._of_run[task.run_id]
        del entries[task.place, task.attempt]
        if not entries:
            del self._of_run[task.run_id]

    def drop(self, run_id: str) -> list[Claim]:
        for entry in list(self._of_run.get(run_id, {}).values()):
            if entry.claim is None:
                _leave(self._lines[entry.task.queue], entry)
                self._forget(entry.task)
        return self._claims_of(run_id)

    async def claims_of(self, run_id: str) -> list[Claim]:
        return self._claims_of(run_id)

    def _claims_of(self, run_id: str) -> list[Claim]:
        entries = self._of_run.get(run_id, {}).values()
        return [entry.claim for entry in entries if entry.claim is not None]

    def overdue(self, now: int) -> list[Claim]:
        found: list[Claim] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, activity_id = heapq.heappop(self._deadlines)
            if self._is_due_at(deadline, activity_id):
                found.append(self._claims[activity_id])
        return found + [claim for claim in self._leases.over(now) if claim.deadline > now]

    def next_deadline(self) -> int | None:
        while self._deadlines and not self._is_due_at(*self._deadlines[0]):
            heapq.heappop(self._deadlines)
        lease = self._leases.next()
        if not self._deadlines or (lease is not None and lease < self._deadlines[0][0]):
            return lease
        return self._deadlines[0][0]

    def waiting(self, queue: str) -> int:
        """Return how many workers wait for a task of the queue."""
        return sum(queue in waiting.queues for waiting in self._waiting)

    def depth(self, queue: str) -> int:
        return sum(map(len, self._lines.get(queue, {}).values()))

    async def lengths(self) -> list[Length]:
        held = Counter(claim.task.queue for claim in self._claims.values())
        found = [Length(queue, self.depth(queue), held[queue]) for queue in sorted({*self._lines, *held})]
        return [length for length in found if length.waiting or length.held]


def _next_of(lines: OrderedDict[str, OrderedDict[_Entry, None]], tenant: str | None) -> _Entry | None:
    """Take the oldest entry of the tenant, or of the one whose turn it is, who then stands last."""
    whose = next(iter(lines)) if tenant is None else tenant
    line = lines.get(whose)
    if line is None:
        return None
    entry, _ = line.popitem(last=False)
    if not line:
        del lines[whose]
    elif tenant is None:
        lines.move_to_end(whose)
    return entry


def _leave(lines: OrderedDict[str, OrderedDict[_Entry, None]], entry: _Entry) -> None:
    line = lines[entry.task.tenant]
    del line[entry]
    if not line:
        del lines[entry.task.tenant]
