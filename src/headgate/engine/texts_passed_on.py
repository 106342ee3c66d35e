"""What is streamed here and read at other nodes: for each of them a reader of ours, whose chunks go there as messages.

The reader waits in the ring like any other, so nothing is kept for a node that is slow, and what was streamed before it
asked comes first. In a round each run has its turn; what is too much for one goes with the next, in larger chunks.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress

from headgate.core.errors import HeadgateError
from headgate.engine.text_messages import Passed, Wanted, messages_of
from headgate.ports import Chunk, Ended, MirrorStreams, Neighbourhood, Restarted, Subscription, Tokens

__all__ = ["LEASE_SECONDS", "PassedOn"]

ROUND_SECONDS = 0.025
ROUND_BYTES_MAX = 64 * 1024
"""What is said in one round, but for the end of the last chunk: 2.5 MiB a second, to all nodes together."""
PASSED_ON_MAX = 1_000
"""Runs that are passed on, each to each node; of further ones the others have the results."""
LEASE_SECONDS = 15.0
"""A node that has not asked again by then is gone."""

Key = tuple[str, str]
"""The node that reads, and the run."""


class _Reading:
    def __init__(self, reader: Subscription, number: int, until: float) -> None:
        self.reader = reader
        self.number = number
        self.until = until
        self.begun: set[str] = set()
        """The places of which something was passed on."""


class PassedOn:
    """One per node."""

    def __init__(self, streams: MirrorStreams, neighbourhood: Neighbourhood) -> None:
        self._streams = streams
        self._neighbourhood = neighbourhood
        self._readings: OrderedDict[Key, _Reading] = OrderedDict()
        """The next one whose turn it is comes first."""
        self._wake = asyncio.Event()

    def asked(self, wanted: Wanted) -> None:
        """Begin, or go on, with what another node wants."""
        until = asyncio.get_running_loop().time() + LEASE_SECONDS
        for run_id in wanted.dropped:
            self._forget((wanted.node, run_id))
        for run_id, number in wanted.runs.items():
            key = wanted.node, run_id
            reading = self._readings.get(key)
            if reading is not None and reading.number == number:
                reading.until = until
                continue
            self._forget(key)
            if len(self._readings) < PASSED_ON_MAX:
                self._readings[key] = _Reading(self._streams.subscribe(run_id, wake=self._wake), number, until)
                self._wake.set()

    def forget_all(self) -> None:
        """What was said may not have come: whoever reads asks again."""
        for key in list(self._readings):
            self._forget(key)

    def _forget(self, key: Key) -> None:
        if reading := self._readings.pop(key, None):
            reading.reader.close()

    async def run(self) -> None:
        """Pass on whatever there is. For ever."""
        while True:
            await self._news()
            self._wake.clear()
            self._forget_silent()
            said = self._round()
            if said and not await self._neighbourhood.say(said):
                self.forget_all()
            await asyncio.sleep(ROUND_SECONDS)

    async def _news(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LEASE_SECONDS if self._readings else None):
                await self._wake.wait()

    def _forget_silent(self) -> None:
        now = asyncio.get_running_loop().time()
        for key in [key for key, reading in self._readings.items() if reading.until < now]:
            self._forget(key)

    def _round(self) -> list[tuple[str, str]]:
        """Return what is to be said now, a chunk of each run in turn."""
        said: list[tuple[str, str]] = []
        size = idle = 0
        while idle < len(self._readings):
            if size >= ROUND_BYTES_MAX:
                self._wake.set()
                break
            key, reading = next(iter(self._readings.items()))
            self._readings.move_to_end(key)
            chunk = self._take(key, reading)
            idle = idle + 1 if chunk is None else 0
            if chunk is None or not self._is_ours(reading, chunk):
                continue
            for message in messages_of(Passed(key[1], chunk)):
                said.append((key[0], message))
                size += len(message)
        return said

    def _take(self, key: Key, reading: _Reading) -> Chunk | None:
        chunk = None
        with suppress(HeadgateError):  # more waits for that node than is kept
            chunk = reading.reader.take()
            if chunk is not None or not reading.reader.over:
                return chunk
        self._forget(key)
        return None

    def _is_ours(self, reading: _Reading, chunk: Chunk) -> bool:
        """Return whether it is to be passed on: what was streamed here, not what we have from others or the log."""
        if chunk.origin != self._streams.origin:
            return False
        if isinstance(chunk, Ended):
            reading.begun.discard(chunk.place)
            return chunk.offset > 0
        if isinstance(chunk, Tokens):
            reading.begun.add(chunk.place)
        return not isinstance(chunk, Restarted) or chunk.place in reading.begun
