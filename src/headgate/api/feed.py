"""The events of all runs of a tenant, in the order in which they got into the log, and as they come.

An event is known by its run and its version in it, `RUN:VERSION`. Its position among the events of all tenants is told
to nobody: the gaps would say how busy the others are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

import msgspec

from headgate.core.codec import content_value, decode
from headgate.core.decision import Decision
from headgate.core.errors import Invalid, NotFound
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.engine.reader import view_events
from headgate.ports import EventRow, EventView

__all__ = ["Feed", "FeedEvent", "FeedPage", "event_id"]

EVENTS_PAGE = 200
LOOKED_AFTER_SECONDS = 1.0
"""Other processes write to the same log, and nobody tells this one."""


class FeedEvent(msgspec.Struct, frozen=True):
    """An event, and at which position of the log it stands."""

    position: int
    run: str
    event: EventView


class FeedPage(msgspec.Struct, frozen=True):
    """The next events of a tenant; `position` is how far the log was read for them."""

    position: int
    events: list[FeedEvent]


def event_id(run: str, version: int) -> str:
    """Return the id by which a client knows an event."""
    return f"{run}:{version}"


class Feed:
    """One per engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._followers: set[asyncio.Event] = set()
        engine.listen(self._committed)

    async def end(self) -> int:
        """Return the position behind the last event of the log."""
        return await self._engine.log.feed_end()

    async def position_of(self, tenant: str, event: str) -> int:
        """Return the position of an event, by its id. Raises `Invalid`, and `NotFound` for one that is not kept."""
        run, _, version = event.rpartition(":")
        if not run or not version.isdecimal():
            raise Invalid(f"expected the id of an event, as a frame has it (RUN:VERSION), got {event!r}")
        row = await self._engine.log.run(run)
        rows: list[EventRow] = []
        if row is not None and row.tenant == tenant:
            rows = await self._engine.log.events(row.key, after=int(version) - 1, limit=1)
        if not rows or rows[0].version != int(version):
            raise NotFound(f"There is no event {event}, or it is not kept any more; begin without one.")
        return rows[0].pos

    async def page(self, tenant: str, after: int) -> FeedPage:
        """Return the tenant's events among the next ones of the log."""
        rows = await self._engine.log.feed(after, EVENTS_PAGE)
        events = [await self._event(row) for row in rows if decode(row.data)[0].tenant == tenant]
        return FeedPage(rows[-1].pos if rows else after, events)

    async def _event(self, row: EventRow) -> FeedEvent:
        event, digest = decode(row.data)
        content = row.content
        if content is None and digest:
            content = (await self._engine.log.contents(row.run, [row.version])).get(row.version)
        values = {} if content is None else {row.version: content_value(content)}
        (view,) = view_events([row], values)
        return FeedEvent(row.pos, event.run_id, view)

    async def follow(self, tenant: str, after: int) -> AsyncGenerator[FeedPage]:
        """Yield what comes behind `after`, each event once, for ever."""
        changed = asyncio.Event()
        self._followers.add(changed)
        try:
            while True:
                changed.clear()
                page = await self.page(tenant, after)
                if page.position > after:
                    after = page.position
                    yield page
                else:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), LOOKED_AFTER_SECONDS)
        finally:
            self._followers.discard(changed)

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        for changed in self._followers:
            changed.set()
