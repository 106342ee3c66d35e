"""The texts of all nodes on one database, wherever they stream: what a node reads of others, and passes on to them.

A node with readers of a run says so to all, and says it again while it has any. Whoever streams for that run passes on
what it has of it and what comes (`texts_passed_on.py`); it lands in the ring here, under the numbers that it has there.
All else is as with texts of our own. A message that got lost shows as a gap: then the node asks anew.

The log says when a text ends, and may say so before its last words are here. The end is then held back until they are;
where they do not come, the text begins again with the result.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress

from headgate.engine.text_messages import Begun, Passed, Wanted, message_in, messages_of, wishes_of
from headgate.engine.texts_passed_on import LEASE_SECONDS, PassedOn
from headgate.ports import Chunk, Ended, MirrorStreams, Neighbourhood, Position, Subscription

__all__ = ["TextsOfNeighbours"]

RENEW_SECONDS = LEASE_SECONDS / 3
READ_MAX = 10_000
"""Runs that are read here at a time and asked of others; of further ones readers here have the results."""
HELD_SECONDS = 2.0
"""How long an end waits for more of its text to come."""
ASK_AGAIN_SECONDS = 1.0
"""How often it is asked anew at most when something has got lost."""


class _Run:
    """A run that is read here."""

    def __init__(self, number: int) -> None:
        self.readers = 0
        self.number = number
        """Under which it is asked for; 0: it is not."""
        self.asked_at = 0.0
        self.places: set[str] = set()
        """Those whose texts are another node's."""
        self.whole: dict[str, int] = {}
        """Of which places all is here, and the attempt."""
        self.held: dict[str, _End] = {}
        self.end = ""
        """How the run has ended, where that is held back for its texts."""


class _End:
    def __init__(self, attempt: int, status: str) -> None:
        self.attempt = attempt
        self.status = status
        self.timer: asyncio.TimerHandle | None = None


