"""Streams of one node of many: its own texts, and beside them those of other nodes, under the others' numbers.

A text is one of the ring like any other, so that readers, cursors, bounds and ends are the same; only its origin is
another's. So a reader that was cut off at the one node goes on at the other where it was.

Of two texts of a place the one of the later attempt is read; of the same attempt, the one that was there first.
"""

from __future__ import annotations

from headgate.ports import Chunk, Ended, Gap, Tokens
from headgate.stores.stream_text import SHOWN_EVERY_MICROSECONDS, StreamText
from headgate.stores.streams import PLACES_MAX, RingStreams

__all__ = ["MirroringStreams"]


class MirroringStreams(RingStreams):
    """`ports.MirrorStreams`."""

    def mirror(self, run_id: str, chunk: Chunk) -> bool | None:
        ring = self._ring(run_id, chunk.place)
        if ring is None or (ring.epoch, ring.origin) != (chunk.epoch, chunk.origin):
            if not self._is_news(run_id, chunk, ring):
                return None
            if isinstance(chunk, Ended) or (isinstance(chunk, Tokens) and chunk.offset):
                return False
            ring = self._begin_mirrored(run_id, chunk, ring)
        ring.attempt = chunk.attempt
        if isinstance(chunk, Tokens | Gap) and chunk.offset > ring.length:
            return False
        if isinstance(chunk, Tokens):
            data = chunk.text.encode()[ring.length - chunk.offset :]
            if data:
                ring.shown_at = -SHOWN_EVERY_MICROSECONDS  # it was gathered where it comes from
                self._add(ring, data)
        elif isinstance(chunk, Gap) and chunk.until > ring.length:
            self._skip(ring, chunk.until)
        return not isinstance(chunk, Ended) or ring.length == chunk.offset

    def _is_news(self, run_id: str, chunk: Chunk, ring: StreamText | None) -> bool:
        """Return whether the chunk begins a text that is to be read instead of the one that is here."""
        if ring is None:
            ended = self._ended.get((run_id, chunk.place))
            return self._count < PLACES_MAX and (ended is None or ended.attempt < chunk.attempt)
        if ring.attempt != chunk.attempt:
            return ring.attempt < chunk.attempt
        if ring.origin == chunk.origin:
            return ring.epoch < chunk.epoch
        return not ring.length

    def _begin_mirrored(self, run_id: str, chunk: Chunk, before: StreamText | None) -> StreamText:
        if before is not None:
            if before.origin == self.origin:
                self._epoch_forgotten = max(self._epoch_forgotten, before.epoch)
            self._forget(before)
        ring = StreamText(run_id, chunk.place, chunk.attempt, chunk.epoch, chunk.origin)
        ring.shelf = f"{chunk.place} {chunk.origin}"
        self._put_in(ring)
        self._tell(ring)
        return ring

    def _skip(self, ring: StreamText, until: int) -> None:
        """What lies before `until` is kept nowhere any more."""
        self._trim(ring, 0)
        ring.begin = ring.shown = until
        self._tell(ring)

    def mirrored(self, run_id: str, place: str) -> int:
        ring = self._ring(run_id, place)
        return 0 if ring is None or ring.origin == self.origin else ring.attempt

    def forget_mirrored(self, run_id: str) -> None:
        for ring in list(self._runs.get(run_id, {}).values()):
            if ring.origin != self.origin:
                self._forget(ring)
