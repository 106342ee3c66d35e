"""PostgreSQL behind a pooler, a real PgBouncer: what works, and what is refused before anything is done."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url
from tests.servers import private_pooler

from headgate.cli.doctor_postgres import look_at_postgres
from headgate.engine.audit import verify
from headgate.ports import Hint
from headgate.stores import postgres_session
from headgate.stores.postgres import LANES_MAX, PostgresLog
from headgate.stores.postgres_errors import Address, PoolerSharesSessions, kind_of
from headgate.stores.postgres_queue import CLAIM_LINES_MAX, KEEPING_LINES_MAX
from headgate.stores.postgres_reading import HASTY_MAX, READERS_MAX
from headgate.stores.postgres_session import NODE_SESSIONS_MAX, PoolTooSmall, begin_session
from headgate.testing.log_conformance import HandmadeRun, on_a_loop

LISTENERS = 2
FOR_NUMBERS = 1


@on_a_loop
async def test_through_a_pooler_that_keeps_sessions_runs_are_written_and_nodes_hear_each_other():
    await tables_made()
    with private_pooler(server_url(), pool_mode="session") as pooler:
        node, other = PostgresLog(pooler.url, schema=SCHEMA), PostgresLog(pooler.url, schema=SCHEMA)
        heard: asyncio.Queue[Hint] = asyncio.Queue()
        hearing = asyncio.ensure_future(other.tasks.hear(heard.put_nowait))
        run = HandmadeRun(node, "run-1")

        await node.require_room()
        await run.commit()
        assert (await heard.get()).everything, "it listens now"
        await node.tasks.tell(Hint("node", runs=("run-1",)))
        told = await heard.get()
        settings = dict(await node.fetch("select name, setting from pg_settings where name = any ($1)", list(SETTINGS)))

        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        assert told == Hint("node", runs=("run-1",))
        assert settings == SETTINGS
        assert await verify(other) == []
        await node.close()
        await other.close()


SETTINGS = {"search_path": SCHEMA, "synchronous_commit": "on", "jit": "off"}


@pytest.mark.parametrize(
    "settings",
    [{"pool_mode": "transaction"}, {"pool_mode": "transaction", "server_round_robin": 1}, {"pool_mode": "statement"}],
    ids=str,
)
@on_a_loop
async def test_a_pooler_that_shares_sessions_is_refused_before_anything_is_set_in_them(settings: dict[str, object]):
    with private_pooler(server_url(), **settings) as pooler:
        several = [await asyncpg.connect(pooler.url, statement_cache_size=0) for _ in range(3)]
        await asyncio.gather(*(one.execute("select pg_sleep(0.1)") for one in several))  # so that it has three sessions
        log = PostgresLog(pooler.url, schema="not_made")

        with pytest.raises(PoolerSharesSessions, match=r"127\.0\.0\.1:\d+/postgres is a pooler .*pool_mode = session"):
            await log.runs()

        paths = await asyncio.gather(*(one.fetchval(PATH_SLOWLY) for one in several))
        assert paths == ['"$user", public'] * 3
        direct = await asyncpg.connect(server_url())
        assert await direct.fetchval("select to_regnamespace('not_made')") is None
        await direct.close()
        await log.close()
        for one in several:
            await one.close()


PATH_SLOWLY = "select current_setting('search_path') from pg_sleep(0.1)"


@pytest.mark.parametrize("statement", ["execute lost", "prepare mine as select 1"])
@on_a_loop
async def test_a_prepared_statement_that_is_lost_or_anothers_says_that_a_pooler_shares_sessions(statement: str):
    """As after a reload of the pooler that has changed its mode: nobody looks at it again."""
    connection = await asyncpg.connect(server_url())
    await connection.execute("prepare mine as select 2")
    with pytest.raises(asyncpg.PostgresError) as raised:
        await connection.execute(statement)
    await connection.close()

    problem = Address(server_url()).problem(raised.value, "Nothing was changed.")

    assert kind_of(raised.value) == "refused"
    assert isinstance(problem, PoolerSharesSessions)
    assert "Set pool_mode = session for this database" in problem.message


@on_a_loop
async def test_a_pool_with_less_than_a_node_needs_is_refused_when_the_node_begins(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgres_session, "CONNECT_SECONDS_MAX", 0.5)
    with private_pooler(server_url(), pool_mode="session", default_pool_size=NODE_SESSIONS_MAX - 1) as pooler:
        log = PostgresLog(pooler.url, schema=SCHEMA)

        with pytest.raises(PoolTooSmall, match=f"gave {NODE_SESSIONS_MAX - 1} of {NODE_SESSIONS_MAX} sessions"):
            await log.require_room()

        await log.close()


@on_a_loop
async def test_a_pool_with_what_a_node_needs_is_enough():
    with private_pooler(server_url(), pool_mode="session", default_pool_size=NODE_SESSIONS_MAX) as pooler:
        log = PostgresLog(pooler.url, schema=SCHEMA)

        await log.require_room()

        await log.close()
    lines = LANES_MAX + READERS_MAX + HASTY_MAX + CLAIM_LINES_MAX + KEEPING_LINES_MAX
    assert lines + LISTENERS + FOR_NUMBERS == NODE_SESSIONS_MAX


@on_a_loop
async def test_without_a_pooler_one_connection_is_made():
    address = Address(server_url())
    connection = await begin_session(address, {"application_name": "alone"}, read_only=True)

    await postgres_session.require_room(connection, address)

    assert await connection.fetchval("select count(*) from pg_stat_activity where application_name = 'alone'") == 1
    assert address.servers_with_sessions == set(address.servers)
    await connection.close()


def test_doctor_says_that_a_pooler_shares_sessions_or_has_too_few(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgres_session, "CONNECT_SECONDS_MAX", 0.5)
    asyncio.run(tables_made())

    with private_pooler(server_url(), pool_mode="transaction") as pooler:
        shared = list(look_at_postgres(Address(f"{pooler.url}?schema={SCHEMA}")))
    with private_pooler(server_url(), pool_mode="session", default_pool_size=5) as pooler:
        small = {one.name: one for one in look_at_postgres(Address(f"{pooler.url}?schema={SCHEMA}"))}

    assert [(one.name, one.status) for one in shared] == [("database", "bad")]
    assert "Set pool_mode = session for this database" in shared[0].text
    assert small["pooler"].status == "note"
    assert "There is no room for one node more." in small["pooler"].text


async def tables_made() -> None:
    log = empty_postgres_log()
    await log.runs()
    await log.close()
