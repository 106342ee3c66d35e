"""One epoch of a streamed text: the end of it that is kept in memory, and how far it is shown."""

from __future__ import annotations

import hashlib

__all__ = ["SHOWN_EVERY_MICROSECONDS", "Cursor", "StreamText"]

SHOWN_EVERY_MICROSECONDS = 25_000


class StreamText:
    """One epoch of a place. `shown` of its bytes may be read; those before `begin` have fallen out of the ring."""

    __slots__ = (
        *("attempt", "begin", "buffer", "digest", "due", "epoch", "origin", "place"),
        *("readers", "run_id", "shelf", "shown", "shown_at", "status"),
    )

    def __init__(self, run_id: str, place: str, attempt: int, epoch: int, origin: str) -> None:
        self.run_id = run_id
        self.place = place
        self.attempt = attempt
        self.epoch = epoch
        self.origin = origin
        """Who counts its epochs."""
        self.shelf = place
        """What a spill knows it by, with its run and epoch."""
        self.buffer = bytearray()
        self.begin = 0
        self.shown = 0
        self.shown_at = -SHOWN_EVERY_MICROSECONDS
        self.due = 0
        """When what is not shown yet will be; 0: nothing waits."""
        self.digest = hashlib.blake2b(digest_size=16)
        """Of what has fallen out of the ring; of all, when the place has ended."""
        self.status = ""
        self.readers = 0
        """Of an ended one: those that have not read it to its end."""

    @property
    def length(self) -> int:
        return self.begin + len(self.buffer)


class Cursor:
    """Where a reader is: behind `offset` bytes of this epoch of this origin."""

    __slots__ = ("epoch", "offset", "origin")

    def __init__(self, epoch: int, offset: int, origin: str) -> None:
        self.epoch = epoch
        self.offset = offset
        self.origin = origin

    def is_in(self, text: StreamText) -> bool:
        return self.epoch == text.epoch and self.origin == text.origin
