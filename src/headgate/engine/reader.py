"""The reading verbs, on any log: that of this process's engine, or a file that another process owns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from headgate.core.codec import content_value, decode
from headgate.core.definition import Definition
from headgate.core.errors import Invalid, NotFound, Refused
from headgate.core.events import Event
from headgate.core.plan import Plan, load_plan
from headgate.core.run import Run
from headgate.core.run_ids import as_run_id
from headgate.core.view import RunSummary, RunView, view_run
from headgate.engine.folding import fold_run
from headgate.engine.limit_view import with_waits
from headgate.engine.streams import chunks_of, ended_places
from headgate.ports import (
    Cell,
    Changed,
    EventRow,
    EventView,
    KeptLog,
    Log,
    Position,
    RunRow,
    RunsWanted,
    Update,
)

__all__ = ["Reader", "contents_shown", "summary_of", "view_events"]

ENVELOPE = frozenset(field.name for field in msgspec.structs.fields(Event))
RUNS_MAX = 1_000
EVENTS_MAX = 100_000


async def _no_waits() -> Sequence[Cell]:
    return ()


class Reader:
    """Reads runs from a log. `now` gives the time for sentences such as "retries in 3 s", `waits` what is known of
    calls that wait for a provider: the log says nothing of it."""

    def __init__(
        self,
        log: Log,
        now: Callable[[], int],
        *,
        waits: Callable[[], Awaitable[Sequence[Cell]]] = _no_waits,
        tenant: str | None = None,
    ) -> None:
        self._log = log
        self._now = now
        self._waits = waits
        self._tenant = tenant
        self._plans: dict[str, Plan] = {}

    def of(self, tenant: str) -> Reader:
        """Return a reader that finds this tenant's runs; for it there are no others."""
        return Reader(self._log, self._now, waits=self._waits, tenant=tenant)

    async def find(self, run: str) -> RunRow:
        """Return the run of an id, of the beginning of one, of its form as a UUID, or the newest (`-`). Raises
        `NotFound`, `Refused`."""
        run = as_run_id(run)
        if run == "-":
            newest = await self._log.runs(RunsWanted(tenant=self._tenant), limit=1)
            if not newest:
                raise NotFound("There is no run yet.")
            return newest[0]
        row = await self._log.run(run)
        if row is not None and self._tenant in (None, row.tenant):
            return row
        matching = await self._log.matching(run, limit=5, tenant=self._tenant) if run else []
        if len(matching) > 1:
            raise Refused(f"{run!r} is the beginning of several runs: {', '.join(matching)}. Give more of it.")
        row = await self._log.run(matching[0]) if matching else None
        if row is None:
            raise NotFound(await self._why_not(run))
        return row

    async def _why_not(self, run: str) -> str:
        deletion = await self._log.keeping(Path()).deletion(run) if isinstance(self._log, KeptLog) else None
        if deletion is None or self._tenant not in (None, deletion.tenant):
            return f"There is no run {run!r}. `headgate runs` lists them."
        at = datetime.fromtimestamp(deletion.at / 1_000_000, UTC)
        return f"Run {run} was deleted at {at:%Y-%m-%d %H:%M:%S} UTC by {deletion.actor}: {deletion.why}."

    async def show(self, run: str, *, at: int | None = None, contents: bool = True) -> RunView:
        row = await self.find(run)
        if at is not None and not 1 <= at <= row.head.version:
            raise Invalid(f"Run {row.id} has events 1 to {row.head.version}; there is no event {at}.")
        folded = await fold_run(self._log, row, await self._plan(row), at_version=at)
        values = await self._values(row.key, contents_shown(folded)) if contents else {}
        view = view_run(folded, values, self._now() if at is None else folded.at)
        if at is None and not view.finished_at and (waits := await self._waits()):
            view = with_waits(view, waits, self._now())
        return msgspec.structs.replace(view, erased=True) if row.erased else view

    async def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 50
    ) -> list[RunSummary]:
        rows = await self._log.runs(RunsWanted(status, workflow, tenant=self._tenant), limit=min(limit, RUNS_MAX))
        return [summary_of(row) for row in rows]

    async def events(self, run: str, *, after: int = 0, limit: int = 1_000, contents: bool = True) -> list[EventView]:
        row = await self.find(run)
        stored = await self._log.events(row.key, after=after, limit=min(limit, EVENTS_MAX))
        values: dict[int, Any] = {}
        if contents:
            values = await self._values(row.key, {event.version for event in stored if decode(event.data)[1]})
        return list(view_events(stored, values))

    async def watch(
        self, run: str, *, tokens: bool = False, place: str = "", resume: Sequence[Position] = ()
    ) -> AsyncIterator[Update]:
        """Yield what `ports.Client.watch` yields of a run that has ended. Raises `Refused` for one that has not: only
        the process that works on it knows what is new."""
        row = await self.find(run)
        folded = await fold_run(self._log, row, await self._plan(row))
        if not folded.finished:
            raise Refused(f"Run {row.id} has not ended, and no process is there that could tell of it.")

        async def load(version: int) -> Any:
            return (await self._values(row.key, {version})).get(version)

        positions = {position.place: position for position in resume}
        for ended in ended_places(folded, place) if tokens else ():
            async for chunk in chunks_of(ended, load, positions.get(ended.place)):
                yield chunk
        yield Changed(await self.show(row.id))

    async def _plan(self, row: RunRow) -> Plan:
        if row.definition not in self._plans:
            found = await self._log.definition(row.workflow, row.definition, tenant=row.tenant)
            if found is None:
                raise NotFound(f"The definition {row.definition} of run {row.id} is not in this database.")
            self._plans[row.definition] = load_plan(msgspec.json.decode(found[1], type=Definition))
        return self._plans[row.definition]

    async def _values(self, run: int, versions: set[int]) -> dict[int, Any]:
        found = await self._log.contents(run, sorted(versions))
        return {version: content_value(data) for version, data in found.items()}


