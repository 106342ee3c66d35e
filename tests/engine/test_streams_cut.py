"""Over the real control socket, with connections that are cut wherever it hurts: no gap, no repeat, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.engine.tapped import TEXT, Tap, in_pieces

from headgate.api.socket import SocketServer
from headgate.cli.follow import Reading
from headgate.client.address import Address
from headgate.client.frames import OwnerGone
from headgate.client.socket import SocketClient
from headgate.engine.clock import WallClock
from headgate.ports import Changed, Ended, Restarted, Tokens
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog
from headgate.testing.stream_conformance import Heard

ASK = "name: asks\nactivities:\n  ask: {use: llm_prompt, with: {model: tap/one, prompt: Hello}}\n"
MEGABYTE = "大🦉é" * 120_000
"""One token of more than a megabyte."""


@asynccontextmanager
async def cutter(folder: Path, target: str, cuts: list[int]) -> AsyncIterator[Address]:
    """A socket in front of another, which lets each connection have so many bytes, and then hangs up; when there are
    no more `cuts`, it lets all through."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(target)
        asking = asyncio.create_task(pump(reader, ours, None))
        try:
            await pump(theirs, writer, cuts.pop() if cuts else None)
        finally:
            asking.cancel()
            for end in (writer, ours):
                end.transport.abort()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, left: int | None) -> None:
        with suppress(OSError):
            while data := await source.read(4_096 if left is None else min(4_096, left)):
                sink.write(data)
                await sink.drain()
                if left is not None and (left := left - len(data)) <= 0:
                    return

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    path = folder / "cut.sock"
    server = await asyncio.start_unix_server(accept, path)
    try:
        yield Address(path=str(path))
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_with_cuts(client: SocketClient, run_id: str) -> tuple[Heard, int, Any]:
    """Return what was heard of `ask`, how often the connection was cut, and the finished run."""
    reading, heard, cut, last = Reading(run_id), None, 0, None
    while True:
        try:
            async for update in reading.updates(client):
                if isinstance(update, Changed):
                    last = update.run
                else:
                    heard = Heard.of([update], heard)
        except OwnerGone:
            cut += 1
        else:
            assert heard is not None
            return heard, cut, last


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kept", ["in memory", "beside the log"])
def test_whatever_is_cut_the_parts_together_are_the_result(play: Any, tmp_path: Path, seed: int, kept: str):
    draw = Random(seed)
    tap, cuts = Tap(), [draw.randint(1, 60_000) for _ in range(25)] + [draw.randint(900, 2_500) for _ in range(10)]
    draw.shuffle(cuts)
    expected = len(cuts)
    whole = TEXT * 20 + MEGABYTE + TEXT * 20

    async def scene(bench: Any) -> None:
        async with (
            SocketServer(bench.app.desk, Address(path=str(tmp_path / "owner.sock"))) as server,
            cutter(tmp_path, server.address.path, cuts) as address,
        ):
            run_id = await bench.start(ASK)
            reading = asyncio.create_task(read_with_cuts(SocketClient(address), run_id))
            for piece in [*in_pieces(TEXT * 20, 97), MEGABYTE, *in_pieces(TEXT * 20, 97)]:
                tap.say(piece)
                await asyncio.sleep(0)
                if draw.random() < 0.05:
                    await bench.until(tap.said["one"].empty)
            if draw.random() < 0.5:  # else the outcome comes while much is yet to be read
                await bench.until(lambda: len(cuts) < expected / 2 or reading.done())
            tap.end(whole)
            heard, cut, run = await asyncio.wait_for(reading, 60)

            assert (heard.restarts, heard.gaps, heard.status) == (0, 0, "completed")
            assert heard.text == whole == run.outputs["ask"]["content"]
            assert cut >= 5, "hardly anything was cut"

    log = MemoryLog() if kept == "in memory" else SqliteLog(tmp_path / "log.db")
    play(scene, log=log, providers={"tap": tap}, clock=WallClock())


def test_a_reader_that_comes_back_to_another_epoch_is_told_that_the_text_begins_again(play: Any, tmp_path: Path):
    tap = Tap()

    async def scene(bench: Any) -> None:
        async with SocketServer(bench.app.desk, Address(path=str(tmp_path / "owner.sock"))) as server:
            client = SocketClient(server.address)
            run_id = await bench.start(ASK.replace("tap/one", "[tap/one, tap/two]"))
            first = Reading(run_id)
            tap.say("Half a 🦉")
            async for update in first.updates(client):
                if isinstance(update, Tokens):
                    break
            tap.fail()
            tap.say(TEXT, model="two")
            await bench.until(lambda: tap.said["two"].empty())
            tap.end(TEXT, model="two")
            chunks = [update async for update in first.updates(client) if not isinstance(update, Changed)]

            assert isinstance(chunks[0], Restarted)
            assert isinstance(chunks[-1], Ended)
            assert Heard.of(chunks)[:4] == (TEXT, 1, 0, "completed")

    play(scene, providers={"tap": tap}, clock=WallClock())
