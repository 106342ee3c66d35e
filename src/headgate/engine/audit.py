"""The audit of a log: every chain computed again and compared with what is stored; and its export for strangers.

It asks the log only what the port offers, so it audits any store, while the owner is at work or after a crash. A run's
events are walked once, page by page: each one's hash follows from the one before it, its columns say what its data
says, and its content has the digest that the event names. A run that was erased has no contents, and no key to check
digests with; any other run's content that is not there is a fault.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import msgspec

from headgate.core.codec import GENESIS, chain, decode, digest
from headgate.core.errors import Invalid, NotFound
from headgate.ports import EventRow, Keeping, Log, RunRow

__all__ = ["Fault", "export", "faults", "gaps", "verify", "verify_run"]

RUNS_PAGE = 500
EVENTS_PAGE = 1_000

Kind = Literal["hash", "missing", "head", "columns", "content", "unreadable", "unexplained", ""]


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a run stops being what was recorded: the first event that does not hold, and why.

    `kind`: `hash` (its hash does not follow), `missing`, `head` (the run's row says otherwise), `columns` (its row says
    otherwise), `content`, `unreadable`, `unexplained` (of no run: nothing says why it is so).
    """

    run_id: str
    version: int
    what: str
    kind: Kind = ""
    position: int = 0
    """The event's place in the whole log; 0: it has none."""

    def __str__(self) -> str:
        where = f", position {self.position}" if self.position else ""
        return (
            f"Run {self.run_id}, event {self.version}{where}: {self.what}" if self.run_id else f"The log: {self.what}"
        )


async def verify(log: Log, run_id: str | None = None) -> list[Fault]:
    """Return the first fault of each run, or of the one run that is named; an empty list is a clean bill.

    Events that are appended meanwhile may be left out. Raises `NotFound` where there is no such run.
    """
    if run_id is None:
        return [fault async for fault in faults(log)]
    row = await log.run(run_id)
    if row is None:
        raise NotFound(f"There is no run {run_id!r} to verify.")
    return [fault for fault in [await verify_run(log, row)] if fault is not None]


async def faults(log: Log) -> AsyncIterator[Fault]:
    """Yield the first fault of each run, newest run first. Holds one page of one run at a time."""
    async for row in _all_runs(log):
        fault = await verify_run(log, row)
        if fault is not None:
            yield fault


async def gaps(keeping: Keeping) -> list[Fault]:
    """Return what no run's own chain can show: events of no run, positions that nothing explains."""
    return [Fault("", 0, what, "unexplained", position) for position, what in await keeping.gaps()]


async def verify_run(log: Log, row: RunRow) -> Fault | None:
    """Walk the run's events up to the head that was read before them. A run that is erased or deleted meanwhile is
    looked at again."""
    fault = await _walk(log, row)
    if fault is None:
        return None
    now = await log.run(row.id)
    if now is None:
        return None  # it was deleted while we looked, which its record says
    return fault if now.erased == row.erased else await _walk(log, now)


async def _walk(log: Log, row: RunRow) -> Fault | None:
    version, last, position = 0, GENESIS, 0
    while version < row.head.version:
        page = await log.events(row.key, after=version, limit=min(EVENTS_PAGE, row.head.version - version))
        page = [event for event in page if event.version <= row.head.version]
        if not page:
            return Fault(row.id, version + 1, f"is missing; the run has {row.head.version} events", "missing")
        contents = await _large_contents(log, row, page)
        for event in page:
            fault = _wrong_with(row, event, version + 1, last, contents.get(event.version, event.content))
            if fault is not None:
                return fault
            version, last, position = event.version, event.hash, event.pos
    if last != row.head.hash:
        what = "its hash is not the one in the run's head: one of them was changed"
        return Fault(row.id, version, what, "head", position)
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


