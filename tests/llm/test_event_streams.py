"""Streams are cut into events wherever the network has cut them; what others read of the same bytes is the judge."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.llm import event_streams
from headgate.llm.event_streams import AmazonFrames, BrokenStream, Frame, ServerSentEvents

CUTS = st.lists(st.integers(1, 40))


def pieces(data: bytes, lengths: list[int]) -> list[bytes]:
    found: list[bytes] = []
    for length in lengths:
        found.append(data[:length])
        data = data[length:]
    return [*found, data]


def taken(framing: Any, data: bytes, lengths: list[int] | None = None) -> list[Any]:
    return [event for piece in pieces(data, lengths or []) for event in framing.take(piece)]


# --- Server-sent events --------------------------------------------------------------------------------------------

LINES = st.sampled_from(
    [
        "data: a",
        "data:b",
        "data:  c",
        "data",
        "data:",
        "data: größer 🚀",
        ": note",
        "event: x",
        "id: 1",
        "retry: 5",
        "x",
        "",
    ]
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r"]))).map(
    lambda lines: ("".join(line + end for line, end in lines) + ": end\n").encode()  # another reader errs at a last CR
)


def as_the_http_client_reads_it(data: bytes) -> list[str]:
    import httpx2

    async def body() -> AsyncIterator[bytes]:
        yield data

    async def read() -> list[str]:
        response = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body())
        response.request = httpx2.Request("POST", "http://x")
        return [event.data async for event in httpx2.EventSource(response) if event.data]

    return asyncio.run(read())


@given(data=STREAMS)
def test_events_are_those_that_another_reader_finds(data: bytes):
    assert [event.decode() for event in taken(ServerSentEvents(), data)] == as_the_http_client_reads_it(data)


@given(data=STREAMS, lengths=CUTS)
def test_events_are_the_same_wherever_the_bytes_are_cut(data: bytes, lengths: list[int]):
    assert taken(ServerSentEvents(), data, lengths) == taken(ServerSentEvents(), data)


def test_an_event_is_given_with_the_byte_that_ends_it():
    reader = ServerSentEvents()

    assert reader.take(b"data: a\n") == []
    assert reader.take(b"\n") == [b"a"]
    assert reader.take(b"data: b\r\n\r") == [b"b"]
    assert reader.take(b"\ndata: c\n\n") == [b"c"]
    assert reader.take(b"data: d\r") == []
    assert reader.take(b"\ndata: e\n\n") == [b"d\ne"]


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_line():
    assert taken(ServerSentEvents(), b"\xef\xbb\xbfdata: a\n\n") == [b"a"]


def test_an_event_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(event_streams, "EVENT_BYTES_MAX", 100)

    with pytest.raises(BrokenStream, match="more than 100 bytes"):
        taken(ServerSentEvents(), b"data: " + b"x" * 400, [50] * 8)
    with pytest.raises(BrokenStream, match="more than 100 bytes"):
        taken(ServerSentEvents(), b"data: xxxxxxxxxx\n" * 20)
    assert len(taken(ServerSentEvents(), b"data: xxxxxxxxxx\n\n" * 20)) == 20


# --- AWS's frames ---------------------------------------------------------------------------------------------------

HEADERS = st.dictionaries(
    st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=12), st.text(max_size=20), max_size=4
)
PAYLOADS = st.binary(max_size=60)
FRAMES = st.lists(st.tuples(HEADERS, PAYLOADS), max_size=4)


def written(headers: dict[str, str], payload: bytes, *, others: bytes = b"") -> bytes:
    head = b"".join(
        bytes([len(name) + 1])
        + b":"
        + name.encode()
        + b"\x07"
        + struct.pack(">H", len(value.encode()))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", len(head + others) + len(payload) + 16, len(head + others))
    data = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + others + payload
    return data + struct.pack(">I", zlib.crc32(data))


def as_amazons_sdk_reads_it(data: bytes) -> list[Frame]:
    from botocore.eventstream import EventStreamBuffer

    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [
        Frame({name.removeprefix(":"): value for name, value in event.headers.items()}, event.payload)
        for event in buffer
    ]


@given(frames=FRAMES, lengths=CUTS)
def test_frames_are_those_that_amazons_sdk_finds_wherever_they_are_cut(
    frames: list[tuple[dict[str, str], bytes]], lengths: list[int]
):
    data = b"".join(written(*frame) for frame in frames)

    assert taken(AmazonFrames(), data, lengths) == as_amazons_sdk_reads_it(data)
    assert taken(AmazonFrames(), data) == [Frame(headers, payload) for headers, payload in frames]


def test_headers_that_are_no_text_are_passed_over():
    others = b"".join(
        (
            b"\x01a\x00\x01b\x01",  # true, false
            b"\x01c\x02\x07\x01d\x03\x00\x07\x01e\x04\x00\x00\x00\x07",  # a byte, a short, an integer
            b"\x01f\x05" + b"\x00" * 8 + b"\x01g\x08" + b"\x00" * 8,  # a long, a time
            b"\x01h\x06\x00\x02hi\x01i\x09" + b"\x00" * 16,  # bytes, an id
            b"\x01j\x07\x00\x02yo",
        )
    )
    data = written({"event-type": "x"}, b"{}", others=others)

    (frame,) = taken(AmazonFrames(), data)

    assert frame == Frame({"event-type": "x", "j": "yo"}, b"{}")
    assert as_amazons_sdk_reads_it(data)[0].headers["j"] == "yo"


@given(frame=st.tuples(HEADERS, PAYLOADS), place=st.integers(0, 10_000), change=st.integers(1, 255))
def test_a_byte_that_was_changed_on_the_way_breaks_the_stream(
    frame: tuple[dict[str, str], bytes], place: int, change: int
):
    data = bytearray(written(*frame))
    data[place % len(data)] ^= change

    with pytest.raises(BrokenStream, match="sum"):
        AmazonFrames().take(bytes(data))


@pytest.mark.parametrize(
    "others",
    [b"\x01a\x0a", b"\x01a\x07\x00\x09hi", b"\x09a\x07", b"\x01a\x07\x00\x02\xff\xff", b"\x01a"],
    ids=["unknown kind", "value too long", "name too long", "no text", "no value"],
)
def test_headers_that_cannot_be_read_break_the_stream(others: bytes):
    with pytest.raises(BrokenStream):
        AmazonFrames().take(written({}, b"{}", others=others))


def test_a_frame_of_impossible_length_is_not_waited_for():
    prelude = struct.pack(">II", 2**31, 0)

    with pytest.raises(BrokenStream, match="a frame of 2147483648 bytes"):
        AmazonFrames().take(prelude + struct.pack(">I", zlib.crc32(prelude)))
    short = struct.pack(">II", 12, 0)
    with pytest.raises(BrokenStream, match="a frame of 12 bytes"):
        AmazonFrames().take(short + struct.pack(">I", zlib.crc32(short)))
