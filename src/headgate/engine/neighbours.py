"""What a node does for the others on the same log, and they for it: takes over what the dead have left, passes on news.

A node that dies takes with it what it alone knew. Its tasks are rows (`ports.TaskTable`), or in its hands while it says
again and again that it is alive. So a lease that is over, or silence, is the sign, and whoever finds it loses the
attempt, which the log then refuses to the old holder, should it wake. Timers and messages are in the log: what has
been due for a while is attended to by anybody.

News travel as hints, one for all that was committed within a moment. A hint may get lost, so whoever waits looks by
itself as well, at each patrol.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.decision import Decision
from headgate.core.errors import HeadgateError, NotFound, Unavailable
from headgate.engine.dispatcher import Dispatcher
from headgate.engine.engine import Engine
from headgate.engine.gate import Gate
from headgate.engine.lane import Lane
from headgate.engine.ledger import Ledger
from headgate.engine.warden import Warden
from headgate.ports import EVERYTHING, Hint, Overdue, SharedQueue, Task, TaskTable

__all__ = ["Neighbours"]

logger = logging.getLogger("headgate.nodes")

SAYS_PER_LEASE = 10
"""How often a node says that it is alive in the time after which it counts as dead."""
PATROL_SECONDS = 2.0
LEFT_ALONE_MICROSECONDS = 3_000_000
"""A run that was changed since then is left to the node that did it."""
SWEEP_EVERY_PATROLS = 15
"""How often rows are looked for that have got lost."""
PAGE = 200
HINT_SECONDS = 0.01
"""Hints of so long travel as one."""
NAMED_MAX = 200
"""Runs or budgets that one hint names; beyond that it says `everything`."""


class Neighbours:
    """One per engine, where the log has many writers."""

    def __init__(
        self,
        engine: Engine,
        table: TaskTable,
        queue: SharedQueue,
        warden: Warden,
        dispatcher: Dispatcher,
        ledger: Ledger,
        gate: Gate,
    ) -> None:
        self._engine = engine
        self._table = table
        self._queue = queue
        self._warden = warden
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._gate = gate
        self._news = _News(queue.node)
        self._noted = asyncio.Event()
        self._heard = asyncio.Event()
        self._to_look_at: set[str] = set()
        """Runs of which others have told; `everything` is all that are watched."""
        self._look_at_all = True
        self._tasks: list[asyncio.Task[Any]] = []
        warden.only_loaded = True
        assert engine.rows is not None
        engine.rows.tell_free = self._news.note_free
        engine.listen(self._committed)

    async def open(self) -> None:
        """Put back rows that got lost while no node was up, then begin."""
        await self._table.stay_alive(self._queue.node)
        await self._sweep(self._engine.clock.now() + 1)
        for work in (self._stay_alive(), self._tell(), self._table.hear(self._hear), self._look(), self._patrol()):
            self._tasks.append(self._engine.spawn(work, ""))

    async def close(self) -> None:
        """Leave nothing in this node's hands: what its workers were at is lost now, and not when leases are over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        lost = [self._lose(claim.task, "its process has ended") for claim in self._queue.held()]
        await asyncio.gather(*lost, return_exceptions=True)  # where the log is away, their leases end by themselves
        with contextlib.suppress(HeadgateError):
            await self._queue.close()

    async def _lose(self, task: Task, reason: str) -> None:
        command = c.LoseAttempt(
            at=self._engine.clock.now(), actor="engine", place=task.place, attempt=task.attempt, reason=reason
        )
        await self._engine.submit(task.run_id, command)

    # --- News to others ----------------------------------------------------------------------------------------------

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        self._news.note(lane, decisions)
        self._noted.set()

    async def _tell(self) -> None:
        while True:
            await self._noted.wait()
            await asyncio.sleep(HINT_SECONDS)
            self._noted.clear()
            with contextlib.suppress(HeadgateError):  # a hint: nobody relies on it
                await self._table.tell(self._news.take())

    # --- News from others --------------------------------------------------------------------------------------------

    def _hear(self, hint: Hint) -> None:
        if hint.node == self._queue.node:
            return
        if hint.queues or hint.everything:
            self._queue.wake(hint.queues)
        for run_id in hint.cancelled:
            self._let_go(run_id)
        if hint.everything:
            self._look_at_all = True
        self._to_look_at.update(hint.runs)
        if hint.budgets or hint.everything:
            self._ledger.look_again(hint.budgets)
        if hint.settled or hint.everything:
            self._gate.look_again()
        self._heard.set()

    def _let_go(self, run_id: str) -> None:
        """The run was cancelled elsewhere: what waits here has ended, what is worked on here is in vain."""
        for task in self._queue.let_go(run_id):
            self._engine.spawn(self._let_end(task), "")
        if claims := self._queue.drop(run_id):
            self._dispatcher.stop_claims([claim.activity_id for claim in claims])

    async def _let_end(self, task: Task) -> None:
        with contextlib.suppress(HeadgateError):  # it has ended; or the run ends without it, a little later
            await self._lose(task, "the run was cancelled")

    async def _look(self) -> None:
        """Catch up with those runs that somebody here watches and others have gone on with. For ever."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            wanted = self._engine.news.watched
            if not self._look_at_all:
                wanted &= self._to_look_at
            self._look_at_all = False
            self._to_look_at.clear()
            with contextlib.suppress(HeadgateError):
                await self._look_at(wanted)
            await asyncio.sleep(HINT_SECONDS)

    async def _look_at(self, run_ids: set[str]) -> None:
        if not run_ids:
            return
        assert self._engine.others is not None
        for run_id, version in (await self._engine.others.versions(list(run_ids))).items():
            lane = self._engine.loaded(run_id)
            if lane is None:
                self._engine.news.tell(await self._engine.lane(run_id), [])
            elif lane.head.version < version:
                await self._engine.news.catch_up(lane)

    # --- Being alive -------------------------------------------------------------------------------------------------

    async def _stay_alive(self) -> None:
        """Say so, in good time. For ever."""
        while True:
            await asyncio.sleep(self._table.lease / 1_000_000 / SAYS_PER_LEASE)
            with contextlib.suppress(HeadgateError):  # the next time
                await self._table.stay_alive(self._queue.node)

    # --- Patrol ------------------------------------------------------------------------------------------------------

    async def _patrol(self) -> None:
        """See to what is nobody's, every few seconds of the machine's own clock. For ever."""
        number = 0
        while True:
            await asyncio.sleep(PATROL_SECONDS)
            number += 1
            try:
                await self._queue.give_away()
                await self._take_over()
                for claim in await self._queue.ended_elsewhere():
                    self._warden.release(claim.activity_id)
                await self._attend_to_others(self._engine.clock.now())
                if number % SWEEP_EVERY_PATROLS == 0:
                    await self._sweep(self._engine.clock.now() - LEFT_ALONE_MICROSECONDS)
                self._hear(EVERYTHING)
            except HeadgateError as error:
                logger.warning("cannot look after other nodes' runs now, trying again: %s", error)

    async def _take_over(self) -> None:
        while overdue := await self._table.overdue(self._queue.node, PAGE):
            for one in overdue:
                await self._see_to(one)

    async def _see_to(self, one: Overdue) -> None:
        task, now = one.task, self._engine.clock.now()
        if not task.queue:
            if (lane := await self._found(task.run_id)) is not None:
                self._dispatcher.carry_out(lane, task.place, task.attempt)
            return
        if one.deadline_passed:
            command = c.TimeOutAttempt(
                at=now,
                actor="timer",
                place=task.place,
                attempt=task.attempt,
                seconds=one.held_seconds,
                started_at=now - int(one.held_seconds * 1_000_000),
            )
        else:
            reason = f"whoever worked on it ({one.worker_id or 'a node'}) has not been heard of for its lease"
            command = c.LoseAttempt(at=now, actor="timer", place=task.place, attempt=task.attempt, reason=reason)
        logger.warning("taking over %s of run %s, attempt %d", task.place, task.run_id, task.attempt)
        if not await self._submit(task.run_id, command):
            await self._table.remove([task], self._queue.node)

    async def _submit(self, run_id: str, command: c.Command) -> bool:
        """Return whether the command was taken; one that comes too late is not."""
        try:
            await self._engine.insist(run_id, command)
        except Unavailable:
            raise
        except HeadgateError:
            return False
        return True

    async def _attend_to_others(self, now: int) -> None:
        """Attend to what nobody has loaded, or whose node has died. One that lives has done it by now."""
        assert self._engine.others is not None
        for run_id in await self._engine.others.left_alone(now, now - LEFT_ALONE_MICROSECONDS, PAGE):
            await self._warden.attend(run_id, now)

    async def _sweep(self, before: int) -> None:
        for run_id in await self._table.missing(before, PAGE):
            if (lane := await self._found(run_id)) is not None:
                self._dispatcher.offer_lost(lane)

    async def _found(self, run_id: str) -> Lane | None:
        try:
            return await self._engine.news.lane_now(run_id)
        except NotFound:  # it was deleted meanwhile
            return None


class _News:
    """What this node has committed and not told yet."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._queues: set[str] = set()
        self._runs: set[str] = set()
        self._cancelled: set[str] = set()
        self._budgets: set[str] = set()
        self._settled = False

    def note_free(self, queue: str) -> None:
        self._queues.add(queue)

    def note(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        run = lane.run
        self._runs.add(run.id)
        for decision in decisions:
            for event in decision.events:
                match event:
                    case g.CallSettled() | g.CallForfeited():
                        self._budgets.update(event.budgets or run.outer)
                        self._settled = True
                    case e.CancelRequested():
                        self._cancelled.add(run.id)
                    case _:
                        pass

    def take(self) -> Hint:
        too_many = len(self._runs) + len(self._budgets) + len(self._cancelled) > NAMED_MAX
        hint = Hint(
            self._node,
            queues=tuple(self._queues),
            runs=() if too_many else tuple(self._runs),
            cancelled=tuple(self._cancelled) if len(self._cancelled) <= NAMED_MAX else (),
            budgets=() if too_many else tuple(self._budgets),
            settled=self._settled,
            everything=too_many,
        )
        self._queues, self._runs, self._cancelled, self._budgets = set(), set(), set(), set()
        self._settled = False
        return hint
