"""What the demo reads in the database that its processes wrote: runs, events, and figures counted from events.

Nothing here is remembered from the telling: each figure is read again from the file, after the fact.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from headgate.cli.words import now
from headgate.core.place import key_of_place
from headgate.core.view import PlaceView, RunView
from headgate.ports import EventView

if TYPE_CHECKING:
    from headgate.engine.reader import Reader
    from headgate.stores.sqlite import SqliteLog

__all__ = [
    "Record",
    "activity_of",
    "calls_by",
    "completed",
    "is_reuse",
    "lost_amount",
    "model_of",
    "open_calls",
    "place_of",
    "repeated",
    "reused",
    "settled",
    "spent",
]

EVENTS_MAX = 100_000
DONE_AGAIN = ("activity_scheduled", "call_requested", "activity_completed")
"""What there would be of an activity that is recorded as completed, had it run again."""

Found = TypeVar("Found")


class Record:
    """The database of one demo, read from the file itself: nobody needs to be running."""

    def __init__(self, database: Path) -> None:
        self.database = database

    def view(self, run: str = "-", *, contents: bool = False) -> RunView:
        return self._read(lambda reader, _: reader.show(run, contents=contents))

    def events(self, run: str, *, after: int = 0, contents: bool = False) -> list[EventView]:
        return self._read(lambda reader, _: reader.events(run, after=after, limit=EVENTS_MAX, contents=contents))

    def stored(self, run: str) -> list[bytes]:
        """Return the events of a run as their bytes lie in the file."""

        async def read(reader: Reader, log: SqliteLog) -> list[bytes]:
            row = await reader.find(run)
            return [event.data for event in await log.events(row.key, after=0, limit=EVENTS_MAX)]

        return self._read(read)

    def _read(self, ask: Callable[[Reader, SqliteLog], Awaitable[Found]]) -> Found:
        from headgate.engine.reader import Reader
        from headgate.stores.sqlite import SqliteLog

        async def read() -> Found:
            log = SqliteLog(self.database, read_only=True)
            try:
                return await ask(Reader(log, now), log)
            finally:
                await log.close()

        return asyncio.run(read())


def place_of(view: RunView, key: str) -> PlaceView:
    """Return an activity of a run by its key."""
    return next(place for place in view.activities if place.key == key)


# --- Counted from events ---------------------------------------------------------------------------------------------


def activity_of(event: EventView) -> str:
    """Return the activity that an event is about: of the place `draft[3]` it is `draft`."""
    return key_of_place(event.place)


def completed(events: Sequence[EventView]) -> list[str]:
    """Return the places that were completed, each as often as that is recorded."""
    return [event.place for event in events if event.type == "activity_completed"]


def open_calls(events: Sequence[EventView]) -> set[str]:
    """Return the model calls that were admitted and whose end is not recorded."""
    over = {event.fields["call_id"] for event in events if event.type in ("call_settled", "call_forfeited")}
    return {event.fields["call_id"] for event in events if event.type == "call_admitted"} - over


def repeated(before: Sequence[EventView], after: Sequence[EventView], types: Sequence[str] = DONE_AGAIN) -> list[str]:
    """Return what was completed before, and was handed out, asked a model or completed again after."""
    again = {event.place for event in after if event.type in types}
    return [place for place in completed(before) if place in again]


def calls_by(events: Sequence[EventView], of: Callable[[EventView], str]) -> Counter[str]:
    """Return how many model calls were made and used, by whatever `of` says of their settlement."""
    return Counter(of(event) for event in events if event.type == "call_settled" and event.fields["outcome"] == "used")


def model_of(event: EventView) -> str:
    """Return the model that a settled call went to."""
    usage: dict[str, Any] = event.fields["usage"]
    return f"{usage['provider']}/{usage['model']}"


def reused(events: Sequence[EventView]) -> Counter[str]:
    """Return how many results and answers were taken over from equal attempts and calls before, by activity."""
    return Counter(activity_of(event) for event in events if is_reuse(event))


def is_reuse(event: EventView) -> bool:
    """Whether the event says that what was made before was taken."""
    return event.type == "call_reused" or (event.type == "activity_completed" and bool(event.fields.get("cached")))


def spent(events: Sequence[EventView]) -> int:
    """Return what all calls came to in nano-dollars, those included whose cost nobody knows."""
    return settled(events) + lost_amount(events)


def settled(events: Sequence[EventView], activity: str = "") -> int:
    """Return what the settled calls cost in nano-dollars, of one activity or of all."""
    return sum(
        event.fields.get("cost", 0) - event.fields.get("replaces", 0)
        for event in events
        if event.type == "call_settled" and activity in ("", activity_of(event))
    )


def lost_amount(events: Sequence[EventView]) -> int:
    """Return what counts as spent for calls that nobody knows the cost of."""
    return sum(event.fields.get("amount", 0) for event in events if event.type == "call_forfeited")
