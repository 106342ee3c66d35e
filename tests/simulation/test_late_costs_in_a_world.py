"""Children and their children in the simulated world, where calls are settled when all runs have ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from headgate.authoring import load_definition
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.engine.start import Start
from headgate.ports import Log
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog
from headgate.testing.simulation import Crash, History, World

CHILD = load_definition("name: child\nactivities: {one: {use: echo, retry: 2}, two: {use: echo, after: [one]}}")
MIDDLE = load_definition(
    "name: middle\nactivities: {own: {use: echo, retry: 2}, each: {workflow: child, for_each: [1, 2], retry: 2}}"
)
TOP = load_definition(
    "name: top\nactivities: {parts: {workflow: middle, for_each: [1, 2], on_failure: continue}, own: {use: echo}}"
)

DEATHS_MAX = 150


def live(log: Log, seed: int, *crashes: Crash) -> tuple[list[History], int]:
    world = World(log, [TOP, MIDDLE, CHILD], seed=seed, greedy=True, sleepy=True, crashes=crashes)
    histories = asyncio.run(world.run([Start(workflow="top", input={}, run_id="runtop")]))
    return histories, world.crashed


def spent(history: History) -> int:
    """What the run's own calls come to."""
    settled = (event for event in history.events if isinstance(event, g.CallSettled) and event.outcome != "lost")
    forfeited = (event for event in history.events if isinstance(event, g.CallForfeited))
    return sum(event.cost - event.replaces for event in settled) + sum(event.amount for event in forfeited)


def check_costs(histories: list[History]) -> None:
    """Check that each run costs what all calls below it cost."""
    above = {history.run_id: history.events[0].parent_run for history in histories}
    totals: Counter[str] = Counter()
    for history in histories:
        run_id = history.run_id
        while run_id:
            totals[run_id] += spent(history)
            run_id = above[run_id]
    assert {history.run_id: history.cost for history in histories} == {run_id: totals[run_id] for run_id in above}


@pytest.mark.parametrize("seed", range(6))
def test_when_all_calls_are_settled_each_run_costs_what_all_calls_below_it_cost(seed: int):
    histories, _ = live(MemoryLog(), seed)

    check_costs(histories)
    corrected = {history.definition.name for history in histories if history.count(e.ChildCorrected)}
    assert corrected == {"top", "middle"}, "too little was settled late: the test is too easy"


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("commit", range(4, 10))
def test_wherever_processes_die_each_run_costs_what_all_calls_below_it_cost(commit: int, after: bool):
    """Every process dies at its nth commit, to the very end, the last corrections too."""
    histories, crashed = live(MemoryLog(), commit, *[Crash(commit, after)] * DEATHS_MAX)

    check_costs(histories)
    assert 10 < crashed < DEATHS_MAX
    assert any(history.count(e.ChildCorrected) for history in histories)


@pytest.mark.parametrize("after", [True, False])
def test_the_same_holds_on_sqlite(tmp_path: Path, after: bool):
    histories, crashed = live(SqliteLog(tmp_path / "world.db"), 1, *[Crash(8, after)] * DEATHS_MAX)

    check_costs(histories)
    assert 0 < crashed < DEATHS_MAX
