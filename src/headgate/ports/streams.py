"""Texts that are streamed while they are made: what a reader of one gets, and what every adapter keeps true."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from headgate.core.errors import Invalid, Unavailable

__all__ = [
    "CHUNK_BYTES_MAX",
    "RESULT",
    "Chunk",
    "Ended",
    "Final",
    "Gap",
    "Position",
    "ReaderTooSlow",
    "Restarted",
    "Streams",
    "Subscription",
    "Tokens",
    "character_begin",
    "digest_of",
    "pieces",
    "wants",
]

CHUNK_BYTES_MAX = 64 * 1024
"""A longer text is delivered in several chunks."""
RESULT = "result"
"""The origin of a text that is read from the log: it is the same whoever reads it, and when."""


class ReaderTooSlow(Unavailable):
    """More waits for a reader than is kept for one. It may subscribe again from where it is."""

    code = "reader_too_slow"


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a reader is in the text of a place: everything before byte `offset` of this epoch is known to it."""

    place: str
    epoch: int
    offset: int
    origin: str = ""


class Tokens(msgspec.Struct, frozen=True, tag="tokens"):
    """Text of an attempt; `offset` counts bytes (of UTF-8) from the start of the epoch.

    `epoch` counts up over the place: an attempt begins one, and so does a text that begins again within an attempt.
    `origin` names who counts: epochs of another origin are others.
    """

    place: str
    epoch: int
    offset: int
    text: str
    attempt: int = 0
    origin: str = ""

    @property
    def after(self) -> Position:
        """Where a reader is that has this."""
        return Position(self.place, self.epoch, self.offset + len(self.text.encode()), self.origin)


class Restarted(msgspec.Struct, frozen=True, tag="restarted"):
    """What the reader had of this place is void; its text begins again, at offset 0 of this epoch."""

    place: str
    epoch: int
    attempt: int = 0
    origin: str = ""

    @property
    def after(self) -> Position:
        return Position(self.place, self.epoch, 0, self.origin)


class Gap(msgspec.Struct, frozen=True, tag="gap"):
    """The text from `offset` up to `until` is not kept any more; what follows begins there. The result is whole."""

    place: str
    epoch: int
    offset: int
    until: int
    attempt: int = 0
    origin: str = ""

    @property
    def after(self) -> Position:
        return Position(self.place, self.epoch, self.until, self.origin)


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The place has its outcome; `offset` is the length of the epoch's text in bytes."""

    place: str
    epoch: int
    offset: int
    status: str
    """completed, failed or cancelled."""
    attempt: int = 0
    origin: str = ""

    @property
    def after(self) -> Position:
        return Position(self.place, self.epoch, self.offset, self.origin)


Chunk = Tokens | Restarted | Gap | Ended


class Final(msgspec.Struct, frozen=True):
    """How the text of an ended place was, when it was streamed to its end; `digest` as `digest_of` makes it, `origin`
    who counted."""

    attempt: int
    epoch: int
    length: int
    digest: bytes
    origin: str = ""


class Subscription(Protocol):
    """One reader of a run's texts, from the moment it is made."""

    @property
    def over(self) -> bool:
        """The run has ended: `take` gives what is left, and nothing will come."""
        ...

    def take(self) -> Chunk | None:
        """Return the next chunk, None where there is none now; its `wake` event is set when there may be one.

        Raises `ReaderTooSlow`, and `Invalid` for a position inside a character.
        """
        ...

    async def next(self) -> Chunk | None:
        """Return the next chunk as soon as there is one; None: the run has ended, and all was read.

        Raises as `take` does. Not to be called twice at a time.
        """
        ...

    def close(self) -> None:
        """Read no further. A second call does nothing."""
        ...


class Streams(Protocol):
    """The texts of places that are under way. Not durable, not in the log; used on one loop, and no call waits.

    What every adapter keeps true, tested by `headgate.testing.stream_conformance`:

    1. The tokens that a reader gets of an epoch are the epoch's text from its position on, byte for byte, without gap
       or repeat, whenever it subscribed; what is not kept any more it is told as a `Gap`.
    2. Nothing of two epochs follows each other without a `Restarted` between them. A position of an older epoch, or of
       another origin, is answered by one.
    3. The first text of a pause is passed on at once; what comes within 25 ms after it goes together. No chunk ends
       inside a character.
    4. A reader that was there when a place ended gets its text to the end, then `Ended`, and nothing of it after that.
    5. What is kept has a maximum, of a place, of all, and of what waits for one reader. Publishing never waits and
       never fails.
    """

    @property
    def origin(self) -> str:
        """The name under which this process counts epochs; another process has another."""
        ...

    def publish(self, run_id: str, place: str, attempt: int, text: str) -> None:
        """Add text to the attempt's epoch; a new attempt begins the next one. Text of an attempt that is over, or of a
        place that has ended with it, is dropped."""
        ...

    def restart(self, run_id: str, place: str, attempt: int) -> None:
        """Begin the next epoch, if this one has any text: it is void."""
        ...

    def finish(self, run_id: str, place: str, attempt: int, status: str) -> None:
        """The place has its outcome, of this attempt."""
        ...

    def end(self, run_id: str, status: str) -> None:
        """The run has ended: so have its places, and after them its readers."""
        ...

    def subscribe(
        self,
        run_id: str,
        *,
        place: str = "",
        resume: Sequence[Position] = (),
        wake: asyncio.Event | None = None,
    ) -> Subscription:
        """Return a reader of what is kept, from the given positions or the epochs' beginnings on, and of what comes.
        `place`: only of this place, or of all places of this activity. `wake` is set when there is something to take.
        Raises `Invalid` for a position that is beyond its text."""
        ...

    def final(self, run_id: str, place: str) -> Final | None:
        """Return how the text of an ended place was, as far as that is remembered."""
        ...

    async def close(self) -> None: ...


# --- Bytes and characters ------------------------------------------------------------------------------------------


def digest_of(data: bytes) -> bytes:
    """Return what tells two texts apart."""
    return hashlib.blake2b(data, digest_size=16).digest()


def character_begin(data: bytes | bytearray | memoryview, index: int) -> int:
    """Return `index`, or the index at which the character begins that it stands in."""
    while 0 < index < len(data) and data[index] & 0xC0 == 0x80:
        index -= 1
    return index


def pieces(data: bytes, offset: int, where: str) -> Iterator[tuple[int, str]]:
    """Yield the text from byte `offset` on in pieces of at most `CHUNK_BYTES_MAX`, each with its offset.

    Raises `Invalid` where `offset` stands inside a character; `where` says of what text."""
    if character_begin(data, offset) != offset:
        raise Invalid(f"Offset {offset} of {where} stands inside a character; resume where a chunk has ended.")
    while offset < len(data):
        until = character_begin(data, min(offset + CHUNK_BYTES_MAX, len(data)))
        yield offset, data[offset:until].decode()
        offset = until


def wants(wanted: str, place: str) -> bool:
    """Return whether `place` is the wanted one, or belongs to the wanted activity; "" wants all."""
    return not wanted or place == wanted or place.startswith((f"{wanted}[", f"{wanted}@"))
