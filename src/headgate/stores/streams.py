"""Streamed texts in memory: of each place the newest epoch, its end in a ring, what fell out of it in a spill.

Readers have no queues. Each has a cursor per place and a list of places with news, and takes what lies between its
cursor and what is shown: a slow one gets larger chunks, and costs nothing but what it has not read of places that have
ended meanwhile. That has a maximum, at which it is cut off.

A text that comes is in the ring at once and *shown* at once, or, within 25 ms of the last time, by the flusher, a task
that lives as long as anything waits to be shown.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import secrets
from collections import OrderedDict
from collections.abc import Sequence

from headgate.core.errors import Invalid
from headgate.ports import (
    CHUNK_BYTES_MAX,
    Chunk,
    Clock,
    Ended,
    Final,
    Gap,
    Position,
    Restarted,
    Tokens,
    character_begin,
    wants,
)
from headgate.stores.stream_reader import StreamReader
from headgate.stores.stream_spill import BLOCK_BYTES, StreamSpill
from headgate.stores.stream_text import SHOWN_EVERY_MICROSECONDS, Cursor, StreamText

__all__ = ["PLACES_MAX", "RingStreams"]

RING_BYTES_MAX = 256 * 1024
"""Of a place, where there is a spill: what falls out is read from there."""
RING_ALONE_BYTES_MAX = 4 * 1024 * 1024
"""Of a place, where there is none: what falls out is gone."""
RINGS_BYTES_MAX = 64 * 1024 * 1024
ROOM_AFTER = 0.9
PLACES_MAX = 10_000
"""Places that stream at a time; of further ones readers get the result."""
ENDED_MAX = 10_000
"""Ended places of which the last epoch is remembered."""
READER_BYTES_MAX = 64 * 1024 * 1024
"""What may wait for a reader of places that have ended."""
POSITIONS_MAX = 10_000


class RingStreams:
    """`ports.Streams`, with a spill or without."""

    def __init__(
        self,
        clock: Clock,
        spill: StreamSpill | None = None,
        *,
        ring_bytes_max: int | None = None,
        rings_bytes_max: int = RINGS_BYTES_MAX,
        reader_bytes_max: int = READER_BYTES_MAX,
    ) -> None:
        self.origin = secrets.token_hex(6)
        self._clock = clock
        self._spill = spill
        self._ring_bytes_max = ring_bytes_max or (RING_ALONE_BYTES_MAX if spill is None else RING_BYTES_MAX)
        self._rings_bytes_max = rings_bytes_max
        self._reader_bytes_max = reader_bytes_max
        self._runs: dict[str, dict[str, StreamText]] = {}
        self._count = 0
        self._bytes = 0
        self._ended: OrderedDict[tuple[str, str], Final] = OrderedDict()
        self._epoch_forgotten = 0
        """The highest epoch of any place that was forgotten: a forgotten one that comes again counts on from there."""
        self._readers: dict[str, list[StreamReader]] = {}
        self._due: list[tuple[int, int, StreamText]] = []
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
        for readers in list(self._readers.values()):
            for reader in list(readers):
                reader.finish()
        if self._spill is not None:
            await self._spill.close()

    # --- Writing -------------------------------------------------------------------------------------------------

    def publish(self, run_id: str, place: str, attempt: int, text: str) -> None:
        if not text:
            return
        places = self._runs.get(run_id)
        ring = None if places is None else places.get(place)
        if ring is None or ring.attempt < attempt or (ring.attempt == attempt and ring.origin != self.origin):
            ring = self._begin(run_id, place, attempt, ring)
        if ring is not None and ring.attempt == attempt:
            self._add(ring, text.encode("utf-8", "replace"))

    def _add(self, ring: StreamText, data: bytes) -> None:
        ring.buffer += data
        self._bytes += len(data)
        now = self._clock.now()
        if now - ring.shown_at >= SHOWN_EVERY_MICROSECONDS:
            self._show(ring, now)
        elif not ring.due:
            self._show_later(ring)
        if len(ring.buffer) > self._ring_bytes_max:
            self._trim(ring, self._ring_bytes_max)
        if self._bytes > self._rings_bytes_max:
            self._make_room()

    def restart(self, run_id: str, place: str, attempt: int) -> None:
        ring = self._ring(run_id, place)
        if ring is not None and ring.attempt <= attempt:
            self._begin(run_id, place, attempt, ring)

    def _ring(self, run_id: str, place: str) -> StreamText | None:
        places = self._runs.get(run_id)
        return None if places is None else places.get(place)

    def _begin(self, run_id: str, place: str, attempt: int, before: StreamText | None) -> StreamText | None:
        """Return the text of the next epoch, or of the one before where nothing was said in it; None: there may be
        none."""
        if before is not None and before.length == 0 and before.origin == self.origin:
            before.attempt = attempt
            return before
        if before is not None:
            epoch = self._epoch_after(before)
            self._forget(before)
            ring = StreamText(run_id, place, attempt, epoch, self.origin)
        elif self._count >= PLACES_MAX or (ring := self._new(run_id, place, attempt)) is None:
            return None
        self._put_in(ring)
        if before is not None:
            self._tell(ring)
        return ring

    def _epoch_after(self, before: StreamText | Final) -> int:
        """Return a number that no epoch of this place has had here; one of another origin may be below ours."""
        return 1 + (before.epoch if before.origin == self.origin else max(before.epoch, self._epoch_forgotten))

    def _put_in(self, ring: StreamText) -> None:
        self._runs.setdefault(ring.run_id, {})[ring.place] = ring
        self._count += 1

    def _new(self, run_id: str, place: str, attempt: int) -> StreamText | None:
        """Return a text for a place that has none; None where it has ended with this attempt."""
        ended = self._ended.get((run_id, place))
        if ended is None:
            return StreamText(run_id, place, attempt, self._epoch_forgotten + 1, self.origin)
        if attempt <= ended.attempt:
            return None
        return StreamText(run_id, place, attempt, self._epoch_after(ended), self.origin)

    def _forget(self, ring: StreamText) -> None:
        self._take_out(ring)
        if self._spill is not None:
            self._spill.drop(ring.run_id, ring.shelf, ring.epoch)

    def _take_out(self, ring: StreamText) -> None:
        places = self._runs[ring.run_id]
        del places[ring.place]
        if not places:
            del self._runs[ring.run_id]
        self._count -= 1
        self._bytes -= len(ring.buffer)
        ring.due = 0

    # --- Showing -------------------------------------------------------------------------------------------------

    def _show(self, ring: StreamText, now: int) -> None:
        ring.shown = ring.length
        ring.shown_at = now
        ring.due = 0
        self._tell(ring)

    def _tell(self, ring: StreamText) -> None:
        place = ring.place
        for reader in self._readers.get(ring.run_id, ()):
            if not reader.wanted or wants(reader.wanted, place):
                reader.news[place] = None
                reader.wake.set()

    def _show_later(self, ring: StreamText) -> None:
        ring.due = ring.shown_at + SHOWN_EVERY_MICROSECONDS
        first = not self._due or ring.due < self._due[0][0]
        heapq.heappush(self._due, (ring.due, next(self._numbers), ring))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.get_running_loop().create_task(self._flush(), name="headgate-streams")
        elif first:
            self._wake.set()

    async def _flush(self) -> None:
        while self._due:
            await self._clock.wait(self._due[0][0], self._wake)
            now = self._clock.now()
            while self._due and self._due[0][0] <= now:
                due, _, ring = heapq.heappop(self._due)
                if ring.due == due:  # else it was shown meanwhile, or is over
                    self._show(ring, now)

    # --- Bounds --------------------------------------------------------------------------------------------------

    def _trim(self, ring: StreamText, keep: int) -> None:
        """Take blocks out of the front of the ring until at most `keep` bytes are left."""
        while len(ring.buffer) > keep:
            cut = character_begin(ring.buffer, min(BLOCK_BYTES, len(ring.buffer)))
            block = bytes(ring.buffer[:cut])
            del ring.buffer[:cut]
            ring.digest.update(block)
            if self._spill is not None:
                self._spill.keep(ring.run_id, ring.shelf, ring.epoch, ring.begin, block)
            ring.begin += cut
            self._bytes -= cut

    def _make_room(self) -> None:
        """Empty the rings that were written to longest ago."""
        rings = [ring for places in self._runs.values() for ring in places.values() if ring.buffer]
        for ring in sorted(rings, key=lambda ring: ring.shown_at):
            if self._bytes <= self._rings_bytes_max * ROOM_AFTER:
                return
            self._trim(ring, 0)

    # --- Ends ----------------------------------------------------------------------------------------------------

    def finish(self, run_id: str, place: str, attempt: int, status: str) -> None:
        readers = [reader for reader in self._readers.get(run_id, ()) if wants(reader.wanted, place)]
        ring = self._ring(run_id, place)
        if ring is not None and ring.attempt < attempt:
            ring = self._begin(run_id, place, attempt, ring)
        if ring is not None:
            self._take_out(ring)
        elif readers:
            ring = self._new(run_id, place, attempt)
        if ring is None:
            return
        ring.shown, ring.status = ring.length, status
        ring.digest.update(ring.buffer)
        self._remember((run_id, place), Final(ring.attempt, ring.epoch, ring.length, ring.digest.digest(), ring.origin))
        ring.readers = len(readers)
        unread = [reader.leave(ring) for reader in readers]
        if not any(unread):
            ring.begin, ring.buffer = ring.shown, bytearray()
        if not ring.readers:
            self.read_to_its_end(ring)

    def _remember(self, key: tuple[str, str], final: Final) -> None:
        self._ended[key] = final
        self._ended.move_to_end(key)
        while len(self._ended) > ENDED_MAX:
            _, forgotten = self._ended.popitem(last=False)
            self._epoch_forgotten = max(self._epoch_forgotten, forgotten.epoch)

    def read_to_its_end(self, ring: StreamText) -> None:
        """Nobody reads this ended text any more."""
        if self._spill is not None:
            self._spill.drop(ring.run_id, ring.shelf, ring.epoch)

    def end(self, run_id: str, status: str) -> None:
        for ring in list(self._runs.get(run_id, {}).values()):
            self.finish(run_id, ring.place, ring.attempt, status)
        for reader in list(self._readers.get(run_id, ())):
            reader.finish()

    def final(self, run_id: str, place: str) -> Final | None:
        return self._ended.get((run_id, place))

    # --- Reading -------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        run_id: str,
        *,
        place: str = "",
        resume: Sequence[Position] = (),
        wake: asyncio.Event | None = None,
    ) -> StreamReader:
        if len(resume) > POSITIONS_MAX:
            raise Invalid(f"expected at most {POSITIONS_MAX} positions to resume from, got {len(resume)}")
        reader = StreamReader(self, run_id, place, self._reader_bytes_max, wake or asyncio.Event())
        rings = self._runs.get(run_id, {})
        for position in resume:
            ring, cursor = rings.get(position.place), Cursor(position.epoch, max(position.offset, 0), position.origin)
            ours = position.origin == self.origin
            if ours and ring is not None and cursor.is_in(ring) and cursor.offset > ring.length:
                raise Invalid(
                    f"Epoch {ring.epoch} of {position.place} has {ring.length} bytes; there is no offset "
                    f"{position.offset} yet."
                )
            reader.cursors[position.place] = cursor
        self._readers.setdefault(run_id, []).append(reader)
        reader.news.update((known, None) for known in rings if wants(place, known))
        return reader

    def unsubscribe(self, reader: StreamReader) -> None:
        readers = self._readers.get(reader.run_id, [])
        if reader in readers:
            readers.remove(reader)
            if not readers:
                del self._readers[reader.run_id]

    def next_for(self, reader: StreamReader, place: str) -> tuple[Chunk | None, bool]:
        """Return what comes next for a reader of a place that has not ended, and whether there is more; move its cursor
        behind it."""
        ring = self._ring(reader.run_id, place)
        if ring is None:
            return None, False
        chunk = self.next_of(ring, reader.cursors)
        return chunk, reader.cursors[place].offset < ring.shown

    def next_of(self, ring: StreamText, cursors: dict[str, Cursor]) -> Chunk | None:
        cursor = cursors.get(ring.place)
        if cursor is None:
            cursor = cursors[ring.place] = Cursor(ring.epoch, 0, ring.origin)
        if not cursor.is_in(ring):
            cursors[ring.place] = Cursor(ring.epoch, 0, ring.origin)
            return Restarted(ring.place, ring.epoch, ring.attempt, ring.origin)
        offset = cursor.offset
        if offset < ring.shown:
            begin, data = self._read(ring, offset)
            if begin > offset:
                cursor.offset = begin
                return Gap(ring.place, ring.epoch, offset, begin, ring.attempt, ring.origin)
            if data[0] & 0xC0 == 0x80:
                raise Invalid(f"Offset {offset} of {ring.place} stands inside a character.")
            cursor.offset += len(data)
            return Tokens(ring.place, ring.epoch, offset, data.decode(), ring.attempt, ring.origin)
        if not ring.status:
            return None
        return Ended(ring.place, ring.epoch, ring.shown, ring.status, ring.attempt, ring.origin)

    def _read(self, ring: StreamText, offset: int) -> tuple[int, bytes | bytearray]:
        """Return bytes from `offset` on, or from the first one behind it that is kept, and where they begin."""
        if offset < ring.begin:
            found = self._spill and self._spill.find(ring.run_id, ring.shelf, ring.epoch, offset)
            return found or (min(ring.begin, ring.shown), b"")
        first, last = offset - ring.begin, ring.shown - ring.begin
        if last - first > CHUNK_BYTES_MAX:
            last = character_begin(ring.buffer, first + CHUNK_BYTES_MAX)
        return offset, ring.buffer[first:last]
