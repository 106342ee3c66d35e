"""Logs in PostgreSQL for tests: one server for the whole session, and one schema, emptied for each log."""

from __future__ import annotations

import asyncio
import atexit
import threading
from contextlib import ExitStack
from urllib.parse import urlsplit

import asyncpg
from tests.servers import postgres_server

from headgate.stores.postgres import PostgresLog

__all__ = ["SCHEMA", "Proxy", "another_node", "empty_postgres_log", "server_url", "sql", "until_blocked"]

SCHEMA = "headgate_test"

_stack = ExitStack()
_urls: list[str] = []


def server_url() -> str:
    """Return the URL of this session's server, which is started when it is first asked for."""
    if not _urls:
        atexit.register(_stack.close)
        _urls.append(_stack.enter_context(postgres_server()))
    return _urls[0]


def empty_postgres_log() -> PostgresLog:
    """Return a log without anything in it."""
    url = server_url()
    thread = threading.Thread(target=asyncio.run, args=(emptied(url),))  # a test that asks may be on a loop
    thread.start()
    thread.join()
    return PostgresLog(url, schema=SCHEMA)


async def emptied(url: str, schema: str = SCHEMA) -> None:
    """Empty the tables, though triggers forbid it: a replica's session has no triggers."""
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetch(
            "select relname from pg_class"
            " where relnamespace = to_regnamespace($1) and relkind = 'r' and relname <> 'meta'",
            schema,
        )
        if found:
            names = ", ".join(f"{schema}.{row['relname']}" for row in found)
            await connection.execute(f"set session_replication_role = replica; truncate {names}")
    finally:
        await connection.close()


def another_node() -> PostgresLog:
    """Return one more node on the same tables."""
    return PostgresLog(server_url(), schema=SCHEMA)


async def sql(statement: str, *parameters: object, url: str = "") -> list[asyncpg.Record]:
    """Ask the tables themselves."""
    connection = await asyncpg.connect(url or server_url(), server_settings={"search_path": SCHEMA})
    try:
        return await connection.fetch(statement, *parameters)
    finally:
        await connection.close()


async def until_blocked(count: int = 1) -> None:
    """Return when so many of our statements wait for a lock."""
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'headgate'"
    while (await sql(waiting))[0][0] < count:  # noqa: ASYNC110 - only the server knows
        await asyncio.sleep(0)


class Proxy:
    """A way to the server that can be cut: `async with Proxy(url) as proxy`, and `proxy.url` leads through it."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._ways: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._when = ""
        self._for_good = False
        self.cuts = 0
        self.asked = 0
        """How often something was sent to the server."""
        self.url = ""

    def cut(self, when: str, *, for_good: bool = False) -> None:
        """Cut the next connection that is used, `before the server has it` or `after the server has done it`."""
        self._when, self._for_good = when, for_good

    def drop(self) -> None:
        """Break all connections now, on this side only: what the server is at, it goes on with."""
        for writer in self._writers:
            writer.transport.abort()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = self._to._replace(netloc=f"{self._to.username}@127.0.0.1:{port}").geturl()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for way in self._ways:
            way.cancel()
        await asyncio.gather(*self._ways, return_exceptions=True)

    async def _take(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        self._ways.add(asyncio.current_task())
        far, forth = await asyncio.open_connection(self._to.hostname, self._to.port or 5432)
        self._writers.add(back)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(near, forth, back, "before the server has it"))
                group.create_task(self._carry(far, back, back, "after the server has done it"))
        except* (ConnectionError, _Cut):
            pass
        finally:
            self._writers.discard(back)
            back.close()
            forth.close()

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, back: asyncio.StreamWriter, here: str
    ) -> None:
        while data := await source.read(1 << 16):
            if self._when == here:
                self._when = ""
                self.cuts += 1
                if self._for_good and self._server is not None:
                    self._server.close()
                back.transport.abort()
                raise _Cut
            self.asked += target is not back
            target.write(data)
            await target.drain()
        raise _Cut


class _Cut(Exception):
    pass