def contents_shown(run: Run) -> set[int]:
    """Return the versions whose contents a whole view of the run shows."""
    versions = {1} if run.plan.outputs is None else {1, run.outputs_version}
    for place in run.places:
        if place.fan:
            versions.update(place.fan.refs)
        else:
            versions.add(place.ref)
    versions.discard(0)
    return versions


def summary_of(row: RunRow) -> RunSummary:
    head = row.head
    return RunSummary(
        id=row.id,
        workflow=row.workflow,
        definition=row.definition,
        status=head.status,
        created_at=row.created_at,
        updated_at=head.updated_at,
        finished_at=head.finished_at,
        cost=head.cost,
        reserved=head.reserved,
        limit=row.limit,
        simulated=head.simulated,
        error=head.error,
        trace_id=row.trace_id,
        tenant=row.tenant,
        labels=msgspec.json.decode(row.labels, type=dict[str, str]),
        erased=row.erased,
    )


def view_events(stored: Iterable[EventRow], values: dict[int, Any]) -> Iterable[EventView]:
    """Yield events as people read them: the envelope, then what is the event's own and not its default."""
    for row in stored:
        event, _ = decode(row.data)
        fields: dict[str, Any] = {
            name: msgspec.to_builtins(value)
            for name, default in _own_fields(type(event))
            if (value := getattr(event, name)) != default
        }
        yield EventView(
            version=event.version,
            at=event.at,
            type=event.type,
            place=event.place,
            attempt=event.attempt,
            actor=event.actor,
            cause=event.cause,
            trace_id=event.trace_id,
            fields=fields,
            content=values.get(event.version),
            hash=row.hash.hex(),
        )


@cache
def _own_fields(kind: type[Event]) -> tuple[tuple[str, Any], ...]:
    """Return the fields of a type of event beside the envelope, with their defaults; finding them out takes long."""
    return tuple((field.name, field.default) for field in msgspec.structs.fields(kind) if field.name not in ENVELOPE)
