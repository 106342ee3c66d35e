"""The cache of results: in memory, and in the rows of a table beside the log.

A result that is kept is found at once, from memory, and written by a task of its own soon after: several in one
statement, so that a fan-out of a thousand costs a few commits and no report waits for any. What a crash takes with it
costs a repetition. Uses are counted in memory and written with the next results, when there are enough of them, and
at the end. A row whose bytes do not fit its digest is not found.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence

from headgate.core.errors import Unavailable
from headgate.ports import Reusable
from headgate.stores.cache_table import CacheTable, reusable

__all__ = ["ENTRIES_MAX", "OUTPUT_BYTES_MAX", "TOTAL_BYTES_MAX", "KeptCache", "MemoryCache"]

OUTPUT_BYTES_MAX = 4 * 1024 * 1024
"""A larger output is not kept."""
TOTAL_BYTES_MAX = 256 * 1024 * 1024
ENTRIES_MAX = 100_000
ROOM_AFTER = 0.9
"""What is left of either when it was passed: making room looks at everything, and is not to be done for each result."""
WAITING_MAX = 1_000
WAITING_BYTES_MAX = 64 * 1024 * 1024
"""Results that wait to be written; what comes on top of them is dropped."""
ROWS_MAX = 64
USES_MAX = 256
EXPIRED_EVERY_MICROSECONDS = 60_000_000

logger = logging.getLogger("headgate.cache")


class MemoryCache:
    """`ports.Cache` for as long as the process lives."""

    def __init__(self, *, total_bytes_max: int = TOTAL_BYTES_MAX, entries_max: int = ENTRIES_MAX) -> None:
        self._kept: OrderedDict[tuple[str, bytes], Reusable] = OrderedDict()
        self._bytes = 0
        self._total_bytes_max = total_bytes_max
        self._entries_max = entries_max

    async def find(self, tenant: str, key: bytes, now: int) -> Reusable | None:
        kept = self._kept.get((tenant, key))
        if kept is None or kept.expires_at <= now:
            return None
        self._kept.move_to_end((tenant, key))
        return kept

    def keep(self, kept: Reusable) -> None:
        if len(kept.output) > OUTPUT_BYTES_MAX:
            return
        name = (kept.tenant, kept.key)
        if (before := self._kept.pop(name, None)) is not None:
            self._bytes -= len(before.output)
        self._kept[name] = kept
        self._bytes += len(kept.output)
        while self._bytes > self._total_bytes_max or len(self._kept) > self._entries_max:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.output)

    async def close(self) -> None:
        pass


class KeptCache:
    """`ports.Cache` in a table. Used on the loop that works on the log; `close` before the log is closed."""

    def __init__(
        self, table: CacheTable, *, total_bytes_max: int = TOTAL_BYTES_MAX, entries_max: int = ENTRIES_MAX
    ) -> None:
        self._table = table
        self._total_bytes_max = total_bytes_max
        self._entries_max = entries_max
        self._waiting: dict[tuple[str, bytes], Reusable] = {}
        self._waiting_bytes = 0
        self._uses: dict[tuple[str, bytes], tuple[int, int]] = {}
        self._writing: asyncio.Task[None] | None = None
        self._totals: tuple[int, int] | None = None
        """How many results there are in the table, and their bytes, both at least as far as this process knows."""
        self._expired_at = 0

    async def find(self, tenant: str, key: bytes, now: int) -> Reusable | None:
        kept = self._waiting.get((tenant, key)) or await self._read(tenant, key, now)
        if kept is None:  # it may have been kept while the table was asked
            kept = self._waiting.get((tenant, key))
        if kept is None or kept.expires_at <= now:
            return None
        count, _ = self._uses.get((tenant, key), (0, 0))
        self._uses[tenant, key] = (count + 1, now)
        if len(self._uses) >= USES_MAX:
            self._write_soon()
        return kept

    async def _read(self, tenant: str, key: bytes, now: int) -> Reusable | None:
        try:
            row = await self._table.find(tenant, key, now)
        except Unavailable as error:
            logger.warning("a result could not be looked up: %s", error)
            return None
        if row is None:
            return None
        kept = reusable(tenant, key, row)
        if kept is None:
            logger.warning("the kept result %s is damaged and is not reused", key.hex()[:12])
        return kept

    def keep(self, kept: Reusable) -> None:
        size = len(kept.output)
        crowded = len(self._waiting) >= WAITING_MAX or self._waiting_bytes + size > WAITING_BYTES_MAX
        if size > OUTPUT_BYTES_MAX or crowded:
            return
        self._put_in_line(kept)
        self._write_soon()

    def _put_in_line(self, kept: Reusable) -> None:
        before = self._waiting.pop((kept.tenant, kept.key), None)
        self._waiting_bytes += len(kept.output) - (len(before.output) if before else 0)
        self._waiting[kept.tenant, kept.key] = kept

    def _write_soon(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="headgate-cache")

    async def close(self) -> None:
        self._write_soon()
        assert self._writing is not None
        await self._writing
        await self._write()  # what came while the last write had begun already

    # --- Writing -------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Write all that waits. What cannot be written is dropped, and said."""
        try:
            while self._waiting:
                await self._write_some(list(self._waiting.values())[:ROWS_MAX])
            await self._write_uses()
        except Unavailable as error:
            logger.warning("%d results were not kept: %s", len(self._waiting), error)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._uses.clear()

    async def _write_some(self, some: Sequence[Reusable]) -> None:
        await self._table.keep(some)
        for kept in some:
            name = (kept.tenant, kept.key)
            if self._waiting.get(name) is kept:
                del self._waiting[name]
                self._waiting_bytes -= len(kept.output)
        await self._make_room(some)

    async def _write_uses(self) -> None:
        uses, self._uses = list(self._uses.items()), {}
        for start in range(0, len(uses), ROWS_MAX):
            await self._table.touch(dict(uses[start : start + ROWS_MAX]))

    async def _make_room(self, some: Sequence[Reusable]) -> None:
        now = max(kept.at for kept in some)
        if now - self._expired_at >= EXPIRED_EVERY_MICROSECONDS:
            self._expired_at = now
            if await self._table.forget_expired(now):
                self._totals = None
        count, size = self._totals or (0, 0)
        self._totals = (count + len(some), size + sum(len(kept.output) for kept in some))
        if self._passed(self._totals) or count == 0:
            self._totals = await self._table.total()
        if self._passed(self._totals):
            await self._write_uses()
            await self._table.forget_least_used(
                int(self._entries_max * ROOM_AFTER), int(self._total_bytes_max * ROOM_AFTER)
            )
            self._totals = await self._table.total()

    def _passed(self, totals: tuple[int, int]) -> bool:
        return totals[0] > self._entries_max or totals[1] > self._total_bytes_max
