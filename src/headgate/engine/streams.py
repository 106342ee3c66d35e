"""Tokens on their way to whoever watches: a ring per place, in memory, never durable, never in the log.

An epoch is an attempt: a new attempt begins a new text, and nothing of two attempts is ever glued together. A
subscriber gets what the ring still holds of the newest epoch, then what comes, each piece with its offset.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import msgspec

__all__ = ["Chunk", "Streams"]

RING_CHARACTERS_MAX = 256 * 1024
SUBSCRIBER_CHUNKS_MAX = 10_000
PLACES_MAX = 10_000


class Chunk(msgspec.Struct, frozen=True):
    """A piece of an attempt's text; `offset` counts characters from the start of the epoch."""

    run_id: str
    place: str
    epoch: int
    offset: int
    text: str


class _Ring:
    __slots__ = ("chunks", "epoch", "length", "offset")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.offset = 0
        self.length = 0
        self.chunks: deque[Chunk] = deque()


class Streams:
    """One per engine, on its loop. A subscriber that falls too far behind is cut off: its feed ends."""

    def __init__(self) -> None:
        self._rings: dict[tuple[str, str], _Ring] = {}
        self._readers: dict[str, set[asyncio.Queue[Chunk | None]]] = {}

    @property
    def used(self) -> bool:
        return bool(self._rings)

    def publish(self, run_id: str, place: str, epoch: int, text: str) -> None:
        """Add text. Text of an epoch that is over is dropped."""
        ring = self._rings.get((run_id, place))
        if ring is None or ring.epoch < epoch:
            if len(self._rings) >= PLACES_MAX:
                self._rings.pop(next(iter(self._rings)))
            ring = self._rings[run_id, place] = _Ring(epoch)
        if ring.epoch > epoch or not text:
            return
        chunk = Chunk(run_id, place, epoch, ring.offset, text)
        ring.offset += len(text)
        ring.length += len(text)
        ring.chunks.append(chunk)
        while ring.length > RING_CHARACTERS_MAX and len(ring.chunks) > 1:
            ring.length -= len(ring.chunks.popleft().text)
        for reader in list(self._readers.get(run_id, ())):
            if reader.qsize() >= SUBSCRIBER_CHUNKS_MAX:
                self._readers[run_id].discard(reader)
                reader.put_nowait(None)
            else:
                reader.put_nowait(chunk)

    def forget(self, run_id: str, place: str) -> None:
        """The attempt has its outcome: readers are served from the result from now on."""
        self._rings.pop((run_id, place), None)

    async def subscribe(self, run_id: str) -> AsyncIterator[Chunk]:
        """Yield the run's chunks, as far as they are kept and then as they come, until the reader stops."""
        reader: asyncio.Queue[Chunk | None] = asyncio.Queue()
        for (ring_run, _), ring in self._rings.items():
            if ring_run == run_id:
                for chunk in ring.chunks:
                    reader.put_nowait(chunk)
        self._readers.setdefault(run_id, set()).add(reader)
        try:
            while (chunk := await reader.get()) is not None:
                yield chunk
        finally:
            readers = self._readers.get(run_id)
            if readers is not None:
                readers.discard(reader)
                if not readers:
                    del self._readers[run_id]
