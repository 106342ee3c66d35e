"""Budgets above runs in the simulated world: several runs, unreliable workers, weeks, and processes that die."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from headgate.authoring import load_definition
from headgate.core import gate_events as g
from headgate.engine.budget_scopes import rule_id
from headgate.engine.start import Start
from headgate.ports import Append, BudgetRule, Log, Outcome, SpendRow
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog
from headgate.testing.simulation import Crash, History, World

ITEMS = load_definition(
    """
name: items
labels: {team: red}
activities:
  each: {use: echo, retry: 4, for_each: [1, 2, 3, 4, 5, 6], on_failure: continue}
  pause: {use: wait, with: {duration: 30h}, after: [each]}
  more: {use: echo, retry: 4, for_each: [1, 2, 3], after: [pause], on_failure: continue}
"""
)
ASKS = load_definition(
    """
name: asks
budget: {limit: 0.00000003, action: ask}
activities:
  each: {use: echo, retry: 4, for_each: [1, 2, 3, 4], on_failure: continue}
  parts: {workflow: items, after: [each], on_failure: continue}
"""
)

RULES = [
    BudgetRule(scope="tenant", period="day", limit=150),
    BudgetRule(scope="workflow:items", period="month", limit=260),
    BudgetRule(scope="label:team=red", period="total", limit=1_000),
    BudgetRule(scope="model:m/*", period="hour", limit=120, action="ask"),
]


class Watched:
    """Any log; keeps how each budget stood after every commit, and the spend rows that were written."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.stands: dict[str, tuple[int, int, int]] = {}
        self.passed: list[str] = []
        self.spend: list[SpendRow] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await self._log.commit(batch)
        for item, outcome in zip(batch, outcomes, strict=True):
            if outcome == "accepted":
                self.spend += item.spend
            for move in item.moves:
                await self._look(move.budget)
        return outcomes

    async def _look(self, budget: str) -> None:
        row = await self._log.budget(budget)
        if row is None:
            return
        self.stands[budget] = (row.limit, row.spent, row.reserved)
        if row.spent + row.reserved > row.limit:
            self.passed.append(f"{row}")


def live(log: Watched, seed: int, *crashes: Crash) -> list[History]:
    world = World(log, [ITEMS, ASKS], seed=seed, greedy=True, rules=RULES, crashes=crashes)
    starts = [Start(workflow=name, input={}, run_id=f"run{name}{n}") for name in ("items", "asks") for n in range(2)]
    histories = asyncio.run(world.run(starts))
    assert world.crashed == len(crashes)
    return histories


def check_accounts(log: Watched) -> None:
    assert log.passed == []
    assert {budget: held for budget, (_, _, held) in log.stands.items() if held} == {}
    for rule in RULES:
        own = {budget: row for budget, row in log.stands.items() if rule_id(budget) == rule.id}
        meant = [row for row in log.spend if rule.scope != "workflow:items" or row.workflow == "items"]
        if rule.scope.startswith("label:"):
            meant = [row for row in log.spend if row.workflow == "items"]
        assert sum(spent for _, spent, _ in own.values()) == sum(row.cost for row in meant), rule.id


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_no_budget_is_passed_nothing_stays_reserved_and_all_is_booked_once(seed: int):
    log = Watched(MemoryLog())

    histories = live(log, seed)

    check_accounts(log)
    assert any(history.count(g.CallWaiting) for history in histories)
    days = [budget for budget in log.stands if budget.startswith("default/tenant/day/")]
    assert len(days) >= 2, "the runs last longer than a day"


@pytest.mark.parametrize("seed", range(6))
def test_wherever_processes_die_the_same_holds(seed: int):
    log = Watched(MemoryLog())
    deaths = [Crash(6 + seed), Crash(9, after=False), Crash(14), Crash(3 + seed)]

    live(log, seed, *deaths)

    check_accounts(log)


@pytest.mark.parametrize("seed", range(2))
def test_the_same_holds_on_sqlite(tmp_path: Path, seed: int):
    log = Watched(SqliteLog(tmp_path / "world.db"))

    live(log, seed, Crash(12), Crash(8, after=False))

    check_accounts(log)
