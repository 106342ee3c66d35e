"""Runs at a server, over HTTP: `ports.RunClient`, and the definitions that they are of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from headgate.client.http_line import HttpLine, Patience, ServerAway
from headgate.core.errors import Invalid
from headgate.core.money import dollars
from headgate.core.view import RunSummary, RunView
from headgate.ports import (
    Chunk,
    Ended,
    EventView,
    Position,
    SpendRow,
    StartRequest,
    Update,
)

__all__ = ["Deployed", "HttpClient"]

_updates = msgspec.json.Decoder(Update)


class Deployed(msgspec.Struct, frozen=True):
    """A definition as the server keeps it. `unchanged`: it had the same content before."""

    name: str
    version: str
    unchanged: bool = False


class _Started(msgspec.Struct):
    workflow_id: str
    definition_name: str
    definition_version: str
    status: str
    created_at: datetime

    @property
    def summary(self) -> RunSummary:
        at = round(self.created_at.timestamp() * 1_000_000)
        return RunSummary(
            id=self.workflow_id,
            workflow=self.definition_name,
            definition=self.definition_version,
            status=self.status,
            created_at=at,
            updated_at=at,
        )


class HttpClient:
    """`ports.RunClient` at the server that a line leads to.

    Each method raises what the server raised, in the same branch and with the same code and message, and `ServerAway`
    when nobody answers for as long as the line's patience lasts. Called again after that with the same `command_id`,
    it does nothing twice.
    """

    def __init__(self, line: HttpLine) -> None:
        self._line = line

    async def deploy(self, definition: str | bytes) -> Deployed:
        """Give the server a definition (YAML or JSON). Raises `Invalid` with everything that is wrong with it."""
        content = definition.encode() if isinstance(definition, str) else definition
        return await self._line.post("/workflow_definitions", content, Deployed)

    async def start(self, request: StartRequest) -> RunSummary:
        if request.files:
            raise Invalid("A definition that refers to files beside it cannot be sent as text: write them into it.")
        name, version = request.workflow, request.version
        if request.definition is not None:
            deployed = await self.deploy(request.definition)
            name, version = deployed.name, deployed.version
        body = {
            "definition_name": name,
            "version": version,
            "input": request.input,
            "unique_key": request.unique_key,
            "mode": request.mode,
            "budget": None if request.limit is None else dollars(request.limit),
            "labels": request.labels,
            "trace_id": request.trace_id,
            "signal": None
            if request.signal is None
            else {"name": request.signal.name, "activity_key": request.signal.key, "data": request.signal.data},
        }
        started = await self._line.post("/workflows", body, _Started, key=request.command_id)
        return started.summary

    async def show(
        self, run: str, *, at: int | None = None, contents: bool = True, wait_seconds: float = 0.0
    ) -> RunView:
        """Return the run; `wait_seconds`: as soon as it has ended, at most so much later."""
        query = _given({"contents": contents, "at": at, "wait": wait_seconds or None})
        return await self._line.get(_exact(run), RunView, wait_seconds=wait_seconds, **query)

    async def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 50
    ) -> list[RunSummary]:
        query = {"status": status, "workflow": workflow, "limit": limit}
        return await self._line.get("/runs", list[RunSummary], **_given(query))

    async def events(self, run: str, *, after: int = 0, limit: int = 1_000, contents: bool = True) -> list[EventView]:
        query = {"after": after, "limit": limit, "contents": contents}
        return await self._line.get(_exact(run, "/events"), list[EventView], **query)

    async def signal(self, run: str, name: str, *, key: str = "", data: Any = None, command_id: str = "") -> RunView:
        body = {"signal_name": name, "activity_key": key, "data": data}
        await self._line.post(_path(run, "signal"), body, None, key=command_id)
        return await self.show(run, contents=False)

    async def decide(
        self,
        run: str,
        *,
        key: str = "",
        approved: bool,
        by: str = "",
        comment: str = "",
        data: Any = None,
        command_id: str = "",
    ) -> RunView:
        body = {"key": key, "approved": approved, "by": by, "comment": comment, "data": data}
        return await self._line.post(_exact(run, "/decide"), body, RunView, key=command_id)

    async def cancel(self, run: str, *, reason: str = "", command_id: str = "") -> RunView:
        return await self._act(run, "cancel", {"reason": reason}, command_id)

    async def pause(self, run: str, *, reason: str = "", command_id: str = "") -> RunView:
        return await self._act(run, "pause", {"reason": reason}, command_id)

    async def resume(self, run: str, *, command_id: str = "") -> RunView:
        return await self._act(run, "resume", {}, command_id)

    async def retry(self, run: str, *, command_id: str = "") -> RunView:
        return await self._act(run, "retry", {}, command_id)

    async def _act(
        self, run: str, verb: Literal["cancel", "pause", "resume", "retry"], body: Any, command_id: str
    ) -> RunView:
        await self._line.post(_path(run, verb), body, None, key=command_id)
        return await self.show(run, contents=False)

    async def spend(self, run: str) -> list[SpendRow]:
        rows = await self._line.get(_exact(run, "/spend"), list[dict[str, Any]])
        return [SpendRow(**row) for row in rows]

    async def watch(
        self, run: str, *, tokens: bool = False, place: str = "", resume: Sequence[Position] = ()
    ) -> AsyncIterator[Update]:
        """Yield what the server's engine tells, as `ports.RunClient` has it. A connection that breaks is made anew, and
        goes on where it was. Raises `ServerAway` when that has not been possible for as long as patience lasts."""
        told = _Told(resume)
        patience = Patience(self._line.patience_seconds)
        while True:
            before = told.count
            try:
                query = {"tokens": tokens, "place": place, "resume": msgspec.json.encode(told.positions).decode()}
                async with self._line.events(_exact(run, "/updates"), **query) as events, aclosing(events):
                    async for data in events:
                        update = _updates.decode(data)
                        if told.is_news(update):
                            yield update
                return
            except ServerAway as away:
                if told.count > before:
                    patience = Patience(self._line.patience_seconds)
                await patience.pause(away, None)


class _Told:
    """What the reader of a watch has got, so that a new connection goes on from there."""

    def __init__(self, resume: Sequence[Position]) -> None:
        self._after = {position.place: position for position in resume}
        self._ended: set[Position] = set()
        self.count = 0

    @property
    def positions(self) -> list[Position]:
        return list(self._after.values())

    def is_news(self, update: Update) -> bool:
        """Note an update; return whether the reader has not had it."""
        self.count += 1
        if not isinstance(update, Chunk):
            return True
        self._after[update.place] = update.after
        if not isinstance(update, Ended):
            return True
        known = update.after in self._ended
        self._ended.add(update.after)
        return not known


def _path(run: str, verb: str) -> str:
    return f"/workflows/{quote(run, safe='')}/{verb}"


def _exact(run: str, what: str = "") -> str:
    """Return where a run is shown in the very types that we read: nano-dollars, microseconds."""
    return f"/runs/{quote(run, safe='')}{what}"


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}
