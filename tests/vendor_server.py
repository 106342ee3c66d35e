"""An OpenAI-compatible server in the test's own process, of which its heirs say how it answers and what it charges."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any, Self

__all__ = ["VendorServer"]


class VendorServer:
    """Listens at `url` within `async with`. Its chance is the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.answer(await _request(reader), writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        """Write the answer; return whether the connection stays open."""
        raise NotImplementedError  # each vendor has its own


async def _request(reader: asyncio.StreamReader) -> dict[str, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    return json.loads(await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0])))
