"""Tasks on their way to workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from headgate.ports.tenants import DEFAULT_TENANT

__all__ = [
    "EVERYTHING",
    "LEASE_MICROSECONDS",
    "Claim",
    "Hint",
    "Length",
    "Offer",
    "Overdue",
    "Queue",
    "SharedQueue",
    "Task",
    "TaskTable",
]

LEASE_MICROSECONDS = 30_000_000
"""Of whoever sends heartbeats: three of them."""


class Task(NamedTuple):
    """One attempt of one place, waiting to be claimed."""

    queue: str
    run_id: str
    place: str
    attempt: int
    tenant: str = DEFAULT_TENANT


class Claim(msgspec.Struct, gc=False):
    """A task in the hands of a worker, until `lease_until` and at most until `deadline` (microseconds)."""

    activity_id: str
    task: Task
    worker_id: str
    claimed_at: int
    lease_until: int
    deadline: int
    lease: int = LEASE_MICROSECONDS
    """How long the lease is, from each renewal."""
    version: int = 0
    """Of the run when the task was scheduled, where another process may have done that; 0: it was this one."""


class Length(NamedTuple):
    """How many tasks of a queue wait for a worker, and how many are in somebody's hands."""

    queue: str
    waiting: int
    held: int


class Queue(Protocol):
    """Tasks on their way to workers: a projection of the log, which may be dropped and rebuilt at any time."""

    def put(self, task: Task) -> None:
        """Offer a task. Offering one that is offered or claimed already changes nothing."""
        ...

    async def take(
        self, queues: Sequence[str], *, worker_id: str, count: int, wait_seconds: float, tenant: str | None = None
    ) -> list[Claim]:
        """Claim up to `count` tasks, a tenant's oldest first; wait for the first one at most `wait_seconds`.

        `tenant` given: that tenant's alone; None: of all tenants, which take turns."""
        ...

    def claimed(self, activity_id: str) -> Claim | None: ...

    async def set_leases(self, leases: Mapping[str, int]) -> None:
        """Have each claim be overdue when nobody has renewed it for so many microseconds, from now on. Before that it
        is kept by the process it was taken in."""
        ...

    async def renew(self, activity_id: str) -> bool:
        """Prolong a claim's lease; return whether the claim is still held."""
        ...

    def set_deadline(self, activity_id: str, deadline: int) -> None: ...

    def finish(self, activity_id: str) -> None:
        """The claim is over. A claim that is not known is no error."""
        ...

    def discard(self, activity_id: str) -> None:
        """The same for a claim whose task is not to be done, or not now: it is not offered any more."""
        ...

    def drop(self, run_id: str) -> list[Claim]:
        """Take back the run's tasks that nobody has claimed; return its claims."""
        ...

    async def claims_of(self, run_id: str) -> list[Claim]:
        """Return the run's claims, in whichever process they are held."""
        ...

    def overdue(self, now: int) -> list[Claim]:
        """Return claims past their lease or deadline; one that outlives its lease for seconds more is told of again."""
        ...

    def next_deadline(self) -> int | None:
        """Return when `overdue` is to be asked again: not later than the first of them is."""
        ...

    def depth(self, queue: str) -> int: ...

    async def lengths(self) -> list[Length]:
        """Return the queues that have tasks, by name; of many processes, as all of them see it."""
        ...


# --- Of many processes -----------------------------------------------------------------------------------------------


class Offer(NamedTuple):
    """A task as a row beside the log, which the append that schedules it inserts.

    `node`: who has decided it, and may claim it at once; empty: anybody may. `held`: it is born in that node's hands.
    `version` is that of the run after the event that scheduled it.
    """

    run_id: str
    place: str
    attempt: int
    queue: str
    version: int
    node: str
    held: bool
    tenant: str = DEFAULT_TENANT


class Overdue(NamedTuple):
    """A task whose claim has outlived its lease, or its `deadline_passed`. Whoever is given it sees to it."""

    task: Task
    worker_id: str
    claimed_at: int
    held_seconds: float
    deadline_passed: bool


class Hint(msgspec.Struct, frozen=True):
    """What a node tells the others that it has done. It may get lost: whoever waits looks by itself, more rarely."""

    node: str = ""
    queues: tuple[str, ...] = ()
    """Where tasks are free."""
    runs: tuple[str, ...] = ()
    """Which have new events."""
    cancelled: tuple[str, ...] = ()
    """Of which nothing is to be done any more."""
    budgets: tuple[str, ...] = ()
    """Where there is room."""
    settled: bool = False
    """A model call has ended: its rates may have room."""
    everything: bool = False
    """Too much to be named, or nobody knows what was missed."""


