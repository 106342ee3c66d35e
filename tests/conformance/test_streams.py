"""What every adapter of streams keeps true (`ports.Streams`), asked of each alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from headgate.ports import Clock, Streams
from headgate.stores.sqlite import SqliteLog
from headgate.stores.stream_spill import StreamSpill
from headgate.stores.streams import RingStreams
from headgate.testing.stream_conformance import StreamConformance


class TestInMemory(StreamConformance):
    @asynccontextmanager
    async def opened(self, clock: Clock, *, text_bytes_max: int = 0, **bounds: int) -> AsyncIterator[Streams]:
        streams = RingStreams(clock, ring_bytes_max=text_bytes_max or None, **bounds)
        await streams.open()
        yield streams
        await streams.close()


class TestWithASpill(StreamConformance):
    """A ring so small that hardly anything is read from it."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    @asynccontextmanager
    async def opened(self, clock: Clock, *, text_bytes_max: int = 0, **bounds: int) -> AsyncIterator[Streams]:
        log = SqliteLog(self.folder / "log.db")
        spill = StreamSpill(log, **({"text_bytes_max": text_bytes_max} if text_bytes_max else {}))
        streams = RingStreams(clock, spill, ring_bytes_max=2, **bounds)
        await streams.open()
        yield streams
        await streams.close()
        await log.close()
