"""Tables of tasks to try, their rows as a test makes them and looks at them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url, sql

from headgate.ports import Offer, Task
from headgate.stores.postgres import PostgresLog

__all__ = ["LEASE_SECONDS", "age", "claim", "nodes", "offer", "task"]

LEASE_SECONDS = 30.0


@asynccontextmanager
async def nodes(count: int = 2, *, lease_seconds: float = LEASE_SECONDS) -> AsyncGenerator[list[PostgresLog]]:
    """Yield logs of so many nodes on the same empty tables."""
    first = empty_postgres_log()
    await first.close()
    logs = [PostgresLog(server_url(), schema=SCHEMA, lease_seconds=lease_seconds) for _ in range(count)]
    try:
        yield logs
    finally:
        for log in logs:
            await log.close()


def offer(place: str, *, run: str = "run-1", attempt: int = 1, queue: str = "std", node: str = "", held: bool = False):
    return Offer(run, place, attempt, queue, 7, node, held)


def task(place: str, *, run: str = "run-1", attempt: int = 1, queue: str = "std") -> Task:
    return Task(queue, run, place, attempt)


async def claim(log: PostgresLog, node: str, count: int = 10, queue: str = "std") -> list[Task]:
    return [one for one, _ in await log.tasks.claim([queue], node=node, worker_id="w", count=count)]


async def age(seconds: float) -> None:
    """Let the rows be so much older."""
    columns = ("offered_at", "claimed_at", "lease_until", "deadline")
    await sql("update queue set " + ", ".join(f"{name} = {name} - {int(seconds * 1e6)}" for name in columns))
