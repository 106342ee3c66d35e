"""A newer release opens a PostgreSQL database that nodes of the release before are at work on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from tests.postgres_logs import server_url

from headgate.engine.audit import verify
from headgate.stores import postgres_schema
from headgate.stores.postgres import PostgresLog
from headgate.stores.storage import storage_beside
from headgate.testing.clock import NOON, VirtualClock
from headgate.testing.log_conformance import HandmadeRun, on_a_loop

SCHEMA = "upgraded"
PATIENCE_SECONDS = 20.0
LATER = """
alter table runs add column planted bigint not null default 7;
alter table spend add column planted text;
create index events_by_type on events (type);
"""


@pytest.fixture
def quick_locks(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A schema of its own, and no patience with locks."""
    monkeypatch.setattr(postgres_schema, "LOCK_MILLISECONDS_MAX", 50)
    asyncio.run(drop())
    yield monkeypatch
    asyncio.run(drop())


async def drop() -> None:
    async with administrator() as connection:
        await connection.execute(f"drop schema if exists {SCHEMA} cascade")


def release(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on whoever connects is of schema 2."""
    version = postgres_schema.POSTGRES_SCHEMA_VERSION + 1
    load = postgres_schema.load_queries
    monkeypatch.setattr(postgres_schema, "POSTGRES_SCHEMA_VERSION", version)
    monkeypatch.setitem(postgres_schema.ADDED_IN, version, (("later.sql", "later"),))
    monkeypatch.setattr(
        postgres_schema, "load_queries", lambda name: {"later": LATER} if name == "later.sql" else load(name)
    )


@asynccontextmanager
async def administrator() -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})
    try:
        yield connection
    finally:
        await connection.close()


class Busy:
    """A node that appends all the time, from many callers, and reads what it has written."""

    def __init__(self, log: PostgresLog) -> None:
        self.log = log
        self.appends = 0
        self.stopped = False
        self.heads: dict[str, int] = {}

    async def work(self, number: int) -> None:
        run = HandmadeRun(self.log, f"run-{number}")
        while not self.stopped:
            assert await run.commit(["x"], spend=[run.spent(1)] if run.head.version else []) == "accepted"
            self.heads[run.id] = run.head.version
            row = await self.log.run(run.id)
            assert row is not None
            assert row.head == run.head
            self.appends += 1

    async def more(self, count: int, workers: list[asyncio.Task[None]]) -> None:
        wanted = self.appends + count
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.appends < wanted and not any(worker.done() for worker in workers):  # noqa: ASYNC110 - all of them
                await asyncio.sleep(0.001)


@on_a_loop
async def test_a_node_that_writes_goes_on_while_another_brings_the_tables_up_to_date(
    quick_locks: pytest.MonkeyPatch,
):
    old = PostgresLog(server_url(), schema=SCHEMA)
    busy = Busy(old)
    beside = storage_beside(old, VirtualClock())
    await beside.documents.put("k", "t", "n", b"1", at=NOON)
    workers = [asyncio.create_task(busy.work(number)) for number in range(8)]
    await busy.more(100, workers)

    release(quick_locks)
    new = PostgresLog(server_url(), schema=SCHEMA)
    assert len(await new.runs()) == 8
    await busy.more(200, workers)
    busy.stopped = True
    await asyncio.gather(*workers)

    assert await beside.documents.put("k", "t", "n", b"2", at=NOON, expected=1) == 2
    async with administrator() as connection:
        assert await connection.fetchval("select value from meta where name = 'schema'") == 2
        assert await connection.fetchval("select sum(planted) from runs") == 8 * 7
    assert {row.id: row.head.version for row in await new.runs()} == busy.heads
    assert await verify(new) == []
    assert len(await old.spend("run-0")) == busy.heads["run-0"] - 1
    for log in (old, new):
        await log.close()


@on_a_loop
async def test_an_upgrade_that_has_to_wait_for_a_table_keeps_nobody_else_from_it(quick_locks: pytest.MonkeyPatch):
    old = PostgresLog(server_url(), schema=SCHEMA)
    busy = Busy(old)
    workers = [asyncio.create_task(busy.work(number)) for number in range(4)]
    await busy.more(20, workers)
    async with administrator() as reader:
        long_question = reader.transaction()
        await long_question.start()
        await reader.fetch("select count(*) from runs")

        release(quick_locks)
        new = PostgresLog(server_url(), schema=SCHEMA)
        opening = asyncio.create_task(new.runs())
        await busy.more(200, workers)
        waited = not opening.done()
        await long_question.rollback()

    assert waited
    assert len(await opening) == 4
    busy.stopped = True
    await asyncio.gather(*workers)
    for log in (old, new):
        await log.close()
