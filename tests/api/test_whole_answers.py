"""How answers go onto the wire."""

from __future__ import annotations

import asyncio

import pytest

from headgate.api.http import HttpServer
from headgate.api.http.bounded_protocol import TOGETHER_BYTES_MAX


async def answered(size: int) -> tuple[list[int], bytes]:
    """Return the sizes of the writes of an answer of so many bytes as it was complete, and what came of it."""
    sent: list[int] = []
    at_once: list[int] = []

    async def application(scope, receive, send):
        transport = receive.__self__.transport
        write = transport._transport.write
        transport._transport.write = lambda data: (sent.append(len(data)), write(data))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": b"x" * size})
        at_once.extend(sent)

    async with HttpServer(application, "127.0.0.1", 0) as there, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", there.port)
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        data = await reader.readexactly(size)
        writer.close()
    return at_once, data


@pytest.mark.parametrize(
    ("size", "writes"), [(0, 1), (2, 1), (40_000, 1), (TOGETHER_BYTES_MAX, 2), (10 * TOGETHER_BYTES_MAX, 2)]
)
def test_head_and_body_of_an_answer_leave_in_one_piece_unless_they_are_large(size: int, writes: int):
    sent, body = asyncio.run(answered(size))

    assert len(sent) == writes
    assert body == b"x" * size


def test_pieces_of_a_stream_leave_in_order_and_none_waits_for_the_next():
    let = asyncio.Event()
    waiting: list[int] = []

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for letter in (b"a", b"b"):
            await send({"type": "http.response.body", "body": letter * 3, "more_body": True})
        await let.wait()
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"c" * TOGETHER_BYTES_MAX, "more_body": True})
            waiting.append(len(receive.__self__.transport._pieces))
        await send({"type": "http.response.body", "body": b""})

    async def whole() -> None:
        async with HttpServer(application, "127.0.0.1", 0) as there, asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", there.port, limit=1 << 20)
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert (await reader.readuntil(b"bbb\r\n")).endswith(b"\r\n3\r\naaa\r\n3\r\nbbb\r\n")
            let.set()
            rest = await reader.readuntil(b"0\r\n\r\n")
            assert rest.count(b"c") == 3 * TOGETHER_BYTES_MAX
            writer.close()

    asyncio.run(whole())
    assert waiting == [0, 0, 0]  # so that a slow reader is known as one