class TextsOfNeighbours:
    """`ports.Streams` of a node among others."""

    def __init__(self, streams: MirrorStreams, neighbourhood: Neighbourhood) -> None:
        self._streams = streams
        self._neighbourhood = neighbourhood
        self._passed_on = PassedOn(streams, neighbourhood)
        self._runs: dict[str, _Run] = {}
        self._numbers = itertools.count(1)
        self._wanted: dict[str, None] = {}
        """Runs that are to be asked for now."""
        self._dropped: dict[str, None] = {}
        self._begun = False
        """Hearing has begun, and the others are not told yet."""
        self._changed = asyncio.Event()
        self.publish = streams.publish
        self.restart = streams.restart
        self.final = streams.final

    @property
    def origin(self) -> str:
        return self._streams.origin

    def watched(self) -> set[str]:
        """The runs that are read here: of each the log tells the end."""
        return set(self._runs)

    async def run(self) -> None:
        """Hear others, pass on to them, ask them. For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._neighbourhood.hear(self.origin, self._heard, self._hear_anew))
            group.create_task(self._passed_on.run())
            group.create_task(self._ask())

    async def close(self) -> None:
        for run_id in list(self._runs):
            self._forget(run_id)
        self._passed_on.forget_all()
        await self._streams.close()

    # --- Readers here ------------------------------------------------------------------------------------------------

    def subscribe(
        self, run_id: str, *, place: str = "", resume: Sequence[Position] = (), wake: asyncio.Event | None = None
    ) -> Subscription:
        reader = self._streams.subscribe(run_id, place=place, resume=resume, wake=wake)
        run = self._runs.get(run_id)
        if run is None:
            run = self._runs[run_id] = _Run(next(self._numbers) if len(self._runs) < READ_MAX else 0)
            self._want(run_id)
        run.readers += 1
        return _Reader(self, run_id, reader)

    def left(self, run_id: str) -> None:
        """One reader less."""
        if (run := self._runs.get(run_id)) is None:
            return
        run.readers -= 1
        if not run.readers:
            if run.asked_at:
                self._dropped[run_id] = None
                self._changed.set()
            self._forget(run_id)

    def _forget(self, run_id: str) -> None:
        run = self._runs.pop(run_id)
        self._wanted.pop(run_id, None)
        for end in run.held.values():
            _stop(end)
        self._streams.forget_mirrored(run_id)
        if run.end:
            self._streams.end(run_id, run.end)

    # --- Asking ------------------------------------------------------------------------------------------------------

    def _want(self, run_id: str) -> None:
        self._wanted[run_id] = None
        self._changed.set()

    async def _ask(self) -> None:
        """Say what is wanted here when that changes, and now and then all of it. Where nothing is, nothing is said."""
        clock = asyncio.get_running_loop().time
        renew_at = clock() + RENEW_SECONDS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(renew_at if self._runs else None):
                    await self._changed.wait()
            self._changed.clear()
            if clock() >= renew_at:
                self._wanted.update(dict.fromkeys(self._runs))
                renew_at = clock() + RENEW_SECONDS
            if said := [("", text) for text in self._wishes(clock())]:
                await self._neighbourhood.say(said)

    def _wishes(self, now: float) -> Iterator[str]:
        if self._begun:
            self._begun = False
            yield from messages_of(Begun(self.origin))
        named: dict[str, int] = {}
        for run_id in self._wanted:
            run = self._runs[run_id]
            if run.number:
                named[run_id], run.asked_at = run.number, now
        dropped = [run_id for run_id in self._dropped if run_id not in self._runs]
        self._wanted.clear()
        self._dropped.clear()
        yield from wishes_of(self.origin, named, dropped)

    def _ask_anew(self, run_id: str, run: _Run) -> None:
        """Have all of the run passed on again: something is missing. What is here is let be when it comes."""
        now = asyncio.get_running_loop().time()
        if run.number and run_id not in self._wanted and now - run.asked_at >= ASK_AGAIN_SECONDS:
            run.number = next(self._numbers)
            self._want(run_id)

    # --- What others say ---------------------------------------------------------------------------------------------

    def _hear_anew(self) -> None:
        """What was said to this node before is lost, and so may be what others have asked for."""
        for run_id, run in self._runs.items():
            if run.number:
                run.number = next(self._numbers)
                self._want(run_id)
        self._begun = True
        self._changed.set()

    def _heard(self, text: str) -> None:
        message = message_in(text)
        if isinstance(message, Wanted) and message.node != self.origin:
            self._passed_on.asked(message)
        elif isinstance(message, Begun) and message.node != self.origin:
            for run_id in self._runs:
                self._want(run_id)
        elif isinstance(message, Passed) and (run := self._runs.get(message.run)) is not None:
            self._passed(message.run, run, message.chunk)

    def _passed(self, run_id: str, run: _Run, chunk: Chunk) -> None:
        followed = self._streams.mirror(run_id, chunk)
        if followed is False:
            self._ask_anew(run_id, run)
        if followed is None or not self._streams.mirrored(run_id, chunk.place):
            return
        run.places.add(chunk.place)
        end = run.held.get(chunk.place)
        if followed and isinstance(chunk, Ended):
            run.whole[chunk.place] = chunk.attempt
            if end is not None and end.attempt == chunk.attempt:
                self._finish_held(run_id, run, chunk.place)
        elif followed and end is not None:
            self._wait(run_id, run, chunk.place, end)

    # --- Ends --------------------------------------------------------------------------------------------------------

    def finish(self, run_id: str, place: str, attempt: int, status: str) -> None:
        run = self._runs.get(run_id)
        if run is None or not self._lacks(run_id, run, place, attempt):
            self._finish(run_id, place, attempt, status)
        elif place not in run.held:
            end = run.held[place] = _End(attempt, status)
            self._wait(run_id, run, place, end)

    def _lacks(self, run_id: str, run: _Run, place: str, attempt: int) -> bool:
        """Return whether more is to come of this very text from another node."""
        mirrored = self._streams.mirrored(run_id, place)
        return mirrored > 0 and mirrored == attempt and run.whole.get(place) != attempt

    def end(self, run_id: str, status: str) -> None:
        run = self._runs.get(run_id)
        if run is None:
            self._streams.end(run_id, status)
            return
        for place in list(run.places):
            if attempt := self._streams.mirrored(run_id, place):
                self.finish(run_id, place, attempt, status)
        run.end = status
        self._end_if_whole(run_id, run)

    def _finish(self, run_id: str, place: str, attempt: int, status: str) -> None:
        if run := self._runs.get(run_id):
            run.places.discard(place)
            run.whole.pop(place, None)
        self._streams.finish(run_id, place, attempt, status)

    def _finish_held(self, run_id: str, run: _Run, place: str) -> None:
        """End it now. Where the rest of its text has not come, what is here is void: the result is read instead."""
        end = run.held.pop(place)
        _stop(end)
        if self._streams.mirrored(run_id, place) == end.attempt:  # else another attempt has begun meanwhile
            if run.whole.get(place) != end.attempt:
                self._streams.restart(run_id, place, end.attempt)
            self._finish(run_id, place, end.attempt, end.status)
        self._end_if_whole(run_id, run)

    def _end_if_whole(self, run_id: str, run: _Run) -> None:
        if run.end and not run.held:
            status, run.end = run.end, ""
            self._streams.end(run_id, status)

    def _wait(self, run_id: str, run: _Run, place: str, end: _End) -> None:
        _stop(end)
        loop = asyncio.get_running_loop()
        end.timer = loop.call_later(HELD_SECONDS, self._finish_held, run_id, run, place)


class _Reader:
    """A reader here, until it is closed."""

    def __init__(self, texts: TextsOfNeighbours, run_id: str, reader: Subscription) -> None:
        self._texts = texts
        self._run_id = run_id
        self._reader = reader
        self._closed = False
        self.take = reader.take
        self.next = reader.next

    @property
    def over(self) -> bool:
        return self._reader.over

    def close(self) -> None:
        self._reader.close()
        if not self._closed:
            self._closed = True
            self._texts.left(self._run_id)


def _stop(end: _End) -> None:
    if end.timer is not None:
        end.timer.cancel()
