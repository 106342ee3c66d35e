"""A model server that answers at once, always the same, in a process of its own: `python -m bench.fake_model`.

It prints its port, then, when its input ends, how many requests it has answered.
"""

from __future__ import annotations

import asyncio
import json
import sys

__all__ = ["ANSWER"]

ANSWER = {
    "id": "answer",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5-mini",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The answer is forty-two."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27},
}
BODY = json.dumps(ANSWER).encode()
REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length: "


class FakeModel(asyncio.Protocol):
    """One connection: each whole request gets the reply."""

    answered = 0

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (size := _whole(self._received)) > 0:
            self._received = self._received[size:]
            FakeModel.answered += 1
            assert self._transport is not None
            self._transport.write(REPLY)


def _whole(received: bytes) -> int:
    """Return how many bytes the first request has, 0 while it is not whole."""
    end = received.find(HEAD_END)
    if end < 0:
        return 0
    head = received[:end].lower()
    begin = head.find(LENGTH)
    length = int(head[begin + len(LENGTH) :].split(b"\r\n")[0]) if begin >= 0 else 0
    size = end + len(HEAD_END) + length
    return size if len(received) >= size else 0


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(FakeModel, "127.0.0.1", 0, backlog=1_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(FakeModel.answered, flush=True)


if __name__ == "__main__":
    asyncio.run(_serve())
