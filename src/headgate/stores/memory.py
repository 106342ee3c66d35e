"""The log in plain memory: `ports.Log` with every promise but one. Nothing outlives the process.

For tests and for `--db :memory:`. It is the plainest reading of the port there is, so it is also what the other logs
are compared with: an append is checked whole before anything of it is written, and nothing here ever waits, so that
one call is one transaction.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

import msgspec

from headgate.core.codec import decode
from headgate.core.errors import Unavailable
from headgate.ports import (
    ANSWERS_KEPT_MICROSECONDS,
    DEFAULT_TENANT,
    EVERY_RUN,
    Append,
    EventRow,
    Head,
    Move,
    Outcome,
    OverBudget,
    RunRow,
    RunsWanted,
    SpendRow,
    SpendTotal,
    SpendWanted,
)
from headgate.stores.budgets import opens_with
from headgate.stores.spend import add_up, estimates_of

__all__ = ["MemoryLog"]

GIVEN_BACK = ("failed", "cancelled")
"""A run that ended so no longer holds its unique key."""


class MemoryLog:
    """`ports.Log` in memory. Bounded by nothing but the memory: events are never dropped."""

    def __init__(self) -> None:
        self._runs: dict[int, RunRow] = {}
        self._keys: dict[str, int] = {}
        self._holders: dict[tuple[str, str], int] = {}
        self._feed: list[EventRow] = []
        self._events: dict[int, list[EventRow]] = {}
        self._blobs: dict[tuple[int, bytes], bytes] = {}
        self._budgets: dict[str, OverBudget] = {}
        self._answers: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._definitions: dict[tuple[str, str], tuple[str, bytes, int]] = {}
        """By tenant and version: name, body, when it was deployed."""
        self._spend: dict[str, list[SpendRow]] = {}
        self._last_key = 0
        self._closed = False

    # --- Writing -------------------------------------------------------------------------------------------

    def new_key(self) -> int:
        self._last_key += 1
        return self._last_key

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        self._refuse_if_closed()
        return [self._append(item) for item in batch]

    def _append(self, item: Append) -> Outcome:
        refusal = self._refusal(item) if item.run else None
        if refusal is not None:
            return refusal
        budgets = self._moved(item.moves)
        if isinstance(budgets, OverBudget):
            return budgets
        if item.commands:
            self._forget_answers(item.commands[0][2])
        for tenant, command_id, _, _ in item.commands:
            if (tenant, command_id) in self._answers:
                return "repeated"
        self._budgets |= budgets
        self._answers |= {(tenant, name): (at, answer) for tenant, name, at, answer in item.commands}
        if item.run:
            run = item.new or msgspec.structs.replace(self._runs[item.run], head=item.head)
            self._place(run if item.limit is None else msgspec.structs.replace(run, limit=item.limit))
            self._write(item)
        return "accepted"

    def _refusal(self, item: Append) -> Outcome | None:
        run = self._runs.get(item.run) if item.new is None else item.new
        if item.new is not None:
            if item.new.key in self._runs or item.new.id in self._keys:
                return "run_exists"
        elif run is None or run.head.version != item.expected_version:
            return "version_conflict"
        head = item.head if item.new is None else item.new.head
        if run is not None and _holds(run, head) and self._holders.get(_holding(run), run.key) != run.key:
            return "run_exists"
        return None

    def _moved(self, moves: Sequence[Move]) -> dict[str, OverBudget] | OverBudget:
        """Return the budgets as the moves leave them, or the one that does not admit its reservation."""
        moved: dict[str, OverBudget] = {}
        for move in sorted(moves, key=lambda move: move.budget):
            budget = self._made(move, moved.get(move.budget) or self._budgets.get(move.budget))
            if budget is None:
                if move.reserve > 0:  # a budget that was never made admits nothing
                    return OverBudget(move.budget, 0, 0, 0)
                continue
            spent, reserved = budget.spent + move.spend, budget.reserved + move.reserve
            if move.reserve > 0 and not move.beyond and spent + reserved > budget.limit:
                return budget
            moved[move.budget] = OverBudget(move.budget, budget.limit, spent, reserved)
        return moved

    def _made(self, move: Move, budget: OverBudget | None) -> OverBudget | None:
        """Return the budget as the move makes it or finds it."""
        if move.limit is None or (budget is not None and not move.sets and move.opening is None):
            return budget
        spent, reserved = (0, 0) if budget is None else (budget.spent, budget.reserved)
        if move.opening is not None:
            spent = opens_with(move.opening, (row for run in self._spend.values() for row in run))
        return OverBudget(move.budget, move.limit, spent, reserved)

    def _forget_answers(self, now: int) -> None:
        """Answers are kept in the order they came, which is the order of their times but for a moment."""
        while self._answers:
            oldest = next(iter(self._answers))
            if self._answers[oldest][0] >= now - ANSWERS_KEPT_MICROSECONDS:
                return
            del self._answers[oldest]

    def _place(self, run: RunRow) -> None:
        self._runs[run.key] = run
        self._keys[run.id] = run.key
        self._last_key = max(self._last_key, run.key)
        if _holds(run, run.head):
            self._holders[_holding(run)] = run.key
        elif self._holders.get(_holding(run)) == run.key:
            del self._holders[_holding(run)]

    def _write(self, item: Append) -> None:
        events = self._events.setdefault(item.run, [])
        for new in item.rows:
            row = EventRow(len(self._feed) + 1, *new)
            self._feed.append(row)
            events.append(row)
        for digest, data in item.blobs:
            self._blobs.setdefault((item.run, digest), data)
        for row in item.spend:
            self._spend.setdefault(row.run_id, []).append(row)

    async def replace_spend(self, run_id: str, rows: Sequence[SpendRow]) -> None:
        self._refuse_if_closed()
        self._spend[run_id] = list(rows)

    async def save_definition(
        self, version: str, name: str, body: bytes, at: int, *, tenant: str = DEFAULT_TENANT
    ) -> bool:
        self._refuse_if_closed()
        known = self._definitions.get((tenant, version))
        self._definitions[tenant, version] = (name, body, at) if known is None else (*known[:2], at)
        return known is None

    # --- Reading -------------------------------------------------------------------------------------------

    async def run(self, run_id: str) -> RunRow | None:
        self._refuse_if_closed()
        key = self._keys.get(run_id)
        return None if key is None else self._runs[key]

    async def run_by_unique_key(self, tenant: str, unique_key: str) -> RunRow | None:
        self._refuse_if_closed()
        key = self._holders.get((tenant, unique_key))
        return None if key is None else self._runs[key]

    async def runs(
        self, wanted: RunsWanted = EVERY_RUN, *, limit: int = 100, before: int | None = None, offset: int = 0
    ) -> list[RunRow]:
        found = [
            run
            for key in sorted(self._runs, reverse=True)
            if (not before or key < before) and _is_wanted(run := self._runs[key], wanted)
        ]
        return found[offset : offset + limit]

    async def count_runs(self, wanted: RunsWanted = EVERY_RUN) -> int:
        return sum(_is_wanted(run, wanted) for run in self._runs.values())

    async def unfinished(self) -> dict[str, int]:
        return dict(Counter(run.head.status for run in self._runs.values() if run.head.finished_at is None))

    async def matching(self, prefix: str, limit: int = 2, *, tenant: str | None = None) -> list[str]:
        found = (run_id for run_id, key in self._keys.items() if tenant in (None, self._runs[key].tenant))
        return sorted(run_id for run_id in found if run_id.startswith(prefix))[:limit]

    async def busy(self, after: int, limit: int) -> list[RunRow]:
        found = [self._runs[key] for key in sorted(self._runs) if key > after]
        return [run for run in found if run.head.finished_at is None and run.head.tasks > 0][:limit]

    async def with_approvals(self, tenant: str, limit: int, *, before: int | None = None) -> list[RunRow]:
        mine = await self.runs(RunsWanted(tenant=tenant, unfinished=True), limit=len(self._runs), before=before)
        return [run for run in mine if run.head.approvals != 0][:limit]

    async def due(self, now: int, limit: int) -> list[str]:
        found = [(at, run.key, run.id) for run in self._runs.values() if (at := _attention(run)) <= now]
        return [run_id for _, _, run_id in sorted(found)[:limit]]

    async def next_attention(self, after: int) -> int | None:
        times = (run.head.attention_at for run in self._runs.values())
        return min((at for at in times if at is not None and at > after), default=None)

    async def events(self, run: int, *, after: int = 0, limit: int = 100_000) -> list[EventRow]:
        self._refuse_if_closed()
        events = self._events.get(run, [])
        first = bisect_right(events, after, key=lambda row: row.version)
        return events[first : first + limit]

    async def feed(self, after: int, limit: int) -> list[EventRow]:
        self._refuse_if_closed()
        return self._feed[after : after + limit]

    async def feed_end(self) -> int:
        self._refuse_if_closed()
        return len(self._feed)

    async def contents(self, run: int, versions: Sequence[int]) -> dict[int, bytes]:
        found = ((version, self._content(run, version)) for version in versions)
        return {version: content for version, content in found if content is not None}

    def _content(self, run: int, version: int) -> bytes | None:
        events = self._events.get(run, [])
        at = bisect_right(events, version - 1, key=lambda row: row.version)
        if at == len(events) or events[at].version != version:
            return None
        row = events[at]
        if row.content is not None:
            return row.content
        digest = decode(row.data)[1]
        return self._blobs.get((run, digest)) if digest else None

    async def answer(self, tenant: str, command_id: str) -> bytes | None:
        found = self._answers.get((tenant, command_id))
        return found[1] if found else None

    async def budget(self, budget: str) -> OverBudget | None:
        return self._budgets.get(budget)

    async def spend(self, run_id: str) -> list[SpendRow]:
        self._refuse_if_closed()
        return list(self._spend.get(run_id, ()))

    async def spend_totals(self, by: str, wanted: SpendWanted) -> list[SpendTotal]:
        self._refuse_if_closed()
        rows = (row for run in self._spend.values() for row in run)
        return add_up(rows, by, wanted, self._with_those_below(wanted.runs))

    async def stored_bytes(self, tenant: str) -> int:
        own = {key for key, run in self._runs.items() if run.tenant == tenant}
        events = (row for key in own for row in self._events.get(key, ()))
        blobs = (data for (key, _), data in self._blobs.items() if key in own)
        return sum(len(row.data) + len(row.content or b"") for row in events) + sum(map(len, blobs))

    async def estimates(self, limit: int) -> list[tuple[str, str, int, int]]:
        self._refuse_if_closed()
        rows = sorted((row for run in self._spend.values() for row in run), key=lambda row: row.at, reverse=True)
        return estimates_of(rows[:limit])

    def _with_those_below(self, runs: Sequence[str]) -> frozenset[str]:
        found = set(runs)
        for key in sorted(self._runs):  # a child's key is higher than its parent's
            if self._runs[key].parent in found:
                found.add(self._runs[key].id)
        return frozenset(found)

    async def definitions(
        self, *, limit: int = 100, after: str = "", tenant: str = DEFAULT_TENANT
    ) -> list[tuple[str, str, int, bytes]]:
        newest: dict[str, tuple[str, str, int, bytes]] = {}
        for (whose, version), (name, body, at) in self._definitions.items():
            if whose == tenant and name > after and (name not in newest or at >= newest[name][2]):
                newest[name] = (name, version, at, body)
        return [newest[name] for name in sorted(newest)[:limit]]

    async def definition(
        self, name: str, version: str | None = None, *, tenant: str = DEFAULT_TENANT
    ) -> tuple[str, bytes] | None:
        self._refuse_if_closed()
        found = [
            (at, number, (known, body))
            for number, ((whose, known), (called, body, at)) in enumerate(self._definitions.items())
            if (whose, called) == (tenant, name) and version in (None, known)
        ]
        return max(found)[2] if found else None

    async def close(self) -> None:
        """Answer no more. A second call does nothing."""
        self._closed = True

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Unavailable("This log is closed, and what it held is gone: it was in memory.")


def _attention(run: RunRow) -> int | float:
    at = run.head.attention_at
    return float("inf") if at is None else at


def _holding(run: RunRow) -> tuple[str, str]:
    return run.tenant, run.unique_key


def _holds(run: RunRow, head: Head) -> bool:
    """Return whether the run, with this head, keeps others from its unique key."""
    return bool(run.unique_key) and head.status not in GIVEN_BACK


def _is_wanted(run: RunRow, wanted: RunsWanted) -> bool:
    return (
        wanted.tenant in (None, run.tenant)
        and (not wanted.unfinished or run.head.finished_at is None)
        and wanted.status in (None, run.head.status)
        and wanted.workflow in (None, run.workflow)
        and (wanted.since is None or run.created_at >= wanted.since)
        and (wanted.until is None or run.created_at < wanted.until)
        and any(wanted.text in found for found in (run.id, run.unique_key, run.labels, run.head.error))
    )
