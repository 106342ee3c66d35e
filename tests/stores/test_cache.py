"""What every cache keeps true, for the one in memory and the one in the log's file; and what the file's alone does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from headgate.core.errors import Unavailable
from headgate.ports import Cache, Reusable
from headgate.stores import cache as cache_module
from headgate.stores.cache import MemoryCache, SqliteCache, cache_beside
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog

NOON = 1_800_000_000_000_000
SECOND = 1_000_000


def result(key: bytes = b"k", output: bytes = b'{"a":1}', **fields: Any) -> Reusable:
    given = {"tenant": "default", "workflow": "w", "activity": "a", "name": "echo", "at": NOON, "saves": 7}
    given |= {"expires_at": NOON + 10 * SECOND, **fields}
    return Reusable(key=key, output=output, **given)


Scene = Callable[[Cache], Awaitable[None]]


@pytest.fixture(params=["memory", "sqlite"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Return a function that plays scenes one after the other: on one cache in memory, or on one file opened anew
    for each."""

    def run(*scenes: Scene, **bounds: int) -> None:
        in_memory = MemoryCache(**bounds)

        async def whole() -> None:
            for scene in scenes:
                if request.param == "memory":
                    await scene(in_memory)
                    continue
                log = SqliteLog(tmp_path / "hg.db")
                cache = SqliteCache(log, **bounds)
                await scene(cache)
                await cache.close()
                await log.close()

        asyncio.run(whole())

    return run


# --- Every cache ------------------------------------------------------------------------------------------


def test_what_is_kept_is_found_by_its_tenant_and_key_and_by_no_other(play: Any):
    async def keep(cache: Cache) -> None:
        cache.keep(result())

    async def look(cache: Cache) -> None:
        assert cache.find("default", b"k", NOON) == result()
        assert cache.find("default", b"other", NOON) is None
        assert cache.find("another", b"k", NOON) is None

    async def both(cache: Cache) -> None:
        await keep(cache)
        await look(cache)

    play(both, look)


def test_a_result_that_has_expired_is_not_found(play: Any):
    async def keep(cache: Cache) -> None:
        cache.keep(result())
        assert cache.find("default", b"k", NOON + 10 * SECOND - 1) is not None
        assert cache.find("default", b"k", NOON + 10 * SECOND) is None

    async def look(cache: Cache) -> None:
        assert cache.find("default", b"k", NOON + 10 * SECOND - 1) is not None
        assert cache.find("default", b"k", NOON + 10 * SECOND) is None

    play(keep, look)


def test_the_newer_result_takes_the_place_of_the_older(play: Any):
    async def keep(cache: Cache) -> None:
        cache.keep(result(output=b"1"))
        cache.keep(result(output=b"2", saves=9))

    async def look(cache: Cache) -> None:
        assert cache.find("default", b"k", NOON) == result(output=b"2", saves=9)

    play(keep, look)


def test_an_output_above_the_bound_is_not_kept(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache_module, "OUTPUT_BYTES_MAX", 100)

    async def scene(cache: Cache) -> None:
        cache.keep(result(b"fits", b"x" * 100))
        cache.keep(result(b"large", b"x" * 101))

        assert cache.find("default", b"fits", NOON) is not None
        assert cache.find("default", b"large", NOON) is None

    play(scene)


def test_what_was_used_longest_ago_goes_first_when_there_is_too_much(play: Any):
    async def fill(cache: Cache) -> None:
        for number in range(10):
            cache.keep(result(b"%d" % number, b"x" * 10, at=NOON + number))

    async def use_the_oldest(cache: Cache) -> None:
        assert cache.find("default", b"0", NOON + SECOND) is not None

    async def overflow(cache: Cache) -> None:
        cache.keep(result(b"new", b"x" * 10, at=NOON + 2 * SECOND))

    async def look(cache: Cache) -> None:
        assert cache.find("default", b"0", NOON + 2 * SECOND) is not None
        assert cache.find("default", b"new", NOON + 2 * SECOND) is not None
        assert cache.find("default", b"1", NOON + 2 * SECOND) is None

    play(fill, use_the_oldest, overflow, look, total_bytes_max=100)


