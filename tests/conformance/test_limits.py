"""What every store of limits keeps true: in memory, beside the log of one owner, and shared by several."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.stores_beside import KINDS, SHARED, opener

from headgate.core.errors import Unavailable
from headgate.ports import Cell, LimitStore, Swap
from headgate.stores.limits import SqliteLimits, limits_in
from headgate.stores.sqlite import SqliteLog
from headgate.testing.clock import NOON, VirtualClock
from headgate.testing.log_conformance import on_a_loop


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return a context that opens the store, always of the same place."""
    open_storage = opener(request.param, tmp_path)

    @asynccontextmanager
    async def limits() -> AsyncGenerator[LimitStore]:
        async with open_storage() as storage:
            yield storage.limits

    return limits


@on_a_loop
async def test_what_was_swapped_is_read_and_what_was_emptied_is_not(opened: Any):
    async with opened() as store:
        await store.look()
        assert store.idle
        assert await store.swap([Swap("a", None, "1"), Swap("b", None, "2")])
        assert not store.idle
        assert await store.read(["b", "no such", "a"]) == ["2", None, "1"]

        assert await store.swap([Swap("a", "1", None), Swap("b", "2", "3")])

        assert await store.read(["a", "b"]) == [None, "3"]
        assert await store.cells("") == [Cell("b", "3")]
        assert await store.swap([Swap("b", "3", None)])
        await store.look()
        assert store.idle


@on_a_loop
@pytest.mark.parametrize("stale", [Swap("b", "other", "x"), Swap("b", None, "x"), Swap("c", "was there", "x")])
async def test_a_swap_of_which_one_cell_is_stale_changes_nothing(opened: Any, stale: Swap):
    async with opened() as store:
        await store.swap([Swap("a", None, "1"), Swap("b", None, "2")])

        assert not await store.swap([Swap("a", "1", "9"), stale])
        assert not await store.swap([stale, Swap("a", "1", "9")])

        assert await store.cells("") == [Cell("a", "1"), Cell("b", "2")]


@on_a_loop
async def test_of_many_who_count_at_once_none_is_lost(opened: Any):
    async with opened() as store:

        async def count_one() -> None:
            while True:
                (before,) = await store.read(["count"])
                await asyncio.sleep(0)  # so that the others come between
                if await store.swap([Swap("count", before, str(int(before or 0) + 1))]):
                    return

        await asyncio.gather(*(count_one() for _ in range(20)))

        assert await store.read(["count"]) == ["20"]


@on_a_loop
async def test_cells_are_listed_by_the_beginning_of_their_names(opened: Any):
    async with opened() as store:
        await store.swap([Swap(name, None, "x") for name in ("rate b", "rate a", "rat", "rate%", "wait a")])

        assert [cell.name for cell in await store.cells("rate ")] == ["rate a", "rate b"]
        assert store.now() == NOON


@on_a_loop
async def test_what_was_swapped_outlives_the_process(opened: Any):
    async with opened() as store:
        await store.swap([Swap("circuit lab/m", None, "open"), Swap("gone", None, "x")])
        await store.swap([Swap("gone", "x", None)])
    async with opened() as again:
        assert await again.cells("") == [Cell("circuit lab/m", "open")]


@on_a_loop
@pytest.mark.parametrize("kind", SHARED)
async def test_two_who_share_a_store_see_each_others_swaps(kind: str, tmp_path: Path):
    open_storage = opener(kind, tmp_path)
    async with open_storage() as first, open_storage() as second:
        one, other = first.limits, second.limits
        await other.look()
        assert other.idle

        assert await one.swap([Swap("a", None, "1")])
        await other.look()
        assert not other.idle
        assert await other.read(["a"]) == ["1"]
        assert await other.swap([Swap("a", "1", "2")])
        assert not await one.swap([Swap("a", "1", "3")])


@on_a_loop
async def test_what_cannot_be_written_now_goes_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = SqliteLog(tmp_path / "log.db")
    store = SqliteLimits(log, VirtualClock())
    change = log.change

    async def full(statement: str, *parameters: Any) -> int:
        raise Unavailable("the disk is full")

    await store.swap([Swap("a", None, "1")])
    monkeypatch.setattr(log, "change", full)
    await store.close()
    assert limits_in(log) == []
    monkeypatch.setattr(log, "change", change)
    await store.swap([Swap("b", None, "2")])
    await store.close()

    assert limits_in(log) == [Cell("a", "1"), Cell("b", "2")]
    await log.close()
