"""Tasks on their way to workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from headgate.ports.log import DEFAULT_TENANT

__all__ = ["Claim", "Queue", "Task"]


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

    def renew(self, activity_id: str, lease_until: int) -> bool: ...

    def set_deadline(self, activity_id: str, deadline: int) -> None: ...

    def finish(self, activity_id: str) -> None:
        """The claim is over. A claim that is not known is no error."""
        ...

    def drop(self, run_id: str) -> list[Claim]:
        """Take back the run's tasks that nobody has claimed; return its claims."""
        ...

    def claims_of(self, run_id: str) -> list[Claim]:
        """Return the run's claims."""
        ...

    def overdue(self, now: int) -> list[Claim]:
        """Return claims past their lease or deadline."""
        ...

    def next_deadline(self) -> int | None: ...

    def depth(self, queue: str) -> int: ...
