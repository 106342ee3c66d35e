"""Streams: how long a token takes from a model to a reader in the same process, alone and among a thousand texts.

The model is a fake that says a token at stated times and remembers them; all behind it is as in earnest: activity,
admission, worker, protocol, ring, desk, one reader per run. Each token names its stream and number, and at the end the
text that the reader got, the result in the log and what the model has said must be the same, byte for byte.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from bench.figures import latency_figures, rounded
from headgate.app import App
from headgate.core.values import Price, Usage
from headgate.ports import Changed, Message, ModelAnswer, ModelRequest, StartRequest, Tokens
from headgate.process import tune_process
from headgate.stores.sqlite import SqliteLog

__all__ = ["measure_streams"]

ALONE_STREAMS = 4
ALONE_SECONDS = 0.03
"""Between two tokens of a stream: longer than what follows is gathered for, so that each goes alone."""
MANY_SECONDS = 0.02
TICKS = 20
"""A period has so many ticks, and each stream speaks in one of them."""
TOKEN_BYTES = 8
DEFINITION = "name: talk\nactivities:\n  say: {use: llm_prompt, with: {model: fake/m, prompt: '{{ INPUT.number }}'}}\n"


class Source:
    """A provider whose models speak when they are told to. `sent` has the time of each token, by stream."""

    name = "fake"

    def __init__(self, streams: int) -> None:
        self._said: list[asyncio.Queue[str | None]] = [asyncio.Queue() for _ in range(streams)]
        self.sent: list[list[float]] = [[] for _ in range(streams)]
        self._listening = 0
        self.all_listen = asyncio.Event()

    def speak(self, stream: int) -> None:
        sent = self.sent[stream]
        self._said[stream].put_nowait(f"{len(sent):07d} ")
        sent.append(time.perf_counter())

    def end(self) -> None:
        for said in self._said:
            said.put_nowait(None)

    def text(self, stream: int) -> str:
        return "".join(f"{number:07d} " for number in range(len(self.sent[stream])))

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        self._listening += 1
        if self._listening == len(self.sent):
            self.all_listen.set()
        stream = int(request.messages[-1].content)
        said = self._said[stream]
        while (token := await said.get()) is not None:
            yield token
        yield ModelAnswer(content=self.text(stream), model="m", usage=Usage())

    async def request(self, request: ModelRequest) -> ModelAnswer:
        raise AssertionError("it streams")

    def price(self, model: str) -> Price | None:
        return None

    def count(self, request: ModelRequest) -> int:
        return 1


class Reader:
    """One reader of one run."""

    def __init__(self) -> None:
        self.parts: list[tuple[float, int, str]] = []
        """When each chunk came, where in the text, and what it says."""
        self.output: Any = None

    async def read(self, app: App, run_id: str) -> None:
        parts = self.parts
        async for update in app.desk.watch(run_id, tokens=True):
            if type(update) is Tokens:
                parts.append((time.perf_counter(), update.offset, update.text))
            elif isinstance(update, Changed) and update.run.finished_at:
                self.output = update.run.outputs

    @property
    def text(self) -> str:
        return "".join(text for _, _, text in self.parts)

    def delays(self, sent: list[float]) -> Iterator[float]:
        """Yield for each token the seconds between its being said and its coming."""
        for came, offset, text in self.parts:
            first = offset // TOKEN_BYTES
            for said in sent[first : first + len(text) // TOKEN_BYTES]:
                yield came - said


async def measure_streams(path: Path, *, streams: int, seconds_min: float) -> dict[str, Any]:
    """Return the figures of tokens that come alone (`alone`), and of `streams` texts at 50 tokens a second (`many`)."""
    tune_process()
    alone = await _measure(path.with_name("alone.db"), ALONE_STREAMS, ALONE_SECONDS, seconds_min)
    many = await _measure(path.with_name("many.db"), streams, MANY_SECONDS, seconds_min)
    bare = await _speak_to_nobody(streams, seconds_min)
    return {"alone": alone, "many": many, "source": bare}


async def _measure(path: Path, streams: int, period: float, seconds_min: float) -> dict[str, Any]:
    source = Source(streams)
    async with App(SqliteLog(path), providers={"fake": source}, folder=path.parent / "state") as app:
        readers = [Reader() for _ in range(streams)]
        reading: list[asyncio.Task[None]] = []
        for number, reader in enumerate(readers):
            started = await app.desk.start(StartRequest(definition=DEFINITION, input={"number": number}))
            reading.append(asyncio.create_task(reader.read(app, started.id)))
        await source.all_listen.wait()
        wall, processor = await _speak(source, streams, period, seconds_min)
        source.end()
        await asyncio.gather(*reading)
        faults = app.engine.failures
    _require_whole(source, readers, faults)
    tokens = sum(map(len, source.sent))
    delays = [delay for reader, sent in zip(readers, source.sent, strict=True) for delay in reader.delays(sent)]
    return latency_figures(delays) | {
        "streams": streams,
        "tokens_per_second": rounded(tokens / wall),
        "asked_per_second": rounded(streams / period),
        "tokens_per_chunk": rounded(tokens / sum(len(reader.parts) for reader in readers)),
        "processor_us_per_token": rounded(processor / tokens * 1_000_000),
        "processor_share": rounded(processor / wall),
        "seconds": rounded(wall),
    }


async def _speak(source: Source, streams: int, period: float, seconds: float) -> tuple[float, float]:
    """Let every stream speak once a period, each at its own tick; return the seconds that it took, and those of the
    processor. A tick that comes late is made up for at once: the load does not shrink when we are slow."""
    begin, processor = time.perf_counter(), time.process_time()
    ticks = min(TICKS, streams)
    for number in range(max(ticks, int(seconds / period) * ticks)):
        late = time.perf_counter() - (begin + number * period / ticks)
        await asyncio.sleep(max(0.0, -late))
        for stream in range(number % ticks, streams, ticks):
            source.speak(stream)
    return time.perf_counter() - begin, time.process_time() - processor


async def _speak_to_nobody(streams: int, seconds: float) -> dict[str, Any]:
    """Return what the fake itself costs, with nothing behind it."""
    source = Source(streams)

    async def hear(stream: int) -> None:
        async for _ in source.stream(_request(stream)):
            pass

    hearing = [asyncio.create_task(hear(number)) for number in range(streams)]
    wall, processor = await _speak(source, streams, MANY_SECONDS, seconds)
    source.end()
    await asyncio.gather(*hearing)
    tokens = sum(map(len, source.sent))
    return {
        "processor_us_per_token": rounded(processor / tokens * 1_000_000),
        "tokens_per_second": rounded(tokens / wall),
    }


def _request(stream: int) -> ModelRequest:
    return ModelRequest(model="m", messages=(Message("user", str(stream)),))


def _require_whole(source: Source, readers: list[Reader], faults: list[Any]) -> None:
    if faults:
        raise RuntimeError(f"the engine failed: {faults[:3]}")
    for number, reader in enumerate(readers):
        said, kept = source.text(number), reader.output["say"]["content"]
        if not said or not said == reader.text == kept:
            raise RuntimeError(
                f"stream {number}: {len(said)} bytes were said, {len(reader.text)} arrived, {len(kept)} are in the log"
            )
