"""What every adapter of streams keeps true (`ports.Streams`), asked of each alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from headgate.engine.texts_of_neighbours import TextsOfNeighbours
from headgate.ports import Clock, Streams
from headgate.stores.mirror_streams import MirroringStreams
from headgate.stores.stream_spill import StreamSpill
from headgate.stores.streams import RingStreams
from headgate.testing.stream_conformance import StreamConformance


class TestInMemory(StreamConformance):
    @asynccontextmanager
    async def opened(self, clock: Clock, *, text_bytes_max: int = 0, **bounds: int) -> AsyncIterator[Streams]:
        streams = RingStreams(clock, ring_bytes_max=text_bytes_max or None, **bounds)
        yield streams
        await streams.close()


class TestWithASpill(StreamConformance):
    """A ring so small that hardly anything is read from it."""

    @asynccontextmanager
    async def opened(self, clock: Clock, *, text_bytes_max: int = 0, **bounds: int) -> AsyncIterator[Streams]:
        spill = StreamSpill(**({"text_bytes_max": text_bytes_max} if text_bytes_max else {}))
        streams = RingStreams(clock, spill, ring_bytes_max=2, **bounds)
        yield streams
        await streams.close()


class Nobody:
    """A neighbourhood of one node."""

    async def say(self, messages: Sequence[tuple[str, str]]) -> bool:
        return True

    async def hear(self, node: str, heard: Callable[[str], None], began: Callable[[], None]) -> None:
        began()


class TestAmongNeighbours(StreamConformance):
    """Texts of our own where those of others may come."""

    @asynccontextmanager
    async def opened(self, clock: Clock, *, text_bytes_max: int = 0, **bounds: int) -> AsyncIterator[Streams]:
        ring = MirroringStreams(clock, ring_bytes_max=text_bytes_max or None, **bounds)
        streams = TextsOfNeighbours(ring, Nobody())
        yield streams
        await streams.close()
