"""What fell out of the rings of streamed texts, in a table of this process alone.

The table is scratch, on this machine's disk wherever the log lies: it is made by the first block that comes, and goes
with the process, however that ends. Which blocks there are is known in memory. They are written by a task of its own,
several in one statement, and are read from memory until then: no token waits for the disk. When there are too many, of
a text or in all, the oldest go.
"""

from __future__ import annotations

import asyncio
import bisect
import logging
from collections import OrderedDict, deque
from typing import Any

import msgspec

from headgate.core.errors import Unavailable
from headgate.stores.queries import load_queries
from headgate.stores.scratch import Scratch

__all__ = ["BLOCK_BYTES", "StreamSpill"]

BLOCK_BYTES = 64 * 1024
TEXT_BYTES_MAX = 64 * 1024 * 1024
"""Of one text; the longest answer of a model has as many."""
TOTAL_BYTES_MAX = 256 * 1024 * 1024
WAITING_BYTES_MAX = 32 * 1024 * 1024
"""Blocks that wait to be written; those that come on top of them are not kept."""
ROWS_MAX = 16
DROPPED_MAX = 1_000

SQL = load_queries("streams.sql")
logger = logging.getLogger("headgate.streams")

Text = tuple[str, str, int]


class _Block:
    __slots__ = ("data", "id", "offset", "size", "text")

    def __init__(self, number: int, text: Text, offset: int, data: bytes) -> None:
        self.id = number
        self.text = text
        self.offset = offset
        self.size = len(data)
        self.data: bytes | None = data
        """None: it is in the table."""


class StreamSpill:
    """Blocks of texts, each text by run, place and epoch. Used on the loop that works on the log."""

    def __init__(
        self,
        table: Scratch | None = None,
        *,
        text_bytes_max: int = TEXT_BYTES_MAX,
        total_bytes_max: int = TOTAL_BYTES_MAX,
    ) -> None:
        self._table = table or Scratch()
        self._text_bytes_max = text_bytes_max
        self._total_bytes_max = total_bytes_max
        self._blocks: OrderedDict[int, _Block] = OrderedDict()
        self._texts: dict[Text, deque[_Block]] = {}
        self._sizes: dict[Text, int] = {}
        self._bytes = 0
        self._number = 0
        self._waiting: deque[_Block] = deque()
        self._waiting_bytes = 0
        self._dropped: list[int] = []
        self._made = False
        self._writing: asyncio.Task[None] | None = None

    async def close(self) -> None:
        self._waiting.clear()
        if self._writing is not None:
            await self._writing
        self._table.close()

    def keep(self, run_id: str, place: str, epoch: int, offset: int, data: bytes) -> None:
        """Keep a block that follows the one before it. Where too many wait to be written, it is not kept."""
        if self._waiting_bytes + len(data) > WAITING_BYTES_MAX:
            return
        text = (run_id, place, epoch)
        self._number += 1
        block = self._blocks[self._number] = _Block(self._number, text, offset, data)
        self._texts.setdefault(text, deque()).append(block)
        self._sizes[text] = self._sizes.get(text, 0) + block.size
        self._bytes += block.size
        self._waiting.append(block)
        self._waiting_bytes += block.size
        while self._sizes.get(text, 0) > self._text_bytes_max:
            self._forget(self._texts[text][0])
        while self._bytes > self._total_bytes_max:
            self._forget(next(iter(self._blocks.values())))
        self._write_soon()

    def find(self, run_id: str, place: str, epoch: int, offset: int) -> tuple[int, bytes] | None:
        """Return the bytes from `offset` on, as far as its block goes; or those of the first block behind it, and
        where they begin. None: there is none."""
        blocks = self._texts.get((run_id, place, epoch), ())
        index = bisect.bisect_right(blocks, offset, key=lambda block: block.offset) - 1
        if index >= 0 and offset < blocks[index].offset + blocks[index].size:
            data = self._data(blocks[index])
            if data is not None:
                return offset, data[offset - blocks[index].offset :]
        for block in list(blocks)[index + 1 :]:
            data = self._data(block)
            if data is not None:
                return block.offset, data
        return None

    def _data(self, block: _Block) -> bytes | None:
        if block.data is not None:
            return block.data
        try:
            rows = self._table.read(SQL["find"], block.id)
        except Unavailable as error:
            logger.warning("a part of a stream could not be read: %s", error)
            return None
        return rows[0][0] if rows else None

    def drop(self, run_id: str, place: str, epoch: int) -> None:
        """Nobody wants this text any more."""
        for block in list(self._texts.get((run_id, place, epoch), ())):
            self._forget(block)

    def _forget(self, block: _Block) -> None:
        """Forget the block: it is the first of its text, or all of the text goes."""
        del self._blocks[block.id]
        blocks = self._texts[block.text]
        blocks.remove(block)
        self._sizes[block.text] -= block.size
        if not blocks:
            del self._texts[block.text], self._sizes[block.text]
        self._bytes -= block.size
        if block.data is None:
            self._dropped.append(block.id)
            self._write_soon()

    # --- Writing -------------------------------------------------------------------------------------------------

    def _write_soon(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="headgate-spill")

    async def _write(self) -> None:
        """Write all that waits. What cannot be written is dropped, and said: its readers are told of a gap."""
        try:
            while self._waiting or self._dropped:
                await self._write_some([self._waiting.popleft() for _ in range(min(ROWS_MAX, len(self._waiting)))])
        except Unavailable as error:
            logger.warning("parts of streams were not kept: %s", error)
            for block in [block for block in self._blocks.values() if block.data is not None]:
                self._forget(block)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._dropped.clear()

    async def _write_some(self, some: list[_Block]) -> None:
        self._waiting_bytes -= sum(block.size for block in some)
        wanted = [block for block in some if block.id in self._blocks]
        if wanted and not self._made:
            await self._table.change(SQL["schema"])
            self._made = True
        if wanted:
            rows: list[Any] = []
            for block in wanted:
                rows += (block.id, *block.text, block.offset, block.data)
            values = ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(wanted))
            await self._table.change(f"{SQL['keep']} {values}", *rows)
            for block in wanted:
                block.data = None
                if block.id not in self._blocks:  # forgotten while it was written
                    self._dropped.append(block.id)
        if self._dropped:
            gone, self._dropped = self._dropped[:DROPPED_MAX], self._dropped[DROPPED_MAX:]
            await self._table.change(SQL["drop"], msgspec.json.encode(gone).decode())
