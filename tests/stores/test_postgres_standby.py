"""A PostgreSQL with a standby that follows it: what a node does when the one falls and the other takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
import pytest
from tests.postgres_logs import SCHEMA
from tests.servers import PrivatePostgres, Standby, private_postgres, private_standby

from headgate.cli.doctor_postgres import look_at_postgres
from headgate.core.errors import Invalid
from headgate.engine.audit import verify
from headgate.stores.postgres import PostgresLog
from headgate.stores.postgres_errors import HOSTS_MAX, Address
from headgate.stores.postgres_session import TakesNoWrites
from headgate.testing.log_conformance import HandmadeRun, on_a_loop

PATIENT_SECONDS = 60.0
LOOK_SECONDS = 0.02
WAITING_FOR_STANDBY = "select pid from pg_stat_activity where wait_event = 'SyncRep'"


@pytest.fixture(scope="module")
def primary() -> Iterator[PrivatePostgres]:
    with private_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def standby(primary: PrivatePostgres) -> Iterator[Standby]:
    with private_standby(primary) as server:
        yield server


def both(first: PrivatePostgres, second: PrivatePostgres) -> str:
    """Return an address that names both servers."""
    hosts = [server.url.partition("@")[2].partition("/")[0] for server in (first, second)]
    return f"postgresql://postgres@{','.join(hosts)}/postgres"


async def sql(server: PrivatePostgres, statement: str, *parameters: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(server.url, server_settings={"search_path": SCHEMA})
    try:
        return await connection.fetch(statement, *parameters)
    finally:
        await connection.close()


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait for something that a server does."""
    async with asyncio.timeout(PATIENT_SECONDS):
        while not await holds():  # noqa: ASYNC110 - only the servers know
            await asyncio.sleep(LOOK_SECONDS)


async def written(server: PrivatePostgres, run_id: str) -> None:
    log = PostgresLog(server.url, schema=SCHEMA)
    assert await HandmadeRun(log, run_id).commit() == "accepted"
    await log.close()


async def caught_up(primary: PrivatePostgres, standby: Standby) -> None:
    """Return when the standby shows what the primary has committed."""
    (end,) = await sql(primary, "select pg_current_wal_flush_lsn()::text as wal")
    await until(lambda: reached(standby, end["wal"]))


async def reached(standby: Standby, wal: str) -> bool:
    return (await sql(standby, "select pg_last_wal_replay_lsn() >= $1::text::pg_lsn", wal))[0][0]


async def set_standbys_to_wait_for(primary: PrivatePostgres, names: str) -> None:
    """From here on what the primary acknowledges is with one of these; *: with any."""
    await sql(primary, f"alter system set synchronous_standby_names = '{names}'")
    await sql(primary, "select pg_reload_conf()")
    if names:
        await until(lambda: sql(primary, "select from pg_stat_replication where sync_state = 'sync'"))


@on_a_loop
async def test_of_several_servers_the_one_is_taken_that_takes_writes(primary: PrivatePostgres, standby: Standby):
    for url in (
        both(primary, standby),
        both(standby, primary),
        f"{both(standby, primary)}?target_session_attrs=primary",
    ):
        log = PostgresLog(url, schema=SCHEMA)

        row = await log.fetch("select inet_server_port() as port")

        assert f":{row[0]['port']}/" in primary.url
        await log.close()


@on_a_loop
async def test_a_node_that_finds_a_standby_alone_says_so_and_who_reads_is_answered(
    primary: PrivatePostgres, standby: Standby
):
    await written(primary, "run-1")
    await caught_up(primary, standby)
    node, reader = PostgresLog(standby.url, schema=SCHEMA), PostgresLog(standby.url, schema=SCHEMA, read_only=True)

    with pytest.raises(TakesNoWrites, match=r"127\.0\.0\.1:\d+/postgres is a standby.*Promote it, or name the primary"):
        await node.runs()

    assert await reader.run("run-1") is not None
    found = await asyncio.to_thread(lambda: list(look_at_postgres(Address(f"{standby.url}?schema={SCHEMA}"))))
    assert [(one.name, one.status) for one in found[:1]] == [("database", "bad")]
    assert "a standby" in found[0].text
    await node.close()
    await reader.close()


