"""The whole engine in virtual time: random workflows, crashes at any commit, children, shared budgets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.authoring import load_definition
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.definition import Definition
from headgate.engine import engine as engine_module
from headgate.engine.start import Start
from headgate.ports import Append, Log, Outcome
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog
from headgate.testing.simulation import Crash, History, World
from headgate.testing.story_definitions import GIVEN, definitions

EXAMPLES = 500 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 25

simulated = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)

CHILD = load_definition("name: child\nactivities: {one: {use: echo, retry: 2}, two: {use: echo, after: [one]}}")

FAMILY = load_definition(
    """
name: family
budget: 0.000000070
activities:
  sub: {workflow: child, for_each: [1, 2, 3, 4], retry: 2, on_failure: continue}
  beside: {use: echo, retry: 3, on_failure: continue}
  end: {use: echo, after: [sub, beside]}
"""
)

LONG = load_definition(
    """
name: long
activities:
  head: {use: echo, retry: 4, iteration_limit: 3, after: [{activity_key: tail, condition: "{{ tail.yes }}"}]}
  each: {use: echo, retry: 4, for_each: [1, 2, 3], max_parallel: 2, after: [head]}
  pause: {use: wait, with: {duration: 3w}, after: [each]}
  tail: {use: echo, retry: 4, after: [pause]}
  ok: {use: approval, with: {title: "?"}, after: [tail]}
  end: {use: echo, retry: 4, after: [ok]}
