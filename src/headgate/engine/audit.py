"""The audit of a log: every chain computed again and compared with what is stored.

It asks the log only what the port offers, so it audits any store, while the owner is at work or after a crash. A run's
events are walked once: each one's hash follows from the one before it, its columns say what its data says, and its
content, where it is there, has the digest that the event names. A content that is not there was erased, which the
digest allows for; the audit cannot tell an erased content from a lost one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headgate.core.codec import GENESIS, chain, decode, digest
from headgate.core.errors import Invalid, NotFound
from headgate.ports import EventRow, Log, RunRow

__all__ = ["Fault", "verify"]

RUNS_PAGE = 500
EVENTS_PAGE = 5_000


class Fault(msgspec.Struct, frozen=True):
    """Where a run stops being what was recorded: the first event that does not hold, and why."""

    run_id: str
    version: int
    what: str

    def __str__(self) -> str:
        return f"Run {self.run_id}, event {self.version}: {self.what}"


async def verify(log: Log, run_id: str | None = None) -> list[Fault]:
    """Return the first fault of each run, or of the one run that is named; an empty list is a clean bill.

    Events that are appended meanwhile may be left out. Raises `NotFound` where there is no such run.
    """
    if run_id is not None:
        row = await log.run(run_id)
        if row is None:
            raise NotFound(f"There is no run {run_id!r} to verify.")
        return [fault for fault in [await _verify_run(log, row)] if fault is not None]
    faults: list[Fault] = []
    before: int | None = None
    while rows := await log.runs(limit=RUNS_PAGE, before=before):
        found = [await _verify_run(log, row) for row in rows]
        faults += [fault for fault in found if fault is not None]
        before = rows[-1].key
    return faults


async def _verify_run(log: Log, row: RunRow) -> Fault | None:
    """Walk the run's events up to the head that was read before them."""
    version, last = 0, GENESIS
    while version < row.head.version:
        page = await log.events(row.key, after=version, limit=EVENTS_PAGE)
        page = [event for event in page if event.version <= row.head.version]
        if not page:
            return Fault(row.id, version + 1, f"is missing; the run has {row.head.version} events")
        contents = await _large_contents(log, row, page)
        for event in page:
            what = _wrong_with(row, event, version + 1, last, contents.get(event.version, event.content))
            if what is not None:
                return Fault(row.id, version + 1, what)
            version, last = event.version, event.hash
    if last != row.head.hash:
        return Fault(row.id, version, "its hash is not the one in the run's head: one of them was changed")
    return await _verify_end(log, row)


async def _large_contents(log: Log, row: RunRow, page: Sequence[EventRow]) -> dict[int, bytes]:
    """Return the contents that do not stand beside their events."""
    versions = [event.version for event in page if event.content is None and _names_content(event)]
    return await log.contents(row.key, versions) if versions else {}


def _names_content(event: EventRow) -> bool:
    try:
        return decode(event.data)[1] is not None
    except Invalid:
        return False  # the walk says so, in its place


def _wrong_with(row: RunRow, event: EventRow, version: int, last: bytes, content: bytes | None) -> str | None:
    if event.version != version:
        return f"is missing; the next one is event {event.version}"
    if event.hash != chain(last, event.data):
        return "its hash does not follow from its data and the event before it: one of them was changed"
    try:
        recorded, named = decode(event.data)
    except Invalid as error:
        return str(error)
    written = (recorded.run_id, recorded.version, recorded.at, recorded.type)
    if written != (row.id, event.version, event.at, event.type):
        return f"its row says other than its data, which is of {written}"
    if content is not None and named is None:
        return "has a content that it does not name"
    if content is not None and digest(row.content_key, content) != named:
        return "its content is not the one that it names"
    return None


async def _verify_end(log: Log, row: RunRow) -> Fault | None:
    """Events behind the head are a fault, unless the head has moved on meanwhile."""
    beyond = await log.events(row.key, after=row.head.version)
    if not beyond:
        return None
    now = await log.run(row.id)
    if now is not None and now.head.version >= beyond[-1].version:
        return None
    return Fault(row.id, beyond[0].version, f"stands behind the run's head, which is event {row.head.version}")