def _wrong_with(row: RunRow, event: EventRow, version: int, last: bytes, content: bytes | None) -> Fault | None:
    def fault(kind: Kind, what: str) -> Fault:
        return Fault(row.id, version, what, kind, 0 if kind == "missing" else event.pos)

    if event.version != version:
        return fault("missing", f"is missing; the next one is event {event.version}")
    if event.hash != chain(last, event.data):
        return fault("hash", "its hash does not follow from its data and the event before it: one of them was changed")
    try:
        recorded, named = decode(event.data)
    except Invalid as error:
        return fault("unreadable", str(error))
    written = (recorded.run_id, recorded.version, recorded.at, recorded.type)
    if written != (row.id, event.version, event.at, event.type):
        return fault("columns", f"its row says other than its data, which is of {written}")
    what = _wrong_with_content(row, named, content)
    return None if what is None else fault("content", what)


def _wrong_with_content(row: RunRow, named: bytes | None, content: bytes | None) -> str | None:
    if content is None:
        return "its content is missing, and the run was not erased" if named is not None and not row.erased else None
    if named is None:
        return "has a content that it does not name"
    if row.erased:
        return "has a content though the run was erased; erase it again"
    return None if digest(row.content_key, content) == named else "its content is not the one that it names"


async def _verify_end(log: Log, row: RunRow) -> Fault | None:
    """Events behind the head are a fault, unless the head has moved on meanwhile."""
    beyond = await log.events(row.key, after=row.head.version, limit=EVENTS_PAGE)
    if not beyond:
        return None
    now = await log.run(row.id)
    if now is not None and now.head.version >= beyond[-1].version:
        return None
    what = f"stands behind the run's head, which is event {row.head.version}"
    return Fault(row.id, beyond[0].version, what, "head", beyond[0].pos)


async def _all_runs(log: Log) -> AsyncIterator[RunRow]:
    before: int | None = None
    while rows := await log.runs(limit=RUNS_PAGE, before=before):
        for row in rows:
            yield row
        before = rows[-1].key


# --- For strangers ------------------------------------------------------------------------------------------------


async def export(
    log: Log, runs: Sequence[RunRow] | None = None, *, since: int = 0, contents: bool = True
) -> AsyncIterator[dict[str, Any]]:
    """Yield the events of `runs` (None: of all, newest run first) from the time `since` on, each with all that is
    needed to check it without Headgate: `data` (base64) and `previous` give `hash`; `content` (its exact text) and the
    run's `content_key` give `digest`, which stands within `data`. Without `contents`, the key is left out as well.
    """
    if runs is None:
        async for row in _all_runs(log):
            async for line in _lines(log, row, since, contents=contents):
                yield line
        return
    for row in runs:
        async for line in _lines(log, row, since, contents=contents):
            yield line


async def _lines(log: Log, row: RunRow, since: int, *, contents: bool) -> AsyncIterator[dict[str, Any]]:
    if row.head.updated_at < since:
        return
    version, last = 0, GENESIS
    while page := await log.events(row.key, after=version, limit=EVENTS_PAGE):
        large = await _large_contents(log, row, page) if contents else {}
        for event in page:
            if event.at >= since:
                content = large.get(event.version, event.content) if contents else None
                yield _line(row, event, last, content, contents=contents)
            version, last = event.version, event.hash


def _line(row: RunRow, event: EventRow, last: bytes, content: bytes | None, *, contents: bool) -> dict[str, Any]:
    recorded, named = decode(event.data)
    line: dict[str, Any] = {
        "run": row.id,
        "version": event.version,
        "position": event.pos,
        "at": event.at,
        "type": event.type,
        "actor": recorded.actor,
        "cause": recorded.cause,
        "place": recorded.place,
        "attempt": recorded.attempt,
        "previous": last.hex(),
        "hash": event.hash.hex(),
        "data": base64.b64encode(event.data).decode(),
        "digest": named.hex() if named else None,
    }
    if contents:
        line["content"] = None if content is None else content.decode()
        line["content_key"] = row.content_key.hex()
    return line
