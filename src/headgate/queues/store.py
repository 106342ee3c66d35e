"""The queue of one process of many: tasks that wait here in memory, before rows that all of them see.

Every task is a row that its append inserts (`ports.TaskTable`). One that a worker here is likely to do at once is born
in this node's hands and waits in memory, so that it costs no claim. Any other is free: a worker here that finds nothing
in memory claims it, and so may the other nodes. A claim's id ends in the node's name, so that any node can renew it.

Tasks are born held only while no free ones are known of, lest those wait for ever behind newer ones.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from headgate.core.errors import HeadgateError
from headgate.ports import Claim, Clock, Length, Offer, Task, TaskTable
from headgate.queues.memory import MemoryQueue

__all__ = ["StoreQueue"]

NODE_CHARACTERS = 12
NOBODY_ASKED = (0, 0.0)
CLAIMED_TOGETHER_MAX = 100
HELD_TOGETHER_MAX = 16
"""Of the tasks of one append: the rest of a fan-out is for any node that has a worker free."""
ASKED_TOGETHER_MAX = 1_000
LOOK_SECONDS = 1.0
"""How often a worker that waits looks for free tasks though nobody has said that there are any."""
GIVE_AWAY_AFTER_SECONDS = 5.0
"""Then a task that waits here is free for others: whoever asked for its like asks no more."""


class StoreQueue:
    """`ports.SharedQueue` in front of a table. It belongs to the loop it is used on."""

    def __init__(self, table: TaskTable, clock: Clock) -> None:
        self.node = secrets.token_hex(NODE_CHARACTERS // 2)
        self._table = table
        self._here = MemoryQueue(clock, prefix=self.node)
        self._asked: dict[tuple[str, str | None], tuple[int, float]] = {}
        """How many tasks of a queue, and of which tenant or any, were last asked for here, and until when (the loop's
        time) that counts."""
        self._free: set[tuple[str, str]] = set()
        """Queues and tenants of which this node has made free tasks that may still be there."""
        self._looked_at: dict[tuple[str, str | None], float] = {}
        """When a queue's rows, for a tenant's workers or any, were last found wanting (the loop's time)."""
        self._told = 0
        """How often others have told of free tasks."""
        self._waits_since: dict[Task, float] = {}
        self._over: set[str] = set()
        """Claims without a row, when that was last looked at."""
        self._renewals: dict[str, asyncio.Future[bool]] = {}
        self._renewing = False
        self._work: set[asyncio.Task[Any]] = set()

    # --- Tasks of appends --------------------------------------------------------------------------------------------

    def offer(self, task: Task, version: int, beside: int) -> Offer:
        now = asyncio.get_running_loop().time()
        asked = self._asked_for(task.queue, None, now) + self._asked_for(task.queue, task.tenant, now)
        few = beside < HELD_TOGETHER_MAX
        free = (task.queue, task.tenant) in self._free
        held = few and not free and self._here.depth(task.queue) + beside < asked
        node = self.node if asked and few else ""
        return Offer(task.run_id, task.place, task.attempt, task.queue, version, node, held, task.tenant)

    def _asked_for(self, queue: str, tenant: str | None, now: float) -> int:
        count, until = self._asked.get((queue, tenant), NOBODY_ASKED)
        return count if until >= now else 0

    def born(self, offers: Sequence[Offer]) -> None:
        for offer in offers:
            if offer.held:
                self._here.put(Task(offer.queue, offer.run_id, offer.place, offer.attempt, offer.tenant))
            elif (offer.queue, None) in self._asked or (offer.queue, offer.tenant) in self._asked:
                self._free.add((offer.queue, offer.tenant))
                self._here.wake(offer.queue, offer.tenant)

    def put(self, task: Task) -> None:
        """Offer a task whose row may have got lost, or is in this node's hands for nothing."""
        self._soon(self._put(task))

    async def _put(self, task: Task) -> None:
        lost = Offer(task.run_id, task.place, task.attempt, task.queue, 0, "", held=False, tenant=task.tenant)
        await self._table.add([lost])
        if not self._here.knows(task):
            await self._table.release([task], self.node)
        self._free.add((task.queue, task.tenant))
        self._here.wake(task.queue, task.tenant)

    # --- Claims ------------------------------------------------------------------------------------------------------

    async def take(
        self, queues: Sequence[str], *, worker_id: str, count: int, wait_seconds: float, tenant: str | None = None
    ) -> list[Claim]:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_seconds
        self._asked |= dict.fromkeys([(queue, tenant) for queue in queues], (count, until + GIVE_AWAY_AFTER_SECONDS))
        while True:
            claims = await self._here.take(queues, worker_id=worker_id, count=count, wait_seconds=0, tenant=tenant)
            if not claims and (due := [queue for queue in queues if self._worth_a_look(queue, tenant, loop.time())]):
                claims = await self._claim(due, tenant, worker_id, min(count, CLAIMED_TOGETHER_MAX))
                if not claims and loop.time() < until:
                    continue  # what came meanwhile has woken nobody
            if claims or loop.time() >= until:
                return claims
            await self._here.something(queues, tenant, min(until, loop.time() + LOOK_SECONDS))

    def _worth_a_look(self, queue: str, tenant: str | None, now: float) -> bool:
        return (
            bool(self._known_free([queue], tenant)) or now - self._looked_at.get((queue, tenant), 0.0) >= LOOK_SECONDS
        )

    def _known_free(self, queues: Sequence[str], tenant: str | None) -> set[tuple[str, str]]:
        return {free for free in self._free if free[0] in queues and tenant in (None, free[1])}

    async def _claim(self, queues: Sequence[str], tenant: str | None, worker_id: str, count: int) -> list[Claim]:
        """Claim free tasks; a caller that goes away meanwhile leaves them free."""
        free = self._known_free(queues, tenant)
        self._free -= free
        told = self._told
        asking = self._soon(self._table.claim(queues, node=self.node, worker_id=worker_id, count=count, tenant=tenant))
        try:
            found = await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._soon(self._free_again(asking))
            raise
        except HeadgateError:
            self._free |= free
            raise
        if len(found) >= count:
            self._free |= free | {(task.queue, task.tenant) for task, _ in found}
        elif told == self._told:
            looked = [(queue, tenant) for queue in queues]
            self._looked_at |= dict.fromkeys(looked, asyncio.get_running_loop().time())
        claims = [self._here.adopt(task, worker_id, version) for task, version in found]
        return [claim for claim in claims if claim is not None]

    async def _free_again(self, asking: asyncio.Task[list[tuple[Task, int]]]) -> None:
        tasks = [task for task, _ in await asking]
        await self._table.release(tasks, self.node)
        for task in tasks:
            self._free.add((task.queue, task.tenant))
            self._here.wake(task.queue, task.tenant)

    def claimed(self, activity_id: str) -> Claim | None:
        return self._here.claimed(activity_id)

    async def set_leases(self, leases: Mapping[str, int]) -> None:
        """Have the table, whose clock rules leases, expect renewals by then. One as long as those that rows are born
        with runs already, and is not told: a round trip less before such tasks are handed out."""
        for name, lease in leases.items():
            self._here.note_lease(name, lease)
        other = {name: lease for name, lease in leases.items() if lease != self._table.lease}
        claims = [claim for name in other if (claim := self._here.claimed(name)) is not None]
        if claims:
            lengths = [other[claim.activity_id] for claim in claims]
            await self._table.set_leases([claim.task for claim in claims], self.node, lengths)

    async def renew(self, activity_id: str) -> bool:
        """Prolong the lease by the table's own clock; heartbeats that come together are one statement. While the table
        cannot be asked, the claim counts as held: its lease ends by itself."""
        if activity_id.count("/") != 3:
            return False
        renewal = self._renewals.get(activity_id)
        if renewal is None:
            renewal = self._renewals[activity_id] = asyncio.get_running_loop().create_future()
            if not self._renewing:
                self._renewing = True
                self._soon(self._renew_all())
        return await asyncio.shield(renewal)

    async def _renew_all(self) -> None:
        while self._renewals:
            renewals, self._renewals = self._renewals, {}
            held = await self._renewed(list(renewals))
            for (activity_id, renewal), still in zip(renewals.items(), held, strict=True):
                if still:
                    await self._here.renew(activity_id)
                else:
                    self._here.finish(activity_id)
                if not renewal.done():
                    renewal.set_result(still)
        self._renewing = False

    async def _renewed(self, activity_ids: list[str]) -> list[bool]:
        named = [_split(activity_id) for activity_id in activity_ids]
        try:
            held = await self._table.renew([task for task, _ in named], [node for _, node in named])
            await self._tell_deadlines(activity_ids)
        except HeadgateError:
            return [True] * len(named)
        return held

    async def _tell_deadlines(self, activity_ids: Sequence[str]) -> None:
        """Tell the table how long claims may last: where this node dies, another stops their workers in time."""
        claims = [claim for name in activity_ids if (claim := self._here.claimed(name)) is not None]
        if claims:
            seconds = [self._here.seconds_left(claim) for claim in claims]
            await self._table.set_deadlines([claim.task for claim in claims], self.node, seconds)

    def set_deadline(self, activity_id: str, deadline: int) -> None:
        self._here.set_deadline(activity_id, deadline)

    def finish(self, activity_id: str) -> None:
        """The claim is over; its row goes with the append that says so."""
        self._here.finish(activity_id)

    def discard(self, activity_id: str) -> None:
        claim = self._here.claimed(activity_id)
        self._here.finish(activity_id)
        if claim is not None:
            self._soon(self._table.remove([claim.task], self.node))

    def drop(self, run_id: str) -> list[Claim]:
        return self._here.drop(run_id)

    def let_go(self, run_id: str) -> list[Task]:
        waiting = self._here.waiting_of(run_id)
        self._here.drop(run_id)
        return waiting

    async def claims_of(self, run_id: str) -> list[Claim]:
        """Return what is in somebody's hands; what waits in another node's line is told as such, too."""
        waiting = set(self._here.waiting_of(run_id))
        return [claim for claim in await self._table.claims_of(run_id) if claim.task not in waiting]

    def overdue(self, now: int) -> list[Claim]:
        return self._here.overdue(now)

    def next_deadline(self) -> int | None:
        return self._here.next_deadline()

    def depth(self, queue: str) -> int:
        return self._here.depth(queue)

    async def lengths(self) -> list[Length]:
        return await self._table.lengths()

    # --- Among other nodes -------------------------------------------------------------------------------------------

    def wake(self, queues: Sequence[str]) -> None:
        self._told += 1
        named = [asked for asked in self._asked if not queues or asked[0] in queues]
        for asked in named:
            self._looked_at.pop(asked, None)
            self._here.wake(*asked)

    async def give_away(self) -> None:
        now = asyncio.get_running_loop().time()
        self._waits_since = {task: self._waits_since.get(task, now) for task in self._here.in_line()}
        due = [task for task, since in self._waits_since.items() if now - since >= GIVE_AWAY_AFTER_SECONDS]
        if due:
            for task in due:
                self._here.withdraw(task)
            await self._table.release(due, self.node)

    def held(self) -> list[Claim]:
        return self._here.claims()

    async def ended_elsewhere(self) -> list[Claim]:
        """What has no row twice in a row: once it may be that its end is in the log, and not told here yet."""
        claims = self._here.claims()
        over: list[Claim] = []
        for first in range(0, len(claims), ASKED_TOGETHER_MAX):
            some = claims[first : first + ASKED_TOGETHER_MAX]
            held = await self._table.holds([claim.task for claim in some], self.node)
            over += [claim for claim, still in zip(some, held, strict=True) if not still]
        before, self._over = self._over, {claim.activity_id for claim in over}
        return [claim for claim in over if claim.activity_id in before]

    async def close(self) -> None:
        """Free what waits here, and end what is under way."""
        await asyncio.gather(*self._work, return_exceptions=True)
        if waiting := self._here.in_line():
            await self._table.release(waiting, self.node)

    def _soon(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._work.discard(task)
        if not task.cancelled():
            task.exception()  # a row that was not changed: its lease, or the nodes' patrol, sees to it


def _split(activity_id: str) -> tuple[Task, str]:
    """Return the task of a claim, without its queue, and the node that holds it."""
    run_id, place, attempt, claim = activity_id.split("/")
    return Task("", run_id, place, int(attempt) if attempt.isdigit() else 0), claim[:NODE_CHARACTERS]
