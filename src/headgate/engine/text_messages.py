"""What nodes say to each other of streamed texts, in messages that are short enough for a `Neighbourhood`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from headgate.ports import MESSAGE_BYTES_MAX, Chunk, Tokens, character_begin

__all__ = ["Begun", "Passed", "TextMessage", "Wanted", "message_in", "messages_of", "wishes_of"]

NAMES_BYTES_MAX = 6_000
"""Of the ids of runs in one message."""
NUMBER_BYTES_MAX = 24
"""Of what is said with each id."""


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True, tag="wanted"):
    """`node` has readers of these runs, and none of the `dropped` any more. Whoever streams for them passes it on.

    The number of a run is another whenever the node has to hear all again from the beginning."""

    node: str
    runs: dict[str, int] = {}
    dropped: tuple[str, ...] = ()


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """`node` hears from now on; what was said to it before is lost."""

    node: str


class Passed(msgspec.Struct, frozen=True, tag="passed"):
    """What is streamed elsewhere, for whoever said that it is wanted."""

    run: str
    chunk: Chunk


TextMessage = Wanted | Begun | Passed

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(TextMessage)


def message_in(text: str) -> TextMessage | None:
    """Return the message; None for one of another release, or from a stranger."""
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError:
        return None


def messages_of(message: TextMessage) -> Iterator[str]:
    """Yield the message, or parts that come to the same. One that is too long in itself is left out."""
    text = _encoder.encode(message)
    if len(text) <= MESSAGE_BYTES_MAX:
        yield text.decode()
    elif isinstance(message, Passed) and isinstance(message.chunk, Tokens):
        chunk, data = message.chunk, message.chunk.text.encode()
        if half := character_begin(data, len(data) // 2):
            first = msgspec.structs.replace(chunk, text=data[:half].decode())
            second = msgspec.structs.replace(chunk, offset=chunk.offset + half, text=data[half:].decode())
            yield from messages_of(Passed(message.run, first))
            yield from messages_of(Passed(message.run, second))


def wishes_of(node: str, runs: Mapping[str, int], dropped: Iterable[str]) -> Iterator[str]:
    """Yield what a node says of the runs that it wants, and of those that it wants no more."""
    for names in _parcels(runs):
        yield from messages_of(Wanted(node, {run: runs[run] for run in names}))
    for names in _parcels(dropped):
        yield from messages_of(Wanted(node, dropped=tuple(names)))


def _parcels(runs: Iterable[str]) -> Iterator[list[str]]:
    """Yield as many together as one message can name."""
    names: list[str] = []
    size = 0
    for run in runs:
        length = len(_encoder.encode(run)) + NUMBER_BYTES_MAX
        if names and size + length > NAMES_BYTES_MAX:
            yield names
            names, size = [], 0
        names.append(run)
        size += length
    if names:
        yield names