@pytest.mark.parametrize("begins", [True, False], ids=["a run begins", "a run goes on"])
@on_a_loop
async def test_a_commit_whose_wait_for_the_standby_was_cut_off_is_told_when_it_is_there(
    primary: PrivatePostgres, standby: Standby, begins: bool
):
    log = PostgresLog(primary.url, schema=SCHEMA, patience_seconds=PATIENT_SECONDS)
    run = HandmadeRun(log, f"waited-for-{begins}")
    if not begins:
        await run.commit()
    await set_standbys_to_wait_for(primary, "*")
    standby.stop()
    item = run.append()
    commit = asyncio.create_task(log.commit([item]))
    await until(lambda: sql(primary, WAITING_FOR_STANDBY))

    cut_off = await sql(primary, f"select pg_terminate_backend(pid), pid from ({WAITING_FOR_STANDBY}) as waiting")
    first = [row["pid"] for row in cut_off]
    await until(lambda: told_or_waiting(primary, commit, first))
    told_without_standby = commit.done()
    shown = await sql(primary, "select version from runs where id = $1", run.id)
    standby.start()

    assert await commit == ["accepted"]
    assert not told_without_standby
    assert shown[0]["version"] == item.rows[-1][1], "the server has it, and shows it"
    await caught_up(primary, standby)
    assert await sql(standby, "select from runs where id = $1 and version = $2", run.id, item.rows[-1][1])
    await set_standbys_to_wait_for(primary, "")
    await log.close()


async def told_or_waiting(primary: PrivatePostgres, commit: asyncio.Task[list[str]], first: list[int]) -> bool:
    waiting = await sql(primary, f"select from ({WAITING_FOR_STANDBY}) as waiting where pid <> all ($1)", first)
    return commit.done() or bool(waiting)


@on_a_loop
async def test_a_server_that_is_set_read_only_is_named_as_that(primary: PrivatePostgres):
    log = PostgresLog(primary.url, schema=SCHEMA)
    await sql(primary, "alter database postgres set default_transaction_read_only = on")

    with pytest.raises(TakesNoWrites, match="default_transaction_read_only is on"):
        await log.runs()

    direct = await asyncpg.connect(primary.url, server_settings={"default_transaction_read_only": "off"})
    await direct.execute("alter database postgres reset default_transaction_read_only")
    await direct.close()
    assert await log.runs() is not None
    await log.close()


@on_a_loop
async def test_when_the_primary_has_fallen_a_node_waits_for_the_standby_and_goes_on(
    primary: PrivatePostgres, standby: Standby, caplog: pytest.LogCaptureFixture
):
    log = PostgresLog(both(primary, standby), schema=SCHEMA, patience_seconds=PATIENT_SECONDS)
    run = HandmadeRun(log, "falls")
    await set_standbys_to_wait_for(primary, "*")
    await run.commit()
    primary.kill()
    commit = asyncio.create_task(log.commit([run.append()]))
    await until(lambda: troubled(log))
    while_it_waits = log.trouble

    standby.promote()

    assert await commit == ["accepted"]
    assert "is a standby" in while_it_waits
    assert log.trouble == ""
    assert [one.message for one in caplog.records if one.levelname == "WARNING"] == [while_it_waits]
    assert await verify(log) == []
    await log.close()


async def troubled(log: PostgresLog) -> bool:
    return bool(log.trouble)


# --- Addresses -------------------------------------------------------------------------------------------------


def test_an_address_may_name_several_servers():
    address = Address("postgresql://ann:geheim@one:6000,[::1],three/base?schema=mine&sslmode=require")

    assert address.schema == "mine"
    assert address.servers == [
        "postgresql://ann:geheim@one:6000/base?sslmode=require",
        "postgresql://ann:geheim@[::1]/base?sslmode=require",
        "postgresql://ann:geheim@three/base?sslmode=require",
    ]
    assert str(address) == "postgresql://one:6000,::1:5432,three:5432/base"


@pytest.mark.parametrize("hosts", ["one:port,two", ",".join(["one"] * (HOSTS_MAX + 1))])
def test_an_address_that_names_servers_wrongly_is_invalid_and_not_shown(hosts: str):
    with pytest.raises(Invalid, match=f"at most {HOSTS_MAX} times") as raised:
        Address(f"postgresql://ann:geheim@{hosts}/base")

    assert "geheim" not in str(raised.value)
