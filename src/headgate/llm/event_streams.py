"""The two ways in which providers stream: server-sent events, and AWS's binary frames. Bytes in, events out; no I/O.

Both take the bytes as they come, cut anywhere, and give what is complete; neither joins what it holds more than once
per event, so that an event of megabytes in small pieces costs no more than its length. Many events often come in one
chunk, and are given together: a reader waits for the network once for all of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import ClassVar, Protocol, TypeVar

import msgspec

__all__ = ["EVENT_BYTES_MAX", "AmazonFrames", "BrokenStream", "Frame", "Framing", "ServerSentEvents"]

EVENT_BYTES_MAX = 16 * 1024 * 1024
"""One event of a stream, as it travels."""
PRELUDE_BYTES = 12
FRAME_BYTES_MIN = 16
FIXED_LENGTHS = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Kinds of header values by number: how many bytes they have. 6 and 7 (bytes, text) begin with their length."""
TEXT = 7

Event = TypeVar("Event", covariant=True)


class BrokenStream(ValueError):
    """What came is no stream of this kind; the text says why."""


class Framing(Protocol[Event]):
    """How a stream of events is cut into events."""

    content_type: ClassVar[str]

    def take(self, chunk: bytes) -> Sequence[Event]:
        """Return the events that are complete with this chunk. Raises `BrokenStream`."""
        ...


class _Pieces:
    """What has come of an event that is not complete."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.held = 0

    def add(self, chunk: bytes) -> None:
        self._pieces.append(chunk)
        self.held += len(chunk)
        if self.held > EVENT_BYTES_MAX + len(chunk):
            raise BrokenStream(f"one event has more than {EVENT_BYTES_MAX} bytes")

    def take(self) -> bytes:
        data = b"".join(self._pieces) if len(self._pieces) != 1 else self._pieces[0]
        self._pieces, self.held = [], 0
        return data


# --- Server-sent events -----------------------------------------------------------------------------------------


class ServerSentEvents:
    """The data of each event, undecoded; names, ids and comments are passed over, for the data says as much.

    Lines end as the standard has it: LF, CR LF, or CR. What the stream breaks off in is no event.
    """

    content_type: ClassVar[str] = "text/event-stream"

    def __init__(self) -> None:
        self._line = _Pieces()
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False
        self._after_return = False
        """The chunk before ended with a CR: a LF that begins this one belongs to it."""

    def take(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that are complete with this chunk."""
        if self._after_return and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        if b"\r" in chunk:
            self._after_return = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._line.add(chunk)
        if b"\n" not in chunk:
            return []
        held = self._line.take()
        if not self._begun:
            held, self._begun = held.removeprefix(b"\xef\xbb\xbf"), True
        *lines, rest = held.split(b"\n")
        if rest:
            self._line.add(rest)
        return [data for line in lines if (data := self._read(line))]

    def _read(self, line: bytes) -> bytes:
        """Take a line in; return the data of the event that it ends, or nothing."""
        if not line:
            data, self._data, self._size = b"\n".join(self._data), [], 0
            return data
        if line.startswith(b"data:") or line == b"data":
            value = line[6:] if line.startswith(b"data: ") else line[5:]
            self._data.append(value)
            self._size += len(value)
            if self._size > EVENT_BYTES_MAX:
                raise BrokenStream(f"one event has more than {EVENT_BYTES_MAX} bytes")
        return b""


# --- AWS's event stream -----------------------------------------------------------------------------------------


class Frame(msgspec.Struct, frozen=True):
    """A frame of AWS's event stream: its headers that are text, by name without the colon, and its payload."""

    headers: dict[str, str]
    payload: bytes


class AmazonFrames:
    """The frames of AWS's event stream (`application/vnd.amazon.eventstream`), each with both of its sums checked.

    A frame is its length, the length of its headers, the CRC-32 of these eight bytes, headers, payload, and the CRC-32
    of all before. A sum that is wrong breaks the stream: nobody knows where the next frame would begin.
    """

    content_type: ClassVar[str] = "application/vnd.amazon.eventstream"

    def __init__(self) -> None:
        self._held = _Pieces()
        self._wanted = PRELUDE_BYTES

    def take(self, chunk: bytes) -> list[Frame]:
        """Return the frames that are complete with this chunk."""
        self._held.add(chunk)
        if self._held.held < self._wanted:
            return []
        data = self._held.take()
        frames: list[Frame] = []
        place, self._wanted = 0, PRELUDE_BYTES
        while len(data) - place >= PRELUDE_BYTES:
            length = _frame_length(data[place : place + PRELUDE_BYTES])
            if len(data) - place < length:
                self._wanted = length
                break
            frames.append(_frame(data[place : place + length]))
            place += length
        if place < len(data):
            self._held.add(data[place:])
        return frames


def _frame_length(prelude: bytes) -> int:
    if zlib.crc32(prelude[:8]) != int.from_bytes(prelude[8:]):
        raise BrokenStream("the sum of a frame's first bytes is wrong")
    length, headers = int.from_bytes(prelude[:4]), int.from_bytes(prelude[4:8])
    if not FRAME_BYTES_MIN + headers <= length <= EVENT_BYTES_MAX:
        raise BrokenStream(f"a frame of {length} bytes with {headers} bytes of headers")
    return length


def _frame(data: bytes) -> Frame:
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:]):
        raise BrokenStream("the sum of a frame is wrong")
    end = PRELUDE_BYTES + int.from_bytes(data[4:8])
    return Frame(_headers(data[PRELUDE_BYTES:end]), data[end:-4])


def _headers(data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    place = 0
    try:
        while place < len(data):
            begin = place + 1
            end = begin + data[place]
            name, kind = data[begin:end].decode().removeprefix(":"), data[end]
            begin = end + 1
            if kind in FIXED_LENGTHS:
                place = begin + FIXED_LENGTHS[kind]
                continue
            if kind not in (TEXT - 1, TEXT):
                raise BrokenStream(f"a header of the unknown kind {kind}")
            begin, place = begin + 2, begin + 2 + int.from_bytes(data[begin : begin + 2])
            if kind == TEXT:
                found[name] = data[begin:place].decode()
        if place != len(data):
            raise BrokenStream("a frame's headers are longer than it says")
    except (IndexError, UnicodeDecodeError) as error:
        raise BrokenStream(f"a frame's headers cannot be read: {error}") from None
    return found
