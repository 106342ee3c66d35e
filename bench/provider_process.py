"""The two processes of `bench providers`: a server that answers at once, and a process that asks it.

`python -m bench.provider_process serve KIND` prints the port it listens on, and answers every request with the same
bytes: of a whole answer, or of a stream of fifty tokens where the request asks for one. `… ask KIND HOW PORT COUNT`
calls a provider (or, with HOW `bare` and `bare-stream`, sends a like request by httpx2 and reads the same bytes) and
prints what that took, as JSON. The server is a process of its own, so its work is in no figure.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.llm.fakes.rigs import KINDS

from headgate.core.values import Usage
from headgate.llm.registry import build_providers, close_providers
from headgate.ports import Message, ModelRequest
from headgate.testing.provider_rig import Said

__all__: list[str] = []

TOKENS = 50
SAID = Said(
    texts=tuple(f"word{number} " for number in range(TOKENS)), usage=Usage(input_tokens=700, output_tokens=TOKENS)
)
PROMPT = "Tell me about the moon. " * 80  # 2 kB
WARM_UP_CALLS = 20


class _AtOnce(asyncio.Protocol):
    """Answers each request when its last byte has come."""

    def __init__(self, whole: bytes, streamed: bytes) -> None:
        self._whole = whole
        self._streamed = streamed
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, border, body = self._received.partition(b"\r\n\r\n")
        if not border:
            return
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        if len(body) < length:
            return
        self._received = b""
        path = head.partition(b"\r\n")[0]
        stream = b'"stream":true' in body.replace(b": ", b":") or b"stream" in path.lower()
        self._transport.write(self._streamed if stream else self._whole)


def _with_head(content: bytes, kind: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


async def serve(kind: str) -> None:
    fake = KINDS[kind].fake
    whole = _with_head(b"".join(fake.whole(SAID).chunks), "application/json")
    streamed = _with_head(b"".join([*fake.texts(SAID), *fake.ending(SAID)]), fake.STREAM["content-type"])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _AtOnce(whole, streamed), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def ask(kind: str, how: str, port: int, count: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}"
    began, spent = time.perf_counter(), time.process_time()
    call, close = (_bare if how.startswith("bare") else _ours)(kind, url, streamed=how.endswith("stream"))
    await call()
    first = {
        "first_call_ms": (time.perf_counter() - began) * 1e3,
        "first_call_cpu_ms": (time.process_time() - spent) * 1e3,
    }
    for _ in range(WARM_UP_CALLS):
        await call()
    begin, processor = time.perf_counter(), time.process_time()
    for _ in range(count):
        await call()
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    await close()
    return {
        "cpu_us": processor * 1e6 / count,
        "wall_us": seconds * 1e6 / count,
        "rss_mb": _resident_mb(),
        **first,
    }


Asking = tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]


def _ours(kind: str, url: str, *, streamed: bool) -> Asking:
    providers = build_providers(KINDS[kind].environment(url))
    provider = providers[kind]
    request = ModelRequest(model=KINDS[kind].model, messages=(Message("user", PROMPT),), max_tokens=200)

    async def call() -> None:
        if not streamed:
            answer = await provider.request(request)
            assert answer.usage.output_tokens == TOKENS
            return
        texts = [item async for item in provider.stream(request)]
        assert len(texts) == TOKENS + 1

    async def close() -> None:
        await close_providers(providers)

    return call, close


def _bare(kind: str, url: str, *, streamed: bool) -> Asking:
    import httpx2

    client = httpx2.AsyncClient()
    body = {"model": KINDS[kind].model, "messages": [{"role": "user", "content": PROMPT}], "stream": streamed}
    content = json.dumps(body).encode()
    path = f"{url}/{'stream' if streamed else 'whole'}"

    async def call() -> None:
        async with client.stream(
            "POST", path, content=content, headers={"content-type": "application/json"}
        ) as response:
            async for _ in response.aiter_bytes():
                pass

    return call, client.aclose


def _resident_mb() -> float:
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    return next(int(line.split()[1]) / 1_024 for line in status.splitlines() if line.startswith("VmRSS"))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", kind]:
            asyncio.run(serve(kind))
        case ["ask", kind, how, port, count]:
            print(json.dumps(asyncio.run(ask(kind, how, int(port), int(count)))))
        case _:
            sys.exit(__doc__)
