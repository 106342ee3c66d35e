"""The tasks of a log in PostgreSQL as rows: claimed by many nodes, inserted and deleted by the appends themselves.

A run's only task, born in a node's hands, is kept in the run's own row instead (`postgres_append.sql`). It is the
node's while that is alive, and becomes a row when more than its end is asked of it.

The rows are a projection: `truncate queue` loses nothing but the leases, and the nodes put back what is missing. The
server's clock rules leases. A claim is durable before it is given, so that no crash of the server gives it twice; a
lost renewal is a shorter lease.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from headgate.ports import EVERYTHING, Claim, Hint, Length, Offer, Overdue, Task
from headgate.stores.postgres_errors import Address
from headgate.stores.postgres_lines import SETTINGS_TO_APPEND, Line, Lines, dial
from headgate.stores.postgres_rows import clean
from headgate.stores.queries import load_queries

__all__ = ["PostgresTasks"]

CLAIM_LINES_MAX = 1
KEEPING_LINES_MAX = 1
"""Renewals and the like have a line of their own, so that they wait for no claim."""
SPARE_MICROSECONDS = 100_000
"""How long a free task is left to the node that has decided it."""
HINT_BYTES_MAX = 7_500
"""PostgreSQL takes 8,000; a hint beyond says `everything`."""
HEAR_AGAIN_SECONDS = 1.0

SQL = load_queries("postgres.sql")

Result = TypeVar("Result")


class PostgresTasks:
    """`ports.TaskTable`. Its connections are made when they are first used."""

    def __init__(self, address: Address, schema: str, patience_seconds: float, lease: int) -> None:
        self._address, self._schema, self._patience_seconds = address, schema, patience_seconds
        self.lease = lease
        self._claiming = Lines(address, schema, CLAIM_LINES_MAX, SETTINGS_TO_APPEND)
        renewals = {**SETTINGS_TO_APPEND, "synchronous_commit": "off"}
        self._keeping = Lines(address, schema, KEEPING_LINES_MAX, renewals)
        self._channel = f"headgate_{schema}"[:63]

    async def claim(
        self, queues: Sequence[str], *, node: str, worker_id: str, count: int, tenant: str | None = None
    ) -> list[tuple[Task, int]]:
        asked = ([clean(name) for name in queues], node, clean(worker_id), count)
        rows = await self._all("claim_tasks", *asked, self.lease, SPARE_MICROSECONDS, tenant, lines=self._claiming)
        return [
            (Task(queue, run_id, place, attempt, owner), version)
            for run_id, place, attempt, queue, owner, version in rows
        ]

    async def stay_alive(self, node: str) -> None:
        await self._all("stay_alive", node, self.lease, lines=self._claiming)

    async def add(self, offers: Sequence[Offer]) -> None:
        """Insert each by itself: whoever waits here for another's row holds no other."""

        async def insert(line: Line) -> None:
            await self._put_down(line, [offer.run_id for offer in offers])
            for offer in offers:
                await line.connection.execute(SQL["add_task"], *offer[:6], offer.tenant)

        await self._asked(insert, self._keeping)

    async def renew(self, tasks: Sequence[Task], nodes: Sequence[str]) -> list[bool]:
        rows = await self._as_rows("renew_tasks", *_keys(tasks), list(nodes), self.lease)
        held = {row[0] for row in rows}
        return [number in held for number in range(1, len(tasks) + 1)]

    async def holds(self, tasks: Sequence[Task], node: str) -> list[bool]:
        held = {row[0] for row in await self._all("held_tasks", *_keys(tasks), node)}
        return [number in held for number in range(1, len(tasks) + 1)]

    async def set_leases(self, tasks: Sequence[Task], node: str, leases: Sequence[int]) -> None:
        await self._as_rows("set_leases", *_keys(tasks), node, list(leases))

    async def set_deadlines(self, tasks: Sequence[Task], node: str, seconds: Sequence[float | None]) -> None:
        left = [None if one is None else int(one * 1_000_000) for one in seconds]
        await self._all("set_deadlines", *_keys(tasks), node, left)

    async def release(self, tasks: Sequence[Task], node: str) -> None:
        await self._as_rows("release_tasks", *_keys(tasks), node)

    async def remove(self, tasks: Sequence[Task], node: str) -> None:
        await self._as_rows("remove_tasks", *_keys(tasks), node)

    async def claims_of(self, run_id: str) -> list[Claim]:
        rows = await self._all("claims_of_run", clean(run_id))
        return [_claim(row) for row in rows]

    async def overdue(self, node: str, limit: int) -> list[Overdue]:
        await self._all("put_down_of_dead", node)
        rows = await self._all("overdue_tasks", node, limit, self.lease)
        return [_overdue(*row) for row in rows]

    async def missing(self, before: int, limit: int) -> list[str]:
        return [row[0] for row in await self._all("missing_tasks", before, limit)]

    async def lengths(self) -> list[Length]:
        return [Length(*row) for row in await self._all("queue_lengths")]

    # --- Hints -----------------------------------------------------------------------------------------------------

    async def tell(self, hint: Hint) -> None:
        text = msgspec.json.encode(hint).decode()
        if len(text.encode()) > HINT_BYTES_MAX:
            text = msgspec.json.encode(Hint(hint.node, everything=True)).decode()
        await self._all("tell", self._channel, text)

    async def hear(self, told: Callable[[Hint], None]) -> None:
        while True:
            with contextlib.suppress(Exception):  # whatever it was: a hint is not needed, and the next try tells
                await self._hear(told)
            await asyncio.sleep(HEAR_AGAIN_SECONDS)

    async def _hear(self, told: Callable[[Hint], None]) -> None:
        """Listen until the connection breaks."""
        broken = asyncio.Event()
        connection = (await dial(self._address, self._schema, {})).connection

        def heard(_: object, __: int, ___: str, text: object) -> None:
            try:
                told(msgspec.json.decode(str(text), type=Hint))
            except msgspec.MsgspecError:  # of another release, or from a stranger
                told(EVERYTHING)

        try:
            connection.add_termination_listener(lambda _: broken.set())
            await connection.add_listener(self._channel, heard)
            told(EVERYTHING)  # before this nobody listened
            await broken.wait()
        finally:
            connection.terminate()

    # --- How it is asked -------------------------------------------------------------------------------------------

    async def _all(self, name: str, *parameters: Any, lines: Lines | None = None) -> list[Any]:
        return await self._asked(lambda line: line.connection.fetch(SQL[name], *parameters), lines or self._keeping)

    async def _as_rows(self, name: str, run_ids: list[str], *parameters: Any) -> list[Any]:
        """Ask something of tasks that have rows only then."""

        async def ask(line: Line) -> list[Any]:
            await self._put_down(line, run_ids)
            return await line.connection.fetch(SQL[name], run_ids, *parameters)

        return await self._asked(ask, self._keeping)

    async def _put_down(self, line: Line, run_ids: list[str]) -> None:
        await line.connection.execute(SQL["put_down"], run_ids, self.lease)

    async def _asked(self, ask: Callable[[Line], Awaitable[Result]], lines: Lines) -> Result:
        """Do what may be done twice."""
        return await lines.asked(ask, patience_seconds=self._patience_seconds, so_far="No task was changed.")

    async def close(self) -> None:
        await self._claiming.close()
        await self._keeping.close()


def _keys(tasks: Sequence[Task]) -> tuple[list[str], list[str], list[int]]:
    return [task.run_id for task in tasks], [task.place for task in tasks], [task.attempt for task in tasks]


def _claim(row: Any) -> Claim:
    queue, run_id, place, attempt, tenant, holder, worker, claimed_at, lease_until, deadline = row
    task = Task(queue, run_id, place, attempt, tenant)
    return Claim(f"{run_id}/{place}/{attempt}/{holder}", task, worker, claimed_at, lease_until, deadline)


def _overdue(
    queue: str,
    run_id: str,
    place: str,
    attempt: int,
    tenant: str,
    worker: str,
    claimed_at: int,
    held: int,
    deadline_passed: bool,
) -> Overdue:
    task = Task(queue, run_id, place, attempt, tenant)
    return Overdue(task, worker, claimed_at, held / 1_000_000, deadline_passed)
