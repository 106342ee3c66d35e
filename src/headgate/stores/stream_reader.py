"""A reader of the streams of a run: its cursors, the places with news, and what it has not read of ended ones."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from headgate.ports import Chunk, Ended, ReaderTooSlow, Restarted
from headgate.stores.stream_text import Cursor, StreamText

if TYPE_CHECKING:
    from headgate.stores.streams import RingStreams

__all__ = ["StreamReader"]

READER_PLACES_MAX = 10_000
"""Ended texts that may wait for one reader."""


class StreamReader:
    """`ports.Subscription` of the streams that made it."""

    def __init__(self, streams: RingStreams, run_id: str, wanted: str, bytes_max: int, wake: asyncio.Event) -> None:
        self.run_id = run_id
        self.wanted = wanted
        self.cursors: dict[str, Cursor] = {}
        """Of each place that was read from."""
        self._streams = streams
        self._bytes_max = bytes_max
        self.news: dict[str, None] = {}
        """The places of which there may be something to read."""
        self._left: deque[StreamText] = deque()
        """Ended texts that are still to be read to their ends."""
        self._unread = 0
        self.wake = wake
        self.over = False
        self._too_slow = ""

    # --- Told by the streams -------------------------------------------------------------------------------------

    def leave(self, ring: StreamText) -> int:
        """This text is over: it is this reader's to read to its end. Return how many bytes that is."""
        cursor = self.cursors.get(ring.place)
        unread = ring.shown - (cursor.offset if cursor is not None and cursor.is_in(ring) else 0)
        self._left.append(ring)
        self._unread += unread
        self.wake.set()
        if self._unread > self._bytes_max or len(self._left) > READER_PLACES_MAX:
            self._too_slow = (
                f"{self._unread} bytes of {len(self._left)} ended places wait for this reader, more than are kept. "
                "Watch again from where you are."
            )
            self.close()
            return 0
        return unread

    def finish(self) -> None:
        """Nothing more will come."""
        self.over = True
        self.wake.set()

    # --- Reading -------------------------------------------------------------------------------------------------

    async def next(self) -> Chunk | None:
        while (chunk := self.take()) is None:
            if self.over:
                self.close()
                return None
            self.wake.clear()
            await self.wake.wait()
        return chunk

    def take(self) -> Chunk | None:
        if self._too_slow:
            raise ReaderTooSlow(self._too_slow)
        if self._left:
            return self._take_left(self._left[0])
        while self.news:
            place = next(iter(self.news))
            chunk, more = self._streams.next_for(self, place)
            if not more:
                del self.news[place]
            if chunk is not None:
                return chunk
        return None

    def _take_left(self, ring: StreamText) -> Chunk | None:
        cursor = self.cursors.get(ring.place)
        before = 0 if cursor is None else cursor.offset
        chunk = self._streams.next_of(ring, self.cursors)
        if isinstance(chunk, Ended):
            self._left.popleft()
            del self.cursors[ring.place]
            self._let_go(ring)
        elif not isinstance(chunk, Restarted):
            self._unread -= self.cursors[ring.place].offset - before
        return chunk

    def _let_go(self, ring: StreamText) -> None:
        ring.readers -= 1
        if not ring.readers:
            self._streams.read_to_its_end(ring)

    def close(self) -> None:
        self._streams.unsubscribe(self)
        self.over = True
        self.news.clear()
        while self._left:
            self._let_go(self._left.popleft())
        self.wake.set()
