"""The warden: one loop that asks log and queue what is overdue, and turns it into commands.

The log knows delays, retries and deadlines (`attention_at` of each run), the queue knows claims (lease and attempt
deadline). Nothing is polled at a fixed interval: the warden sleeps until the earliest of them, or until a commit names
an earlier one. What a dead process left is found by the same two questions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from headgate.core import commands as c
from headgate.core.decision import Decision
from headgate.core.errors import HeadgateError, NotFound, Unavailable
from headgate.engine.courier import Courier
from headgate.engine.dispatcher import Dispatcher
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.engine.leases import fell_silent
from headgate.ports import Claim, Clock, Queue

__all__ = ["Warden"]

logger = logging.getLogger("headgate.workers")

PAGE = 500
AGAIN_MICROSECONDS = 2_000_000
"""When to come back to what was due and could not be done: an undelivered message, a log that cannot be written."""


class Warden:
    """One per engine."""

    def __init__(self, engine: Engine, queue: Queue, dispatcher: Dispatcher, courier: Courier, clock: Clock) -> None:
        self._engine = engine
        self._queue = queue
        self._dispatcher = dispatcher
        self._courier = courier
        self._clock = clock
        self._next: int | None = None
        self._asleep_until: int | None = None
        self._wake = asyncio.Event()
        self.only_loaded = False
        """True: of runs that are not loaded here, whoever has them loaded takes care, or else `Neighbours`."""
        self.stop_claims: Callable[[list[str]], None] = lambda activity_ids: None
        self.release: Callable[[str], None] = queue.finish
        """Told of claims whose workers are gone, so that nothing is kept for them."""
        engine.listen(self._committed)

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        at = lane.head.attention_at
        if at == 0:  # messages: the courier has set out with them; look again in a while
            at = self._clock.now() + AGAIN_MICROSECONDS
        if at is not None and (self._next is None or at < self._next):
            self._next = at
            self._wake.set()

    async def recover(self) -> int:
        """Take up what an earlier process left; return the number of runs with tasks.

        An attempt that had a model call open, or had begun what must not be done twice, was under way when its process
        died: it is lost, and its calls are forfeited. Any other task is offered again under its attempt, also one whose
        calls had only waited for money: they held none, and it asks anew.
        """
        if self.only_loaded:  # what is under way may be so at another node, and what is not has its row
            self._next = 0
            return 0
        count, after = 0, 0
        while rows := await self._engine.log.busy(after, PAGE):
            for row in rows:
                lane = await self._engine.lane(row.id)
                await self._lose_what_was_under_way(lane)
                self._dispatcher.offer_all(lane)
            after = rows[-1].key
            count += len(rows)
        self._next = 0
        return count

    async def _lose_what_was_under_way(self, lane: Lane) -> None:
        run = lane.run
        held = {call.place for call in run.calls.values() if call.state == "admitted"}
        held.update(path for path, place in run.tasks.items() if place.effect)
        if run.status == "cancelling":
            held.update(run.tasks)
        for path in sorted(held):
            place = run.tasks.get(path)
            if place is not None:
                command = c.LoseAttempt(
                    at=self._clock.now(),
                    actor="timer",
                    place=path,
                    attempt=place.attempt,
                    reason="the process that worked on it has ended",
                )
                await self._engine.submit(run.id, command)
        if run.waiting_calls:
            reason = "the process in which they waited has ended"
            await self._engine.submit(run.id, c.ForgetWaiting(at=self._clock.now(), actor="timer", reason=reason))

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            deadline = self._queue.next_deadline()
            self._asleep_until = min((at for at in (self._next, deadline) if at is not None), default=None)
            await self._clock.wait(self._asleep_until, self._wake)
            now = self._clock.now()
            try:
                await self._stop_overdue(now)
                if self._next is not None and self._next <= now:
                    await self._fire(now)
            except Unavailable:  # the log cannot be asked now: ask again
                self._next = now + AGAIN_MICROSECONDS

    def notice(self, deadline: int) -> None:
        """A claim has this deadline: it may be the earliest of all."""
        if self._asleep_until is None or deadline < self._asleep_until:
            self._asleep_until = deadline
            self._wake.set()

    async def _fire(self, now: int) -> None:
        self._next = None
        while due := await self._engine.log.due(now, PAGE):
            progress = False
            for run_id in due:
                if not self.only_loaded or self._engine.loaded(run_id) is not None:
                    progress |= await self.attend(run_id, now)
            if not progress or len(due) < PAGE:
                break
        later = await self._engine.log.next_attention(now)
        left = now + AGAIN_MICROSECONDS if await self._engine.log.due(now, 1) else None
        times = [at for at in (self._next, later, left) if at is not None]
        self._next = min(times, default=None)

    async def attend(self, run_id: str, now: int) -> bool:
        """Do for a run what is due by now; return whether it was."""
        try:
            lane = await self._engine.lane(run_id)
            self._courier.deliver(lane)
            decision = await self._engine.submit(run_id, c.Tick(at=now, actor="timer"))
        except (HeadgateError, NotFound):
            return False
        return bool(decision.events)

    async def _stop_overdue(self, now: int) -> None:
        overdue = self._queue.overdue(now)
        if not overdue:
            return
        for claim in overdue:
            if claim.deadline > now or fell_silent(claim, now):
                await self._lose(claim, now)
            else:
                await self._time_out(claim, now)
        self.stop_claims([claim.activity_id for claim in overdue])

    async def _time_out(self, claim: Claim, now: int) -> None:
        task = claim.task
        command = c.TimeOutAttempt(
            at=now,
            actor="timer",
            place=task.place,
            attempt=task.attempt,
            seconds=(claim.deadline - claim.claimed_at) / 1_000_000,
            started_at=claim.claimed_at,
        )
        try:
            await self._engine.submit(task.run_id, command)
        except Unavailable:
            self._queue.set_deadline(claim.activity_id, now + AGAIN_MICROSECONDS)
            return
        except HeadgateError:  # the attempt was over already
            pass
        self._queue.finish(claim.activity_id)

    async def _lose(self, claim: Claim, now: int) -> None:
        task = claim.task
        if claim.deadline > now:
            silence = f"for its lease of {claim.lease / 1_000_000:g} s"
        else:
            silence = f"for {(now - claim.lease_until + claim.lease) / 1_000_000:.0f} s, and its time is over"
        reason = f"whoever worked on it ({claim.worker_id}) has not been heard of {silence}"
        command = c.LoseAttempt(at=now, actor="timer", place=task.place, attempt=task.attempt, reason=reason)
        try:
            await self._engine.submit(task.run_id, command)
        except Unavailable:  # the queue tells of it again
            if claim.deadline <= now:
                self._queue.set_deadline(claim.activity_id, now + AGAIN_MICROSECONDS)
            return
        except HeadgateError:  # the attempt was over already
            pass
        logger.warning("%s of run %s, attempt %d: %s", task.place, task.run_id, task.attempt, reason)
        self.release(claim.activity_id)
