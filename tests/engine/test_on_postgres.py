"""The engine on a log in PostgreSQL: some of its own tests again, a restart, and two nodes on one database."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engine import test_budgets_of_trees, test_children, test_engine, test_time_of_calls
from tests.engine.engine_lab import WAITS
from tests.engine.shared_budgets import test_exact, test_lines, test_scopes
from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url

from headgate.app import App
from headgate.core import commands as c
from headgate.core import events as e
from headgate.engine.audit import verify
from headgate.ports import SpendWanted, StartRequest
from headgate.stores.postgres import PostgresLog

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"

# The same tests, by the `play` of this file.
test_a_command_id_is_decided_once = (
    test_engine.test_a_command_id_is_decided_once_whether_repeated_later_or_at_the_same_time
)
test_a_repeat_does_no_harm = test_engine.test_a_repeat_that_meets_others_in_the_lane_does_them_no_harm
test_a_start_that_is_repeated = test_engine.test_a_start_that_is_repeated_gives_the_run_of_the_first
test_of_a_hundred_calls = (
    test_time_of_calls.test_of_a_hundred_calls_under_a_limit_for_ten_as_many_happen_as_their_real_cost_allows
)
test_what_a_worker_reports = (
    test_budgets_of_trees.test_what_a_worker_reports_with_its_outcome_counts_in_the_budget_of_the_tree
)
test_a_call_that_waits = test_budgets_of_trees.test_a_call_that_waits_for_a_shared_budget_is_woken_by_another_run
test_a_childs_outputs = test_children.test_a_childs_outputs_are_the_activitys_and_its_trace_is_the_parents
test_a_child_that_fails = test_children.test_a_child_that_fails_is_tried_again_as_a_new_child_where_its_activity_says_so
test_a_cancelled_parent = test_children.test_a_cancelled_parent_cancels_its_child
test_what_a_call_costs = test_scopes.test_what_a_call_costs_is_booked_in_every_budget_that_concerns_it
test_of_a_hundred_branches = test_lines.test_of_a_hundred_branches_of_several_runs_exactly_those_happen_that_fit
test_a_rule_that_is_set = test_exact.test_a_rule_that_is_set_while_calls_are_under_way_counts_each_of_them_once
test_a_rule_in_a_crowd = test_exact.test_a_rule_that_is_set_in_the_middle_of_a_crowd_counts_every_call_once
test_a_rule_that_comes_back = test_exact.test_a_rule_that_comes_back_in_the_same_period_begins_with_all_that_was_spent


@pytest.fixture
def log() -> PostgresLog:
    return empty_postgres_log()


@pytest.fixture
def play(play: Callable[..., None]) -> Callable[..., None]:
    def run(scene: Any, log: Any = None, **settings: Any) -> None:
        play(scene, log or empty_postgres_log(), **settings)
        # An engine that closes fails what nobody waits for any more. Told here, and not while a module is compiled:
        # CPython 3.11 then takes the depth of the telling for its own, and raises SystemError.
        gc.collect()

    return run


def node() -> PostgresLog:
    return PostgresLog(server_url(), schema=SCHEMA)


def test_the_quickstart_runs_and_its_bill_is_in_the_database(play):
    async def scene(bench: Any) -> None:
        given = {"letter": (QUICKSTART / "letter.txt").read_text()}
        text = (QUICKSTART / "flow.yaml").read_text()
        run_id = (await bench.app.desk.start(StartRequest(definition=text, input=given))).id

        row = await bench.finished(run_id)

        assert row.head.status == "completed"
        assert sum(total.cost for total in await bench.log.spend_totals("run", SpendWanted())) == row.head.cost > 0
        assert await verify(bench.log) == []

    play(scene)


@pytest.mark.slow
def test_the_program_of_the_page_runs(tmp_path: Path):
    page = (QUICKSTART.parents[1] / "docs" / "how-to" / "keep-the-log-in-postgresql.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "on_postgres.py").write_text(program, encoding="utf-8")
    environment = {**os.environ, "DATABASE_URL": server_url()}

    done = subprocess.run(
        [sys.executable, "-W", "error", "on_postgres.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert " completed\n{" in done.stdout
    assert "'synchronous_commit': 'on'" in done.stdout


def test_a_wait_for_weeks_survives_a_restart(play):
    runs: list[str] = []

    async def begin(bench: Any) -> None:
        runs.append(await bench.start("name: t\nactivities: {w: {use: wait, with: {duration: 3w}}}"))
        await bench.until(lambda: bench.clock.next_alarm is not None)

    async def go_on(bench: Any) -> None:
        await bench.until(lambda: bench.clock.next_alarm is not None)
        bench.clock.advance(seconds=3 * 7 * 86_400 + 1)
        assert (await bench.finished(runs[0])).head.status == "completed"
        assert len(await bench.events(runs[0])) == 6

    play(begin)
    play(go_on, node())


def test_a_task_that_was_not_done_is_offered_again_after_a_restart(play):
    runs: list[str] = []

    async def begin(bench: Any) -> None:
        runs.append(await bench.start("name: t\nactivities: {a: {use: echo, with: {x: 1}}}"))

    async def go_on(bench: Any) -> None:
        assert (await bench.finished(runs[0])).head.status == "completed"

    play(begin, work=False)
    play(go_on, node())


def test_a_command_to_any_node_is_decided_upon_what_the_other_wrote(play):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        other = App(node(), clock=bench.clock, environment={}, offline=True, work=False)
        other.engine.open()
        for name in ("one", "two", "three"):
            for app in (bench.app, other):
                await app.engine.submit(run_id, c.Signal(at=0, name=name))
        await other.engine.close()
        await other.engine.log.close()

        events = await bench.events(run_id)
        assert [event.version for event in events] == list(range(1, len(events) + 1))
        signals = [event.name for event in events if isinstance(event, e.SignalReceived)]
        assert signals == ["one", "one", "two", "two", "three", "three"]
        assert await verify(bench.log) == []

    play(scene, work=False)
