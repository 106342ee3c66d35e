"""Following a run: its updates go to a display until it has ended, or only a person can go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Protocol, cast

from headgate.cli.exit_codes import waits_for_person
from headgate.core.view import RunView
from headgate.ports import Changed, Chunk, Ended, Position, ReaderTooSlow, Update

__all__ = ["Display", "Reading", "Watched", "follow"]

PULSE_SECONDS = 0.1
PAUSE_SECONDS_PER_ACTIVITY = 0.00005
"""A view is made of all activities, for each change anew: looking at a run of ten thousand must not slow it down."""


class Display(Protocol):
    """What shows a run while it is followed. Nothing of it waits."""

    def changed(self, run: RunView) -> None: ...

    def streamed(self, chunk: Chunk) -> None: ...

    def pulse(self) -> None:
        """Ten times a second: whatever moves without news, such as elapsed time."""
        ...


class Watched(Protocol):
    """Whatever can be watched: a client, or a file that nobody owns."""

    def watch(
        self, run: str, *, tokens: bool = False, place: str = "", resume: Sequence[Position] = ()
    ) -> AsyncIterator[Update]: ...


class Reading:
    """One person's reading of a run: goes on where it was, when it is cut off or another process takes the run up."""

    def __init__(self, run: str, place: str = "") -> None:
        self._run = run
        self._place = place
        self._positions: dict[str, Position] = {}
        self._ended: set[str] = set()

    async def updates(self, source: Watched) -> AsyncIterator[Update]:
        """Yield what is new of the run, nothing of a text twice; ends with the finished run. Raises `OwnerGone`: call
        it again with another source."""
        while True:
            positions = [position for place, position in self._positions.items() if place not in self._ended]
            updates = source.watch(self._run, tokens=True, place=self._place, resume=positions)
            try:
                async with aclosing(cast("AsyncGenerator[Update]", updates)):
                    async for update in updates:
                        if isinstance(update, Changed) or self._is_new(update):
                            yield update
            except ReaderTooSlow:
                continue
            return

    def _is_new(self, chunk: Chunk) -> bool:
        if chunk.place in self._ended:
            return False
        self._positions[chunk.place] = chunk.after
        if isinstance(chunk, Ended):
            self._ended.add(chunk.place)
            del self._positions[chunk.place]
        return True


async def follow(
    source: Watched, run: str, display: Display, *, until_waiting: bool = False, reading: Reading | None = None
) -> RunView:
    """Return the run when it has finished, or with `until_waiting` as soon as it waits for a person.

    Raises `OwnerGone` when the process that works on it ends first; the run itself goes on with the next one, and with
    the same `reading` so does what is told of it.
    """
    pulse = asyncio.get_running_loop().create_task(_pulse(display))
    updates = (reading or Reading(run)).updates(source)
    view: RunView | None = None
    try:
        async with aclosing(cast("AsyncGenerator[Update]", updates)):
            async for update in updates:
                if isinstance(update, Changed):
                    view = update.run
                    display.changed(view)
                    await asyncio.sleep(len(view.activities) * PAUSE_SECONDS_PER_ACTIVITY)
                    if until_waiting and waits_for_person(view):
                        return view
                else:
                    display.streamed(update)
    finally:
        pulse.cancel()
        await asyncio.gather(pulse, return_exceptions=True)
    assert view is not None, "a watch yields the run as it is before it ends"
    return view


async def _pulse(display: Display) -> None:
    while True:
        await asyncio.sleep(PULSE_SECONDS)
        display.pulse()