EVERYTHING = Hint(everything=True)


class TaskTable(Protocol):
    """The tasks of a log that many processes write: rows that stand and fall with the events (`Append.offers`, `over`).

    What every table keeps true, tested by tests/conformance/test_task_table.py:

    1. A row is free, or in the hands of one node until its lease is over. The store's clock rules leases.
    2. Of two that claim, or see to what is overdue, at the same moment, one gets the row.
    3. A lease that is over is renewed by nobody: the row goes to whoever sees to it.
    4. A task that was born in a node's hands may have no row before more than its end is asked of it. It is the node's
       as long as that says that it is alive (`stay_alive`).
    """

    @property
    def lease(self) -> int:
        """Return how long a lease is that nobody has set, in microseconds, from the claim and from each renewal."""
        ...

    async def claim(
        self, queues: Sequence[str], *, node: str, worker_id: str, count: int, tenant: str | None = None
    ) -> list[tuple[Task, int]]:
        """Claim up to `count` free tasks for a node, of one `tenant` or of any, with the versions they were scheduled
        at: its own first, oldest first, then those of others that nobody has claimed for a while."""
        ...

    async def stay_alive(self, node: str) -> None:
        """Keep what was born in the node's hands its own for the length of a lease, from now on. A node says so before
        anything is born in its hands, and again well before that time is over."""
        ...

    async def add(self, offers: Sequence[Offer]) -> None:
        """Insert rows that got lost; those that are there stay as they are."""
        ...

    async def renew(self, tasks: Sequence[Task], nodes: Sequence[str]) -> list[bool]:
        """Prolong the lease of each task that is in the hands of its node; return which are."""
        ...

    async def holds(self, tasks: Sequence[Task], node: str) -> list[bool]:
        """Return which of the tasks are in the node's hands."""
        ...

    async def set_leases(self, tasks: Sequence[Task], node: str, leases: Sequence[int]) -> None:
        """Give what the node holds leases of so many microseconds, from now on and from each renewal."""
        ...

    async def set_deadlines(self, tasks: Sequence[Task], node: str, seconds: Sequence[float | None]) -> None:
        """Have claims be overdue after so many seconds, counted from now, whoever keeps their leases."""
        ...

    async def release(self, tasks: Sequence[Task], node: str) -> None:
        """Free what the node holds."""
        ...

    async def remove(self, tasks: Sequence[Task], node: str) -> None:
        """Remove the rows that the node holds."""
        ...

    async def claims_of(self, run_id: str) -> list[Claim]:
        """Return what is in somebody's hands."""
        ...

    async def overdue(self, node: str, limit: int) -> list[Overdue]:
        """Take overdue claims into the node's hands, those of nodes that are not alive among them, and return them."""
        ...

    async def lengths(self) -> list[Length]:
        """Return the queues that have rows, by name: how many are free, and how many in the hands of nodes."""
        ...

    async def missing(self, before: int, limit: int) -> list[str]:
        """Return runs that were last changed before then and hold more tasks than they have rows."""
        ...

    async def tell(self, hint: Hint) -> None:
        """Tell the other nodes."""
        ...

    async def hear(self, told: Callable[[Hint], None]) -> None:
        """Call back with what other nodes tell; with `EVERYTHING` whenever something may have been missed. For ever."""
        ...


class SharedQueue(Queue, Protocol):
    """A queue of one process of many, in front of a `TaskTable`."""

    @property
    def node(self) -> str:
        """Return this process's name among the others: as new as the process."""
        ...

    def offer(self, task: Task, version: int, beside: int) -> Offer:
        """Return the row of a task that is decided here, with so many `beside` it in the same append: held if a worker
        here is likely to do it at once."""
        ...

    def born(self, offers: Sequence[Offer]) -> None:
        """These rows are committed: what is held waits for a worker here."""
        ...

    def wake(self, queues: Sequence[str]) -> None:
        """There may be free tasks in these; empty: in any."""
        ...

    def let_go(self, run_id: str) -> list[Task]:
        """Take back the run's tasks that wait here for a worker, and return them."""
        ...

    def held(self) -> list[Claim]:
        """Return what workers of this node hold."""
        ...

    async def ended_elsewhere(self) -> list[Claim]:
        """Return claims of this node's workers that are over, since the last time this was asked at least: reported to
        another node, or given up by one."""
        ...

    async def give_away(self) -> None:
        """Free what has waited here for seconds. To be called every few."""
        ...

    async def close(self) -> None:
        """Free what waits here."""
        ...
