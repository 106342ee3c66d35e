"""Which databases of PostgreSQL are taken, and who is let in."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest
from tests.postgres_logs import another_node, server_url, sql
from tests.servers import PrivatePostgres

from headgate.core.errors import Invalid, Refused, Unavailable
from headgate.stores import postgres_schema
from headgate.stores.postgres import PostgresLog
from headgate.stores.postgres_errors import Address
from headgate.stores.postgres_schema import POSTGRES_SCHEMA_VERSION, SchemaTooNew
from headgate.testing.log_conformance import HandmadeRun, on_a_loop


@pytest.mark.parametrize("url", ["", "log.db", "mysql://a:geheim@b/c", "postgresql://a:geheim@b:port/c"])
def test_what_is_no_address_of_postgresql_is_invalid_and_not_shown(url: str):
    with pytest.raises(Invalid, match="postgresql://name:password@host:port/database") as raised:
        PostgresLog(url)

    assert "geheim" not in str(raised.value)


def test_a_schema_that_cannot_stand_in_sql_is_invalid():
    with pytest.raises(Invalid, match="a name of a-z"):
        PostgresLog("postgresql://localhost/x", schema="x; drop table runs")


@pytest.mark.parametrize("password", ["geheim", "ge%2Fheim"])
def test_a_password_in_what_a_driver_says_is_not_passed_on(password: str):
    address = Address(f"postgresql://a:{password}@b/c")

    problem = address.problem(OSError("no way to a:ge/heim@b, nor to a:geheim@b, nor to a:ge%2Fheim@b"), "Nothing.")

    said = str(problem)
    assert password not in said
    assert unquote(password) not in said
    assert "b:5432/c cannot be reached" in said


@on_a_loop
async def test_a_wrong_password_is_refused_at_once_and_not_shown(own_server: PrivatePostgres):
    await sql("create role guarded login password 'richtig'", url=own_server.url)
    log = PostgresLog(own_server.url.replace("postgres@", "guarded:geheim@"))

    with pytest.raises(Refused, match=r"127\.0\.0\.1:\d+/postgres lets us not in.*guarded") as raised:
        await log.runs()

    assert "geheim" not in str(raised.value)
    with pytest.raises(Refused, match="lets us not in"):
        log.new_key()
    await sql("drop role guarded", url=own_server.url)


@on_a_loop
async def test_a_server_that_was_never_there_is_told_of_at_once():
    log = PostgresLog("postgresql://someone:geheim@127.0.0.1:1/x", patience_seconds=3_600)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/x cannot be reached") as raised:
        await log.run("run-1")

    assert "geheim" not in str(raised.value)
    await log.close()


@on_a_loop
async def test_a_database_of_a_newer_release_is_refused_and_left_alone(log: PostgresLog):
    await HandmadeRun(log, "run-1").commit()
    await sql("update meta set value = $1 where name = 'schema'", POSTGRES_SCHEMA_VERSION + 1)
    try:
        newer = another_node()
        with pytest.raises(SchemaTooNew, match=f"schema {POSTGRES_SCHEMA_VERSION + 1}; this one knows"):
            await newer.runs()
        await newer.close()
    finally:
        await sql("update meta set value = $1 where name = 'schema'", POSTGRES_SCHEMA_VERSION)
    assert len(await log.runs()) == 1


@on_a_loop
async def test_tables_of_somebody_else_are_refused_and_left_alone():
    await sql("create schema strangers")
    await sql("create table strangers.books ()")
    log = PostgresLog(server_url(), schema="strangers")
    try:
        with pytest.raises(Refused, match="'books' is one"):
            await log.runs()
        assert await sql("select relname from pg_class where relnamespace = 'strangers'::regnamespace") == [("books",)]
    finally:
        await log.close()
        await sql("drop schema strangers cascade")


COUNT = """insert into meta values ('changes', 1) on conflict (name) do update set value = meta.value + 1"""


@on_a_loop
async def test_nodes_that_start_together_make_the_tables_once(monkeypatch: pytest.MonkeyPatch):
    nodes = [PostgresLog(server_url(), schema="together") for _ in range(8)]
    try:
        assert await asyncio.gather(*(node.runs() for node in nodes)) == [[]] * 8
        runs = [HandmadeRun(node, f"run-{number}") for number, node in enumerate(nodes)]
        assert await asyncio.gather(*(run.commit() for run in runs)) == ["accepted"] * 8
        monkeypatch.setattr(postgres_schema, "POSTGRES_SCHEMA_VERSION", 2)
        monkeypatch.setitem(postgres_schema.ADDED_IN, 2, (("later.sql", "count"),))
        monkeypatch.setattr(postgres_schema, "load_queries", lambda _: {"count": COUNT})
        later = [PostgresLog(server_url(), schema="together") for _ in range(8)]
        assert [len(rows) for rows in await asyncio.gather(*(node.runs() for node in later))] == [8] * 8
        nodes += later
        assert await sql("select value from together.meta where name = 'changes'") == [(1,)]
    finally:
        for node in nodes:
            await node.close()
        await sql("drop schema together cascade")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
@on_a_loop
async def test_a_database_of_another_encoding_is_refused_and_nothing_is_made(encoding: str):
    name = f"in_{encoding.lower()}"
    url = urlsplit(server_url())._replace(path=f"/{name}").geturl()
    administrator = await asyncpg.connect(server_url())
    try:
        await administrator.execute(f"drop database if exists {name}")
        await administrator.execute(f"create database {name} encoding '{encoding}' locale 'C' template template0")
        log = PostgresLog(url)
        with pytest.raises(Refused, match=rf"encoding {encoding}; expected UTF8.*create database .* template0"):
            await log.runs()
        await log.close()

        there = await asyncpg.connect(url)
        assert await there.fetchval("select to_regnamespace('headgate')") is None
        await there.close()
    finally:
        await administrator.execute(f"drop database if exists {name} with (force)")
        await administrator.close()


@on_a_loop
async def test_a_role_that_may_not_make_its_tables_is_told_what_it_lacks():
    url = urlsplit(server_url())._replace(netloc=f"poor@{urlsplit(server_url()).netloc.partition('@')[2]}").geturl()
    administrator = await asyncpg.connect(server_url())
    try:
        await administrator.execute("drop role if exists poor; create role poor login")
        log = PostgresLog(url, schema="of_the_poor")
        with pytest.raises(Refused, match=r"says: permission denied for database.*Grant the role what it lacks"):
            await log.runs()
        await log.close()
    finally:
        await administrator.execute("drop role if exists poor")
        await administrator.close()
