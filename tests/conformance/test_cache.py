"""What every cache keeps true: the one in memory, and those in the tables of a file and of a database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.stores_beside import KINDS, opener_of_logs

from headgate.core.errors import Invalid, NotFound, Refused
from headgate.ports import Cache, Log, Reusable
from headgate.stores import cache as cache_module
from headgate.stores.cache import KeptCache, MemoryCache
from headgate.stores.cache_table import CacheTable, SqliteCacheTable
from headgate.stores.postgres import PostgresLog
from headgate.stores.postgres_cache import PostgresCacheTable
from headgate.stores.storage import cache_inventory_beside
from headgate.testing.log_conformance import on_a_loop

NOON = 1_800_000_000_000_000
SECOND = 1_000_000


def result(key: bytes = b"k", output: bytes = b'{"a":1}', **fields: Any) -> Reusable:
    given = {"tenant": "default", "workflow": "w", "activity": "a", "name": "echo", "at": NOON, "saves": 7}
    given |= {"expires_at": NOON + 10 * SECOND, **fields}
    return Reusable(key=key, output=output, **given)


def table_of(log: Log) -> CacheTable:
    return PostgresCacheTable(log) if isinstance(log, PostgresLog) else SqliteCacheTable(log)


Scene = Callable[[Cache], Awaitable[None]]


@pytest.fixture(params=KINDS)
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Return a function that plays scenes one after the other: on one cache in memory, or on one place opened anew
    for each."""
    open_log = opener_of_logs(request.param, tmp_path)

    def run(*scenes: Scene, **bounds: int) -> None:
        in_memory = MemoryCache(**bounds)

        async def whole() -> None:
            for scene in scenes:
                if request.param == "memory":
                    await scene(in_memory)
                    continue
                async with open_log() as log:
                    cache = KeptCache(table_of(log), **bounds)
                    await scene(cache)
                    await cache.close()

        asyncio.run(whole())

    return run


def test_what_is_kept_is_found_by_its_tenant_and_key_and_by_no_other(play: Any):
    async def keep(cache: Cache) -> None:
        cache.keep(result())

    async def look(cache: Cache) -> None:
        assert await cache.find("default", b"k", NOON) == result()
        assert await cache.find("default", b"other", NOON) is None
        assert await cache.find("another", b"k", NOON) is None

    async def both(cache: Cache) -> None:
        await keep(cache)
        await look(cache)

    play(both, look)


def test_a_result_that_has_expired_is_not_found(play: Any):
    async def keep(cache: Cache) -> None:
        cache.keep(result())
        assert await cache.find("default", b"k", NOON + 10 * SECOND - 1) is not None
        assert await cache.find("default", b"k", NOON + 10 * SECOND) is None

    async def look(cache: Cache) -> None:
        assert await cache.find("default", b"k", NOON + 10 * SECOND - 1) is not None
        assert await cache.find("default", b"k", NOON + 10 * SECOND) is None

    play(keep, look)


def test_the_newer_result_takes_the_place_of_the_older(play: Any):
    async def keep(cache: Cache) -> None:
        cache.keep(result(output=b"1"))
        cache.keep(result(output=b"2", saves=9))

    async def look(cache: Cache) -> None:
        assert await cache.find("default", b"k", NOON) == result(output=b"2", saves=9)

    play(keep, look)


def test_an_output_above_the_bound_is_not_kept(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache_module, "OUTPUT_BYTES_MAX", 100)

    async def scene(cache: Cache) -> None:
        cache.keep(result(b"fits", b"x" * 100))
        cache.keep(result(b"large", b"x" * 101))

        assert await cache.find("default", b"fits", NOON) is not None
        assert await cache.find("default", b"large", NOON) is None

    play(scene)


def test_what_was_used_longest_ago_goes_first_when_there_is_too_much(play: Any):
    async def fill(cache: Cache) -> None:
        for number in range(10):
            cache.keep(result(b"%d" % number, b"x" * 10, at=NOON + number))

    async def use_the_oldest(cache: Cache) -> None:
        assert await cache.find("default", b"0", NOON + SECOND) is not None

    async def overflow(cache: Cache) -> None:
        cache.keep(result(b"new", b"x" * 10, at=NOON + 2 * SECOND))

    async def look(cache: Cache) -> None:
        assert await cache.find("default", b"0", NOON + 2 * SECOND) is not None
        assert await cache.find("default", b"new", NOON + 2 * SECOND) is not None
        assert await cache.find("default", b"1", NOON + 2 * SECOND) is None

    play(fill, use_the_oldest, overflow, look, total_bytes_max=100)


def test_the_number_of_results_is_bounded_too(play: Any):
    async def fill(cache: Cache) -> None:
        for number in range(20):
            cache.keep(result(b"%d" % number, at=NOON + number))

    async def look(cache: Cache) -> None:
        found = [number for number in range(20) if await cache.find("default", b"%d" % number, NOON)]
        assert 1 <= len(found) <= 10
        assert found[-1] == 19

    play(fill, look, entries_max=10)


# --- For people -----------------------------------------------------------------------------------------------


@pytest.fixture(params=[kind for kind in KINDS if kind != "memory"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return opener_of_logs(request.param, tmp_path)


@on_a_loop
async def test_what_is_kept_is_listed_summed_up_and_taken_out(open_log: Any):
    async with open_log() as log:
        cache = KeptCache(table_of(log))
        for key, activity, at in ((b"\xaa1", "a", 0), (b"\xaa2", "a", 1), (b"\xbb3", "b", 2)):
            cache.keep(result(key, activity=activity, at=NOON + at))
        await cache.find("default", b"\xbb3", NOON + 9)
        await cache.find("default", b"\xbb3", NOON + 9)
        await cache.close()
        inventory = cache_inventory_beside(log)

        assert [line.key for line in await inventory.lines()] == [b"\xbb3", b"\xaa2", b"\xaa1"]
        assert [line.key for line in await inventory.lines(activity="a", limit=1)] == [b"\xaa2"]
        sums = [
            (one.activity, one.results, one.size, one.hits, one.saved, one.expired)
            for one in await inventory.sums(NOON)
        ]
        assert sums == [("a", 2, 14, 0, 0, 0), ("b", 1, 7, 2, 14, 0)]
        assert [one.expired for one in await inventory.sums(NOON + 20 * SECOND)] == [2, 1]
        with pytest.raises(Refused):
            await inventory.forget("aA")
        with pytest.raises(NotFound):
            await inventory.forget("cc")
        with pytest.raises(Invalid):
            await inventory.forget("no")
        assert await inventory.forget("AA31") == 1
        assert await inventory.clear(workflow="w", activity=None, before=NOON + 2) == 1
        assert await inventory.clear(workflow="other", activity=None, before=None) == 0
        assert [line.key for line in await inventory.lines()] == [b"\xbb3"]
