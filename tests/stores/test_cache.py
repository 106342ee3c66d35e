"""What the cache in a log's file does beside what every cache does: writing in few statements, and failing well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from headgate.core.errors import Unavailable
from headgate.ports import Reusable
from headgate.stores import cache as cache_module
from headgate.stores.cache import KeptCache
from headgate.stores.cache_table import SqliteCacheTable
from headgate.stores.sqlite import SqliteLog

NOON = 1_800_000_000_000_000
SECOND = 1_000_000


def result(key: bytes = b"k", output: bytes = b'{"a":1}', **fields: Any) -> Reusable:
    given = {"tenant": "default", "workflow": "w", "activity": "a", "name": "echo", "at": NOON, "saves": 7}
    given |= {"expires_at": NOON + 10 * SECOND, **fields}
    return Reusable(key=key, output=output, **given)


class Tables:
    """The file's tables, as seen by a cache: counted, and failing where a test says so."""

    def __init__(self, log: SqliteLog) -> None:
        self.log = log
        self.statements: list[str] = []
        self.fails = False

    async def change(self, statement: str, *parameters: Any) -> int:
        if self.fails:
            raise Unavailable("the disk is full")
        self.statements.append(statement)
        return await self.log.change(statement, *parameters)

    def read(self, statement: str, *parameters: Any) -> list[Any]:
        if self.fails:
            raise Unavailable("the disk is gone")
        return self.log.read(statement, *parameters)


def on_file(tmp_path: Path, scene: Callable[[KeptCache, Tables], Awaitable[None]]) -> None:
    async def whole() -> None:
        log = SqliteLog(tmp_path / "hg.db")
        tables = Tables(log)
        cache = KeptCache(SqliteCacheTable(tables))
        await scene(cache, tables)
        await cache.close()
        await log.close()

    asyncio.run(whole())


def test_many_results_are_written_in_few_statements(tmp_path: Path):
    async def scene(cache: KeptCache, tables: Tables) -> None:
        for number in range(200):
            cache.keep(result(b"%d" % number))
        await cache.close()

        assert len([text for text in tables.statements if "insert" in text]) == 4
        assert tables.read("select count(*) from cache") == [(200,)]

    on_file(tmp_path, scene)


def test_a_row_that_is_damaged_is_not_found_and_its_successor_is(tmp_path: Path):
    async def scene(cache: KeptCache, tables: Tables) -> None:
        cache.keep(result())
        await cache.close()
        await tables.change("update cache set output = ?", b'{"a":2}')

        assert await cache.find("default", b"k", NOON) is None

        cache.keep(result(output=b"3"))
        await cache.close()
        assert await cache.find("default", b"k", NOON) == result(output=b"3")

    on_file(tmp_path, scene)


def test_uses_are_counted_and_written_at_the_end(tmp_path: Path):
    async def scene(cache: KeptCache, tables: Tables) -> None:
        cache.keep(result(b"a"))
        cache.keep(result(b"b"))
        for later in range(3):
            await cache.find("default", b"a", NOON + later)
        await cache.close()

        assert tables.read("select key, hits, used_at from cache order by key") == [
            (b"a", 3, NOON + 2),
            (b"b", 0, NOON),
        ]

    on_file(tmp_path, scene)


def test_a_disk_that_fails_costs_results_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async def scene(cache: KeptCache, tables: Tables) -> None:
        tables.fails = True
        cache.keep(result())
        await cache.close()
        assert await cache.find("default", b"k", NOON) is None

        tables.fails = False
        cache.keep(result(b"later"))
        await cache.close()
        assert await cache.find("default", b"later", NOON) == result(b"later")

    on_file(tmp_path, scene)
    assert "1 results were not kept: the disk is full" in caplog.text


def test_what_is_kept_while_the_table_is_asked_is_found(tmp_path: Path):
    class Slow(SqliteCacheTable):
        async def find(self, tenant: str, key: bytes, now: int) -> Any:
            row = await super().find(tenant, key, now)
            cache.keep(result())
            return row

    log = SqliteLog(tmp_path / "hg.db")
    cache = KeptCache(Slow(log))

    async def scene() -> None:
        assert await cache.find("default", b"k", NOON) == result()
        await cache.close()
        await log.close()

    asyncio.run(scene())


def test_what_waits_to_be_written_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache_module, "WAITING_MAX", 3)

    async def scene(cache: KeptCache, tables: Tables) -> None:
        for number in range(5):
            cache.keep(result(b"%d" % number))
        await cache.close()

        assert tables.read("select key from cache order by key") == [(b"0",), (b"1",), (b"2",)]

    on_file(tmp_path, scene)


def test_expired_results_leave_the_file_when_others_are_written(tmp_path: Path):
    async def scene(cache: KeptCache, tables: Tables) -> None:
        cache.keep(result(b"old"))
        await cache.close()
        cache.keep(result(b"new", at=NOON + 3_600 * SECOND, expires_at=NOON + 7_200 * SECOND))
        await cache.close()

        assert tables.read("select key from cache") == [(b"new",)]

    on_file(tmp_path, scene)


def test_results_survive_the_kill_of_a_process_that_had_written_them(tmp_path: Path):
    async def scene(cache: KeptCache, tables: Tables) -> None:
        cache.keep(result())
        await cache.close()
        copy = tmp_path / "copy.db"  # what the disk holds now, without any closing
        for suffix in ("", "-wal"):
            copy.with_name(f"copy.db{suffix}").write_bytes((tmp_path / f"hg.db{suffix}").read_bytes())

        rows = list(apsw.Connection(str(copy)).execute("select key, output from cache"))
        assert rows == [(b"k", b'{"a":1}')]

    on_file(tmp_path, scene)
