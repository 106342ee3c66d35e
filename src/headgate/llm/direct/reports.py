"""The bytes of an answer on their way to an SDK: what they report of usage is read, and what would break it is mended.

SDKs stumble over a usage that is missing or nonsense, and the answer would be lost that was paid for. So a vendor may
`mend` what was decoded before its SDK sees it; the report itself is kept as it came, and judged by the vendor's
`usage`. Everything else goes through as it is. Lines and frames are passed on when they are complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import msgspec

__all__ = ["Mend", "Reports", "Watch", "is_sound", "watch_of"]

Mend = Callable[[dict[str, Any]], bool]
"""Put right what an SDK would stumble over in a body or an event; say whether anything was changed."""
REFUSAL_BYTES_MAX = 64 * 1024
"""How much of a refusal is kept; the SDK reads on, within the bound of all answers."""


class Reports:
    """What an answer reports of its usage. Later reports win over earlier ones, by field."""

    def __init__(self) -> None:
        self.usage: dict[str, object] = {}
        self.final = False
        """The answer's own report has come, and not only the one that Anthropic's streams begin with."""

    def read(self, said: dict[str, Any]) -> None:
        inner = cast("object", said.get("message"))
        began = cast("dict[str, Any]", inner).get("usage") if isinstance(inner, dict) else None
        own = next((part for name in ("usage", "usageMetadata") if isinstance(part := said.get(name), dict)), None)
        found = cast("object", began if own is None else own)
        if isinstance(found, dict):
            self.usage |= {name: value for name, value in cast("dict[str, object]", found).items() if value is not None}
            self.final = self.final or own is not None


class Watch(Protocol):
    """What an answer's bytes pass through."""

    def take(self, chunk: bytes) -> bytes:
        """Return what is to go on now."""
        ...

    def end(self) -> bytes:
        """Return what was held back until the end."""
        ...


def watch_of(status: int, headers: Mapping[str, str], reports: Reports, mend: Mend, said: bytearray) -> Watch:
    """Return what an answer with this head is to pass through; `said` gathers the text of a refusal."""
    if not 200 <= status < 300:
        return _Refusal(said)
    if headers.get("content-encoding", "identity") != "identity":
        return _Nothing()
    kind = headers.get("content-type", "").lower()
    if kind.startswith("text/event-stream"):
        return _Events(reports, mend)
    return _Frames(reports, mend) if "eventstream" in kind else _Body(reports, mend)


class _Nothing:
    """For what was compressed although nobody asked for it."""

    def take(self, chunk: bytes) -> bytes:
        return chunk

    def end(self) -> bytes:
        return b""


class _Refusal:
    def __init__(self, said: bytearray) -> None:
        self._said = said

    def take(self, chunk: bytes) -> bytes:
        self._said += chunk[: max(0, REFUSAL_BYTES_MAX - len(self._said))]
        return chunk

    def end(self) -> bytes:
        return b""


class _Body:
    """A whole answer."""

    def __init__(self, reports: Reports, mend: Mend) -> None:
        self._reports = reports
        self._mend = mend
        self._pieces: list[bytes] = []

    def take(self, chunk: bytes) -> bytes:
        self._pieces.append(chunk)
        return b""

    def end(self) -> bytes:
        data = b"".join(self._pieces)
        return _read(data, self._reports, self._mend) or data


class _Events:
    """Server-sent events: lines of `data:`, each a JSON object."""

    def __init__(self, reports: Reports, mend: Mend) -> None:
        self._reports = reports
        self._mend = mend
        self._pieces: list[bytes] = []

    def take(self, chunk: bytes) -> bytes:
        if b"\n" not in chunk:
            self._pieces.append(chunk)
            return b""
        lines = b"".join([*self._pieces, chunk]).split(b"\n")
        self._pieces = [lines.pop()]
        return b"".join(self._line(line) + b"\n" for line in lines)

    def end(self) -> bytes:
        return self._line(b"".join(self._pieces))

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:") or not _may_matter(line):
            return line
        mended = _read(line[5:], self._reports, self._mend)
        return line if mended is None else b"data: " + mended


class _Frames:
    """AWS's binary event stream, whose frames begin with their length; one that would have to be mended is left out."""

    def __init__(self, reports: Reports, mend: Mend) -> None:
        self._reports = reports
        self._mend = mend
        self._pieces: list[bytes] = []
        self._held = 0
        self._wanted = 12

    def take(self, chunk: bytes) -> bytes:
        self._pieces.append(chunk)
        self._held += len(chunk)
        if self._held < self._wanted:
            return b""
        data = b"".join(self._pieces)
        passed: list[bytes] = []
        place = 0
        while len(data) - place >= 12:
            length = int.from_bytes(data[place : place + 4])
            if length < 16:  # no frame: the SDK may say so
                passed.append(data[place:])
                place = len(data)
                break
            if len(data) - place < length:
                break
            frame = data[place : place + length]
            passed += [frame] if self._is_kept(frame) else []
            place += length
        rest = data[place:]
        self._pieces, self._held = [rest], len(rest)
        self._wanted = int.from_bytes(rest[:4]) if len(rest) >= 12 else 12
        return b"".join(passed)

    def end(self) -> bytes:
        return b"".join(self._pieces)

    def _is_kept(self, frame: bytes) -> bool:
        payload = frame[12 + int.from_bytes(frame[4:8]) : -4]
        return not _may_matter(payload) or _read(payload, self._reports, self._mend) is None


def _may_matter(data: bytes) -> bool:
    """Say whether an event can hold a report or an end, before it is decoded: most hold a word of text."""
    return any(
        word in data for word in (b'sage"', b'sageMetadata"', b"message_", b'finishReason"', b'stopReason"', b'"start"')
    )


def _read(data: bytes, reports: Reports, mend: Mend) -> bytes | None:
    """Take the report out of a JSON object; return it mended, or None: it may go as it is."""
    try:
        said = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    fields = cast("dict[str, Any]", said)
    reports.read(fields)
    return msgspec.json.encode(fields) if mend(fields) else None


def is_sound(usage: object) -> bool:
    """Say whether a report of usage holds nothing but numbers that may be counts, words, and the like further down."""
    if not isinstance(usage, dict):
        return False
    return all(_is_sound(value) for value in cast("dict[str, object]", usage).values())


def _is_sound(value: object) -> bool:
    if isinstance(value, dict):
        return is_sound(cast("object", value))
    if isinstance(value, list):
        return all(_is_sound(one) for one in cast("list[object]", value))
    if isinstance(value, bool) or value is None:
        return True
    return isinstance(value, str) or (isinstance(value, int) and value >= 0)