def test_the_number_of_results_is_bounded_too(play: Any):
    async def fill(cache: Cache) -> None:
        for number in range(20):
            cache.keep(result(b"%d" % number, at=NOON + number))

    async def look(cache: Cache) -> None:
        found = [number for number in range(20) if cache.find("default", b"%d" % number, NOON)]
        assert 1 <= len(found) <= 10
        assert found[-1] == 19

    play(fill, look, entries_max=10)


# --- In the file ------------------------------------------------------------------------------------------


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


def on_file(tmp_path: Path, scene: Callable[[SqliteCache, Tables], Awaitable[None]]) -> None:
    async def whole() -> None:
        log = SqliteLog(tmp_path / "hg.db")
        tables = Tables(log)
        cache = SqliteCache(tables)
        await scene(cache, tables)
        await cache.close()
        await log.close()

    asyncio.run(whole())


def test_many_results_are_written_in_few_statements(tmp_path: Path):
    async def scene(cache: SqliteCache, tables: Tables) -> None:
        for number in range(200):
            cache.keep(result(b"%d" % number))
        await cache.close()

        assert len([text for text in tables.statements if "insert" in text]) == 4
        assert tables.read("select count(*) from cache") == [(200,)]

    on_file(tmp_path, scene)


def test_a_row_that_is_damaged_is_not_found_and_its_successor_is(tmp_path: Path):
    async def scene(cache: SqliteCache, tables: Tables) -> None:
        cache.keep(result())
        await cache.close()
        await tables.change("update cache set output = ?", b'{"a":2}')

        assert cache.find("default", b"k", NOON) is None

        cache.keep(result(output=b"3"))
        await cache.close()
        assert cache.find("default", b"k", NOON) == result(output=b"3")

    on_file(tmp_path, scene)


def test_uses_are_counted_and_written_at_the_end(tmp_path: Path):
    async def scene(cache: SqliteCache, tables: Tables) -> None:
        cache.keep(result(b"a"))
        cache.keep(result(b"b"))
        for later in range(3):
            cache.find("default", b"a", NOON + later)
        await cache.close()

        assert tables.read("select key, hits, used_at from cache order by key") == [
            (b"a", 3, NOON + 2),
            (b"b", 0, NOON),
        ]

    on_file(tmp_path, scene)


def test_a_disk_that_fails_costs_results_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async def scene(cache: SqliteCache, tables: Tables) -> None:
        tables.fails = True
        cache.keep(result())
        await cache.close()
        assert cache.find("default", b"k", NOON) is None

        tables.fails = False
        cache.keep(result(b"later"))
        await cache.close()
        assert cache.find("default", b"later", NOON) == result(b"later")

    on_file(tmp_path, scene)
    assert "1 results were not kept: the disk is full" in caplog.text


def test_what_waits_to_be_written_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache_module, "WAITING_MAX", 3)

    async def scene(cache: SqliteCache, tables: Tables) -> None:
        for number in range(5):
            cache.keep(result(b"%d" % number))
        await cache.close()

        assert tables.read("select key from cache order by key") == [(b"0",), (b"1",), (b"2",)]

    on_file(tmp_path, scene)


def test_expired_results_leave_the_file_when_others_are_written(tmp_path: Path):
    async def scene(cache: SqliteCache, tables: Tables) -> None:
        cache.keep(result(b"old"))
        await cache.close()
        cache.keep(result(b"new", at=NOON + 3_600 * SECOND, expires_at=NOON + 7_200 * SECOND))
        await cache.close()

        assert tables.read("select key from cache") == [(b"new",)]

    on_file(tmp_path, scene)


def test_the_cache_lies_where_the_log_does(tmp_path: Path):
    log = SqliteLog(tmp_path / "hg.db")

    assert isinstance(cache_beside(log), SqliteCache)
    assert isinstance(cache_beside(MemoryLog()), MemoryCache)
    asyncio.run(log.close())


def test_results_survive_the_kill_of_a_process_that_had_written_them(tmp_path: Path):
    async def scene(cache: SqliteCache, tables: Tables) -> None:
        cache.keep(result())
        await cache.close()
        copy = tmp_path / "copy.db"  # what the disk holds now, without any closing
        for suffix in ("", "-wal"):
            copy.with_name(f"copy.db{suffix}").write_bytes((tmp_path / f"hg.db{suffix}").read_bytes())

        rows = list(apsw.Connection(str(copy)).execute("select key, output from cache"))
        assert rows == [(b"k", b'{"a":1}')]

    on_file(tmp_path, scene)