"""
)


def start(workflow: str, number: int = 0) -> Start:
    return Start(workflow=workflow, input=GIVEN, run_id=f"run{workflow}{number}", trace_id=f"trace{number}")


def live(world: World, *starts: Start) -> list[History]:
    return asyncio.run(world.run(starts))


def traces(histories: list[History]) -> list[list[e.Event]]:
    return [history.events for history in histories]


@simulated
@given(definitions(), st.integers(0, 1_000))
def test_random_workflows_with_unreliable_workers_always_end(definition: Definition, seed: int):
    world = World(MemoryLog(), [definition, CHILD], seed=seed)

    histories = live(world, start("story"))

    assert {history.status for history in histories} <= {"completed", "failed", "cancelled"}


@simulated
@given(definitions(), st.integers(0, 1_000), st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=4))
def test_wherever_the_process_dies_every_run_ends_and_no_recorded_activity_runs_again(
    definition: Definition, seed: int, deaths: list[tuple[int, bool]]
):
    crashes = [Crash(commit, after) for commit, after in deaths]
    world = World(MemoryLog(), [definition, CHILD], seed=seed, crashes=crashes)

    live(world, start("story"), start("story", 1))

    assert world.crashed <= len(crashes)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(definitions(), st.integers(0, 1_000))
def test_the_same_seed_gives_the_same_trace(definition: Definition, seed: int):
    crashes = [Crash(3), Crash(5, after=False)]
    one = World(MemoryLog(), [definition, CHILD], seed=seed, crashes=crashes)
    two = World(MemoryLog(), [definition, CHILD], seed=seed, crashes=crashes)

    first = live(one, start("story"), start("story", 1))
    second = live(two, start("story"), start("story", 1))

    assert traces(first) == traces(second)
    assert one.starts == two.starts


def test_another_seed_gives_another_trace():
    one, two = World(MemoryLog(), [LONG], seed=1), World(MemoryLog(), [LONG], seed=2)

    assert traces(live(one, start("long"))) != traces(live(two, start("long")))


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("commit", range(1, 25, 3))
def test_a_process_that_dies_at_any_commit_is_taken_up_by_the_next(commit: int, after: bool):
    calm = World(MemoryLog(), [LONG], calm=True)
    dying = World(MemoryLog(), [LONG], calm=True, crashes=[Crash(commit, after)])

    (golden,) = live(calm, start("long"))
    (history,) = live(dying, start("long"))

    assert (dying.crashed, history.status) == (1, golden.status)
    completed = [(event.place, event.type) for event in history.events if isinstance(event, e.ActivityCompleted)]
    assert sorted(completed) == sorted(
        (event.place, event.type) for event in golden.events if isinstance(event, e.ActivityCompleted)
    )


def test_weeks_of_waiting_cost_a_few_events_and_no_time():
    world = World(MemoryLog(), [LONG], calm=True)

    (history,) = live(world, start("long"))

    weeks = (history.events[-1].at - history.events[0].at) / (7 * 86_400 * 1_000_000)
    assert weeks >= 3
    assert history.count(e.TimerFired) == history.count(e.ActivitySuspended) - 1
    assert len(history.events) < 150


@pytest.mark.parametrize("seed", range(8))
def test_a_parent_and_its_children_never_pass_the_budget_they_share(seed: int):
    log = _WatchedBudgets(MemoryLog())
    world = World(log, [FAMILY, CHILD], seed=seed, greedy=True)

    histories = live(world, start("family"))

    assert len(histories) >= 5
    assert log.seen, "the tree has a row of its own"
    assert all(spent + reserved <= limit for limit, spent, reserved in log.seen)
    assert log.seen[-1][2] == 0
    spent = sum(
        sum(event.cost - event.replaces for event in history.events if isinstance(event, g.CallSettled))
        + sum(event.amount for event in history.events if isinstance(event, g.CallForfeited))
        for history in histories
    )
    assert log.seen[-1][1] == spent
    assert any(history.count(g.CallWaiting) for history in histories), "nobody had to wait: the test is too easy"


@pytest.mark.slow
def test_a_shared_budget_on_sqlite_survives_crashes(tmp_path: Path):
    log = _WatchedBudgets(SqliteLog(tmp_path / "world.db"))
    world = World(log, [FAMILY, CHILD], seed=3, greedy=True, crashes=[Crash(5), Crash(8, after=False)])

    histories = live(world, start("family"))

    assert world.crashed == 2
    assert any(history.count(g.CallAdmitted) for history in histories)
    assert all(spent + reserved <= limit for limit, spent, reserved in log.seen)
    assert log.seen[-1][2] == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_shared_budget_survives_crashes(seed: int):
    log = _WatchedBudgets(MemoryLog())
    world = World(log, [FAMILY, CHILD], seed=seed, greedy=True, crashes=[Crash(4), Crash(7, after=False), Crash(9)])

    live(world, start("family"))

    assert all(spent + reserved <= limit for limit, spent, reserved in log.seen)
    assert log.seen[-1][2] == 0


class _WatchedBudgets:
    """Any log; notes the tree's row after every commit."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.seen: list[tuple[int, int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await self._log.commit(batch)
        row = await self._log.budget("tree:runfamily0")
        if row is not None:
            self.seen.append((row.limit, row.spent, row.reserved))
        return outcomes


@pytest.mark.slow
def test_more_runs_than_fit_into_memory_all_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine_module, "LANES_MAX", 3)
    world = World(MemoryLog(), [LONG, FAMILY, CHILD], seed=5)

    histories = live(world, *(start("long", number) for number in range(10)), start("family"))

    assert len(histories) >= 15
    assert all(history.status in {"completed", "failed"} for history in histories)


def test_a_world_on_sqlite_comes_to_the_same_outcomes(tmp_path: Path):
    memory = World(MemoryLog(), [FAMILY, CHILD, LONG], calm=True)
    sqlite = World(SqliteLog(tmp_path / "world.db"), [FAMILY, CHILD, LONG], calm=True, crashes=[Crash(6), Crash(3)])

    golden = live(memory, start("family"), start("long"))
    histories = live(sqlite, start("family"), start("long"))

    assert sqlite.crashed == 2
    assert {(history.run_id, history.status) for history in histories} == {
        (history.run_id, history.status) for history in golden
    }
