"""Any batches of appends at all, held against what a few words say of them."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conformance.logs import ADAPTERS

from headgate.engine.audit import verify
from headgate.ports import Append, Head, Log, Move, OverBudget
from headgate.testing.log_conformance import HandmadeRun

Moves = st.lists(
    st.builds(
        Move,
        st.sampled_from(["team", "month"]),
        reserve=st.integers(-5, 8),
        spend=st.integers(0, 4),
        limit=st.sampled_from([None, None, 10, 20]),
        beyond=st.sampled_from([False, False, True]),
        sets=st.sampled_from([False, False, True]),
    ),
    max_size=3,
)


class Asked(msgspec.Struct, frozen=True):
    """One append to be tried: of which run, upon its head or an older one, and what travels with it."""

    run: int
    stale: bool
    moves: list[Move]
    command: str
    contents: list[int | None]


Asks = st.builds(
    Asked,
    st.integers(0, 3),
    st.sampled_from([False, False, False, True]),
    Moves,
    st.sampled_from(["", "", "c-1", "c-2", "c-3"]),
    st.lists(st.one_of(st.none(), st.integers()), min_size=1, max_size=3),
)


class Model:
    """What a log must hold, in a few words."""

    def __init__(self) -> None:
        self.versions: dict[int, int] = {}
        self.budgets: dict[str, list[int]] = {}
        self.commands: set[str] = set()

    def expect(self, item: Append) -> object:
        version = self.versions.get(item.run, 0)
        if item.new is None and (version != item.expected_version or version == 0):
            return "version_conflict"
        if item.new is not None and version:
            return "run_exists"
        budgets = {name: list(numbers) for name, numbers in self.budgets.items()}
        for move in sorted(item.moves, key=lambda move: move.budget):
            if move.limit is not None:
                budgets.setdefault(move.budget, [move.limit, 0, 0])
                if move.sets:
                    budgets[move.budget][0] = move.limit
            limit, spent, reserved = budgets.get(move.budget, [0, 0, 0])
            if (
                move.reserve > 0
                and not (move.beyond and move.budget in budgets)
                and spent + reserved + move.reserve + move.spend > limit
            ):
                return OverBudget(move.budget, limit, spent, reserved)
            if move.budget in budgets:
                budgets[move.budget] = [limit, spent + move.spend, reserved + move.reserve]
        names = {name for _, name, _, _ in item.commands}
        if names & self.commands:
            return "repeated"
        self.budgets = budgets
        self.commands |= names
        self.versions[item.run] = version + len(item.rows)
        return "accepted"


def asked(runs: list[HandmadeRun], older: list[Head], ask: Asked) -> Append:
    run = runs[ask.run]
    newest = run.head
    run.head = older[ask.run] if ask.stale else newest
    item = run.append(ask.contents, moves=ask.moves, commands=[ask.command] if ask.command else [])
    run.head = newest
    return item


async def try_stories(log: Log, batches: list[list[Asked]]) -> None:
    runs = [HandmadeRun(log, f"run-{number}") for number in range(4)]
    older = [run.head for run in runs]
    model = Model()
    for batch in batches:
        items = [asked(runs, older, ask) for ask in batch]
        older = [run.head for run in runs]
        expected = [model.expect(item) for item in items]

        assert await log.commit(items) == expected

        for ask, item, outcome in zip(batch, items, expected, strict=True):
            if outcome == "accepted":
                runs[ask.run].settle(item, "accepted")
    stored = {row.key: row.head for row in await log.runs()}
    assert stored == {run.key: run.head for run in runs if run.head.version}
    assert {key: head.version for key, head in stored.items()} == model.versions
    assert len(await log.feed(0, 10_000)) == sum(model.versions.values())
    for name, (limit, spent, reserved) in model.budgets.items():
        assert await log.budget(name) == OverBudget(name, limit, spent, reserved)
    assert await verify(log) == []


@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
@settings(max_examples=50)
@given(batches=st.lists(st.lists(Asks, max_size=6), max_size=5))
def test_any_batches_leave_what_a_few_words_say(adapter: str, batches: list[list[Asked]]):
    async def story() -> None:
        with tempfile.TemporaryDirectory() as folder:
            log = ADAPTERS[adapter](Path(folder))
            try:
                await try_stories(log, batches)
            finally:
                await log.close()

    asyncio.run(story())
