"""Runs made by hand, with which the promises of `ports.Log` are tested: no engine, but rows as the engine makes them.

Every event is numbered, chained and digested, so that a log that was filled from here also stands up to the audit.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec, cast

import msgspec

from headgate.core.codec import GENESIS, chain, content_bytes, digest, encode
from headgate.core.events import ActivityCompleted, RunStarted
from headgate.engine.lane import INLINE_BYTES_MAX
from headgate.ports import Append, Head, Log, Move, NewEvent, Outcome, RunRow, SpendRow

__all__ = ["NOON", "HandmadeRun", "on_a_loop"]

NOON = 1_767_225_600_000_000
"""A time to start from, in microseconds."""

CONTENT_KEY = b"a run's own key."

Parameters = ParamSpec("Parameters")


def on_a_loop(test: Callable[Parameters, Coroutine[Any, Any, None]]) -> Callable[Parameters, None]:
    """Decorate an async test: each call of it has a loop of its own, on which the logs it was given are closed."""

    @functools.wraps(test)
    def run(*args: Parameters.args, **keywords: Parameters.kwargs) -> None:
        async def whole() -> None:
            try:
                await test(*args, **keywords)
            finally:
                for log in (*args, *keywords.values()):
                    if hasattr(log, "new_key"):
                        await cast("Log", log).close()

        asyncio.run(whole())

    return run


class HandmadeRun:
    """A run as of the last append that its log accepted. `append` makes the next one; `commit` also commits it."""

    def __init__(
        self,
        log: Log,
        run_id: str,
        *,
        tenant: str = "default",
        workflow: str = "letters",
        unique_key: str = "",
        created_at: int = NOON,
    ) -> None:
        self._log = log
        self.id = run_id
        self.tenant = tenant
        self.head = Head("created", 0, GENESIS, None, 0, 0, 0, NOON, None, "")
        self.row = RunRow(
            key=log.new_key(),
            id=run_id,
            tenant=tenant,
            workflow=workflow,
            definition="sha256:0",
            trace_id=f"trace-of-{run_id}",
            parent="",
            unique_key=unique_key,
            labels="{}",
            limit=None,
            content_key=CONTENT_KEY,
            created_at=created_at,
            head=self.head,
        )

    @property
    def key(self) -> int:
        return self.row.key

    def append(
        self,
        contents: Sequence[Any] = (None,),
        *,
        moves: Sequence[Move] = (),
        spend: Sequence[SpendRow] = (),
        commands: Sequence[str] = (),
        at: int = NOON,
        **head: Any,
    ) -> Append:
        """Return the next append: one event per content (None: it has none), `head` with these fields changed.

        Made twice without a commit in between, both want to be the next.
        """
        item = Append(self.key, self.head.version, [], self.head)
        last = self.head.hash
        for number, value in enumerate(contents, 1):
            row, blob = self._event(self.head.version + number, value, at, last)
            item.rows.append(row)
            item.blobs = [*item.blobs, *blob]
            last = row[5]
        item.size = sum(len(row[4]) for row in item.rows)
        changed = {"status": "running", "version": self.head.version + len(item.rows), "hash": last, "updated_at": at}
        item.head = self.head._replace(**changed | head)
        item.moves, item.spend = list(moves), spend
        item.commands = [(self.tenant, name, at, self.id.encode()) for name in commands]
        if item.expected_version == 0:
            item.new = msgspec.structs.replace(self.row, head=item.head)
        return item

    async def commit(self, contents: Sequence[Any] = (None,), **rest: Any) -> Outcome:
        """Append alone, in a batch of one."""
        item = self.append(contents, **rest)
        (outcome,) = await self._log.commit([item])
        self.settle(item, outcome)
        return outcome

    def spent(self, cost: int, **fields: Any) -> SpendRow:
        """Return a spend row of the run's next event, with these fields changed."""
        row = SpendRow(
            *(self.head.version + 1, 0, NOON, self.tenant, self.row.workflow, self.id, "answer", "answer", 1, "call-1"),
            *("call", "acme", "large", 100, 50, 20, 0, 5, False, cost, 0, '{"input":1}', False, "{}", ""),
        )
        return row._replace(**fields)

    def settle(self, item: Append, outcome: Outcome) -> None:
        """Learn what became of an append that somebody else has committed."""
        if outcome == "accepted":
            self.head = item.head
            self.row = msgspec.structs.replace(self.row, head=item.head)

    def _event(self, version: int, value: Any, at: int, previous: bytes) -> tuple[NewEvent, list[tuple[bytes, bytes]]]:
        event = self._started(at) if version == 1 else self._completed(version, at)
        content = named = None
        blob: list[tuple[bytes, bytes]] = []
        if value is not None:
            content = content_bytes(value)
            named = digest(CONTENT_KEY, content)
            if len(content) > INLINE_BYTES_MAX:
                blob, content = [(named, content)], None
        data = encode(event, named)
        return (self.key, version, at, event.type, data, chain(previous, data), content), blob

    def _started(self, at: int) -> RunStarted:
        return RunStarted(*self._envelope(1, at, ""), workflow=self.row.workflow, definition="sha256:0", decider=1)

    def _completed(self, version: int, at: int) -> ActivityCompleted:
        return ActivityCompleted(*self._envelope(version, at, f"activity-{version}"), worker="worker-1")

    def _envelope(self, version: int, at: int, place: str) -> tuple[Any, ...]:
        attempt = 1 if place else 0
        return self.id, version, at, self.tenant, self.row.trace_id, "client", "", place, attempt, "", (), ""
