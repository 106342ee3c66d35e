"""Following a run: its updates go to a display until it has ended, or only a person can go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol, cast

from headgate.cli.exit_codes import waits_for_person
from headgate.core.view import RunView
from headgate.ports import Changed, Client, Tokens, Update

__all__ = ["Display", "follow"]

PULSE_SECONDS = 0.1
PAUSE_SECONDS_PER_ACTIVITY = 0.00005
"""A view is made of all activities, for each change anew: looking at a run of ten thousand must not slow it down."""


class Display(Protocol):
    """What shows a run while it is followed. Nothing of it waits."""

    def changed(self, run: RunView) -> None: ...

    def tokens(self, tokens: Tokens) -> None: ...

    def pulse(self) -> None:
        """Ten times a second: whatever moves without news, such as elapsed time."""
        ...


async def follow(client: Client, run: str, display: Display, *, until_waiting: bool = False) -> RunView:
    """Return the run when it has finished, or with `until_waiting` as soon as it waits for a person.

    Raises `OwnerGone` when the process that works on it ends first; the run itself goes on with the next one.
    """
    pulse = asyncio.get_running_loop().create_task(_pulse(display))
    updates = cast("AsyncGenerator[Update]", client.watch(run, tokens=True))
    view: RunView | None = None
    try:
        async with aclosing(updates):
            async for update in updates:
                if isinstance(update, Changed):
                    view = update.run
                    display.changed(view)
                    await asyncio.sleep(len(view.activities) * PAUSE_SECONDS_PER_ACTIVITY)
                    if until_waiting and waits_for_person(view):
                        return view
                else:
                    display.tokens(update)
    finally:
        pulse.cancel()
        await asyncio.gather(pulse, return_exceptions=True)
    assert view is not None, "a watch yields the run as it is before it ends"
    return view


async def _pulse(display: Display) -> None:
    while True:
        await asyncio.sleep(PULSE_SECONDS)
        display.pulse()
