"""Planted faults: each is applied to a copy of the sources, and named tests must turn red. `python -m tests.mutants`.

A fault is a list of replacements; each text to replace must stand in its file exactly once, so that a fault which no
longer fits the code is reported instead of passing for a caught one. First all named tests are run on an untouched
copy and must be green. With arguments only the faults whose names contain one of them are planted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COPIED = ("src", "tests", "examples", "pyproject.toml")
WORKERS = 2
SECONDS_MAX = 120
TESTS_FAILED = 1  # pytest's exit code; any other one means that the tests were not run at all

MATRIX = "tests/e2e/test_kill_matrix.py"
GOLDEN = f"{MATRIX}::test_without_a_kill_the_ledger_equals_the_providers_log_call_by_call"
KILLED = f"{MATRIX}::test_killed_at_each_boundary_the_run_finishes_as_if_nothing_had_happened"
TIGHT = f"{MATRIX}::test_a_tight_budget_lets_some_calls_wait_and_none_go_beyond_it"
AGAIN = f"{MATRIX}::test_a_second_process_that_starts_the_same_run_finds_it_and_repeats_nothing"
ACKNOWLEDGED = "tests/e2e/test_acknowledged.py"
LATE = "tests/engine/test_late_costs.py"
CONFORMANCE = "tests/conformance/test_log.py"
MONEY = "tests/conformance/test_log_money.py"
DECIDE = "tests/core/test_decide.py"
PROMISE = "tests/llm/test_provider_conformance.py::test_every_provider_keeps_the_promise"

NODES = "tests/e2e/test_http_nodes.py"
HELD = f"{NODES}::test_while_no_commit_is_possible_nothing_is_acknowledged_and_who_insists_gets_it_once"
CONTENDED = f"{NODES}::test_of_reports_on_one_run_that_come_to_two_nodes_at_once_each_is_recorded"
ZOMBIE = "tests/e2e/test_zombie_worker.py::test_a_worker_that_is_stopped_beyond_its_lease_is_fenced_when_it_wakes"

SQLITE = "src/headgate/stores/sqlite.py"
SQLITE_FILE = "src/headgate/stores/sqlite_file.py"
QUERIES = "src/headgate/stores/sqlite.sql"
LANE = "src/headgate/engine/lane.py"
APPENDER = "src/headgate/engine/appender.py"
SHARED = "src/headgate/engine/shared_budgets.py"
LEDGER = "src/headgate/engine/ledger.py"
FOLD_CALLS = "src/headgate/core/fold_calls.py"
ABOVE = "tests/engine/test_shared_budgets.py"
ASKING = "tests/core/test_asking.py"
DECIDER = "src/headgate/core/decide.py"
ATTEMPTS = "src/headgate/core/attempts.py"
ADMISSION = "src/headgate/core/admission.py"
LLM = "src/headgate/llm"
REPORTS = "src/headgate/llm/usage_reports.py"


class Edit(NamedTuple):
    """In `file`, `old` becomes `new`."""

    file: str
    old: str
    new: str


NO_FENCE = Edit(
    ATTEMPTS,
    "    if place is not None and place.attempt == attempt:\n        if path in run.tasks:\n",
    "    if place is not None:\n        if path in run.tasks:\n",
)


def told_before_the_commit(command: str) -> Edit:
    """Commands of this kind are acknowledged when they are decided."""
    appended = "            self._engine.appender.append(item, self._appended)\n"
    told = f"                if isinstance(order.command, c.{command}):\n                    order.tell()\n"
    return Edit(LANE, appended, f"{appended}            for order in together:\n{told}")


class Mutant(NamedTuple):
    """A fault by name, how it is planted, and the test that must find it."""

    name: str
    edits: tuple[Edit, ...]
    test: str


MUTANTS = (
    Mutant(
        "a mail leaves before the log is told",
        (Edit("src/headgate/activities/mail.py", "await self.begin(", "str("),),
        "tests/activities/test_email_send.py::test_the_log_is_told_before_the_mail_leaves",
    ),
    Mutant(
        "what must not be done twice is done again after a crash",
        (Edit(ATTEMPTS, "    elif effect:\n", "    elif False:\n"),),
        "tests/e2e/test_mail_after_a_kill.py",
    ),
    Mutant(
        "a node refuses what another has made possible",
        (Edit(LANE, "if self._engine.others is None:", "if True:"),),
        "tests/engine/test_two_nodes.py::test_what_would_be_refused_is_decided_again_on_what_the_other_has_made_of_the_run",
    ),
    Mutant(
        "a lease that is over is renewed",
        (
            Edit(
                "src/headgate/stores/postgres.sql",
                "    where lease_until > (extract(epoch from clock_timestamp()) * 1000000)::bigint\n",
                "",
            ),
        ),
        "tests/conformance/test_task_table.py::test_a_lease_that_is_over_is_renewed_by_nobody",
    ),
    Mutant(
        "a budget begins beside other appends",
        (Edit(APPENDER, "self._alone = True", "self._alone = False"),),
        "tests/engine/test_appender.py",
    ),
    Mutant(
        "a schedule's run has another id each time",
        (
            Edit(
                "src/headgate/engine/scheduler.py",
                "run_id=_run_id(schedule, at),",
                "run_id=_run_id(schedule, __import__('time').time_ns()),",
            ),
        ),
        "tests/engine/test_scheduler.py::test_a_process_that_dies_between_the_start_and_its_note_starts_no_second_run",
    ),
    Mutant(
        "a result is reused for other parameters",
        (
            Edit(
                "src/headgate/engine/cache.py", 'base = (*base, "parameters", plain,', 'base = (*base, "parameters", 0,'
            ),
        ),
        "tests/engine/test_cache.py",
    ),
    Mutant(
        "erased bytes stay in the file",
        (Edit(SQLITE_FILE, "secure_delete = on", "secure_delete = off"),),
        "tests/stores/test_keeping.py::test_after_an_erasure_no_byte_of_the_contents_is_in_any_file",
    ),
    Mutant(
        "acknowledged before the commit",
        (
            Edit(
                LANE,
                "            self._engine.appender.append(item, self._appended)\n",
                "            self._engine.appender.append(item, self._appended)\n"
                "            for order in together:\n"
                "                order.tell()\n",
            ),
        ),
        f"{GOLDEN}[chain]",
    ),
    Mutant(
        "reports and settlements acknowledged before the commit",
        (
            Edit(
                LANE,
                "            self._engine.appender.append(item, self._appended)\n",
                "            self._engine.appender.append(item, self._appended)\n"
                "            for order in together:\n"
                "                if not isinstance(order.command, c.StartRun):\n"
                "                    order.tell()\n",
            ),
        ),
        f"{GOLDEN}[chain]",
    ),
    Mutant(
        "dispatched before the commit",
        (
            Edit(
                LANE,
                "        try:\n            self._engine.appender.append(item, self._appended)\n",
                "        try:\n"
                "            decided = [order.decision for order in together if order.decision is not None]\n"
                "            self._engine.committed(self, decided, item)\n"
                "            self._engine.appender.append(item, self._appended)\n",
            ),
        ),
        f"{GOLDEN}[chain]",
    ),
    Mutant(
        "a waiting call answered before the commit that admits it",
        (
            Edit(
                "src/headgate/engine/ledger.py",
                "            if not future.done() and not decision.events:",
                "            if not future.done():",
            ),
        ),
        f"{ACKNOWLEDGED}::test_a_waiting_call_is_answered_only_when_the_settlement_that_made_room_is_durable",
    ),
    Mutant(
        "a watcher shown what is not durable",
        (
            Edit(
                "src/headgate/api/watching.py",
                "            view = view_run(lane.run, {}, self._engine.clock.now()) if lane.durable else view\n",
                "            view = view_run(lane.run, {}, self._engine.clock.now())\n",
            ),
        ),
        f"{ACKNOWLEDGED}::test_a_watcher_is_shown_nothing_that_is_not_durable",
    ),
    Mutant(
        "no fencing: a stale attempt is accepted",
        (NO_FENCE,),
        f"{DECIDE}::test_a_lost_attempt_gets_a_new_number_and_does_not_count_as_a_failure",
    ),
    Mutant(
        "no version check at the head",
        (Edit(QUERIES, "where key = ?12 and version = ?13", "where key = ?12 and ?13 >= 0"),),
        f"{CONFORMANCE}::test_of_two_appends_with_one_expected_version_the_second_leaves_no_trace",
    ),
    Mutant(
        "a recorded activity is run again at recovery",
        (
            Edit(
                "src/headgate/engine/dispatcher.py",
                "for path, place in list(lane.run.tasks.items()):\n"
                "            self._offer(lane, path, place.attempt)\n",
                "for path, place in [(place.path, place) for place in lane.run.places if place.attempt]:\n"
                "            self._offer(lane, path, place.attempt)\n",
            ),
            Edit(
                "src/headgate/engine/dispatcher.py",
                "        place = run.tasks.get(path)\n        if place is None",
                "        place = run.place(path)\n        if place is None",
            ),
            Edit(
                "src/headgate/engine/protocol.py",
                "        place = run.tasks.get(task.place)\n        if place is None",
                "        place = run.place(task.place)\n        if place is None",
            ),
        ),
        f"{KILLED}[chain-after_append]",
    ),
    Mutant(
        "a lost process's tasks are not offered again",
        (Edit("src/headgate/engine/warden.py", "                self._dispatcher.offer_all(lane)\n", ""),),
        f"{KILLED}[chain-after_append]",
    ),
    Mutant(
        "what is due or undelivered is not looked at after a start",
        (
            Edit(
                "src/headgate/engine/warden.py",
                "        self._next = 0\n        return count\n",
                "        return count\n",
            ),
        ),
        f"{KILLED}[fan-after_append]",
    ),
    Mutant(
        "a child's end that is told twice counts twice",
        (
            Edit(
                DECIDER,
                "    if command.child_run not in run.children_out:\n        return\n",
                "",
            ),
        ),
        f"{ACKNOWLEDGED}::test_a_child_that_ends_after_its_cancelled_parent_still_counts_with_its_cost",
    ),
    Mutant(
        "a parent is not told what a child's call cost that was settled late",
        (
            Edit(
                "src/headgate/core/fold_calls.py",
                "    if run.finished:\n        correct_parent(run, event.version)\n",
                "",
            ),
        ),
        f"{LATE}::test_a_call_that_is_settled_when_all_have_ended_is_counted_by_all_above",
    ),
    Mutant(
        "a parent that was corrected does not tell its own parent",
        (
            Edit(
                "src/headgate/core/fold_waits.py",
                "    if run.finished:\n        correct_parent(run, event.version)\n",
                "",
            ),
        ),
        f"{LATE}::test_a_call_that_is_settled_when_all_have_ended_is_counted_by_all_above",
    ),
    Mutant(
        "a correction that is told twice counts twice",
        (
            Edit(
                DECIDER,
                "    if (command.child_run, command.of) in decision.run.corrections:\n        return\n",
                "",
            ),
        ),
        "tests/core/test_late_costs.py::test_a_correction_counts_once_and_commutes_with_the_childs_end",
    ),
    Mutant(
        "a child tells what it costs now, and its corrections too",
        (Edit("src/headgate/engine/courier.py", "cost=message.amount,", "cost=run.total_cost,"),),
        f"{LATE}::test_a_settlement_between_a_childs_end_and_its_parents_hearing_of_it_counts_once",
    ),
    Mutant(
        "a call that was under way is not lost with its process",
        (
            Edit(
                "src/headgate/engine/warden.py",
                'if call.state == "admitted"}',
                'if call.state == "waiting"}',
            ),
        ),
        f"{KILLED}[chain-after_effect]",
    ),
    Mutant(
        "a lost attempt forfeits nothing",
        (Edit(ATTEMPTS, "    forfeit(decision, place, command.reason)\n", ""),),
        f"{KILLED}[chain-after_effect]",
    ),
    Mutant(
        "a forfeit is counted at half",
        (
            Edit(
                ADMISSION,
                "        amount=call.reservation,\n",
                "        amount=call.reservation // 4,\n",
            ),
        ),
        f"{KILLED}[chain-after_effect]",
    ),
    Mutant(
        "a call settled twice counts twice",
        (
            Edit(
                ADMISSION,
                'if call is None or call.state not in ("admitted", "forfeited"):',
                "if call is None:",
            ),
        ),
        f"{ACKNOWLEDGED}::test_a_call_that_is_settled_twice_counts_once",
    ),
    Mutant(
        "reservations are not counted against the limit",
        (
            Edit(
                "src/headgate/core/budget_levels.py",
                "return self.spent + self.reserved + amount <= self.limit",
                "return self.spent + amount <= self.limit",
            ),
        ),
        TIGHT,
    ),
    Mutant(
        "calls that wait for a budget are not woken",
        (
            Edit(
                ADMISSION,
                "    if not run.waiting_calls:\n        return\n    for",
                "    if run.waiting_calls:\n        return\n    for",
            ),
        ),
        TIGHT,
    ),
    Mutant(
        "a budget above the run does not check its limit",
        (Edit(QUERIES, "where id = ?1 and spent + reserved + ?2 + ?3 <= money_limit", "where id = ?1"),),
        f"{MONEY}::test_a_reservation_is_admitted_up_to_the_limit_and_not_beyond",
    ),
    Mutant(
        "a budget above the run is not given back",
        (
            Edit(
                SHARED,
                "Move(budget, reserve=-event.released, spend=amount)",
                "Move(budget, reserve=0, spend=amount)",
            ),
        ),
        f"{GOLDEN}[fan]",
    ),
    Mutant(
        "a call settles on the day that it ends",
        (
            Edit(
                SHARED,
                "                    budgets, amount = event.budgets or run.outer, event.cost - event.replaces\n",
                "                    budgets, amount = event.budgets or run.outer, event.cost - event.replaces\n"
                "                    budgets = tuple(\n"
                "                        budget_id(rule, event.at, simulated=False) for rule in self._concerning(run)\n"
                "                    )\n",
            ),
        ),
        f"{ABOVE}::test_a_call_that_was_admitted_before_midnight_settles_on_its_own_day",
    ),
    Mutant(
        "what had reserved is booked once more",
        (Edit(SHARED, "if rule.id not in had and concerns_model", "if concerns_model"),),
        f"{ABOVE}::test_what_a_call_costs_is_booked_in_every_budget_that_concerns_it",
    ),
    Mutant(
        "what was admitted before its rule is not booked",
        (Edit(SHARED, "        if spend and self._rules:\n", "        if False:\n"),),
        f"{ABOVE}::test_a_rule_that_is_set_while_calls_are_under_way_counts_each_of_them_once",
    ),
    Mutant(
        "a new rule forgets what the period has cost",
        (Edit("src/headgate/stores/memory.py", "        if move.opening is not None:\n", "        if False:\n"),),
        f"{ABOVE}::test_a_rule_that_is_set_while_calls_are_under_way_counts_each_of_them_once[memory]",
    ),
    Mutant(
        "a new rule forgets what the period has cost, on disk",
        (Edit("src/headgate/stores/budgets.sql", "select coalesce(sum(cost), 0) from spend", "select 0 from spend"),),
        f"{ABOVE}::test_a_rule_that_is_set_while_calls_are_under_way_counts_each_of_them_once[sqlite]",
    ),
    Mutant(
        "room in a shared budget is not passed on",
        (Edit(LEDGER, "        if first is not None:\n", "        if False:\n"),),
        f"{ABOVE}::test_a_call_of_another_run_is_woken_in_its_turn",
    ),
    Mutant(
        "who comes last to a shared budget overtakes",
        (Edit(ADMISSION, "    return next((level for level in kept if level.before), None)\n", "    return None\n"),),
        f"{ABOVE}::test_a_call_of_another_run_is_woken_in_its_turn",
    ),
    Mutant(
        "who waits in one line goes to the end of the next",
        (Edit(SHARED, "        new = isinstance(command, c.AdmitCall)\n", "        new = True\n"),),
        "tests/simulation/test_shared_budgets_in_a_world.py",
    ),
    Mutant(
        "nobody looks when a day is over",
        (Edit(LEDGER, "            self._look_again(ended.__contains__)\n", ""),),
        f"{ABOVE}::test_who_waits_goes_on_when_the_next_day_begins",
    ),
    Mutant(
        "an attempt that asks anew asks twice",
        (Edit(FOLD_CALLS, "            _forget(run, earlier)\n", "            pass\n"),),
        f"{ASKING}::test_an_attempt_whose_call_asked_when_its_process_died_asks_anew_under_its_number",
    ),
    Mutant(
        "a refusal is forgotten with its process",
        (Edit(ADMISSION, "        if other.refused_by and", "        if False and other.refused_by and"),),
        f"{ASKING}::test_what_a_person_refused_is_not_asked_again_by_the_next_claim_unless_the_limit_was_raised",
    ),
    Mutant(
        "calls that waited outlive their process",
        (Edit("src/headgate/engine/warden.py", "        if run.waiting_calls:\n", "        if False:\n"),),
        "tests/simulation/test_shared_budgets_in_a_world.py",
    ),
    Mutant(
        "a call that asks holds up the run",
        (
            Edit(
                ADMISSION,
                "any(other != call.call_id and not run.calls[other].line for other in run.waiting_calls)",
                "bool(run.asking_calls)",
            ),
        ),
        f"{ASKING}::test_a_call_that_asks_keeps_no_other_from_going_on",
    ),
    Mutant(
        "the limit of a call is not looked at",
        (Edit("src/headgate/core/budget_levels.py", "    if call.max_cost is not None:\n", "    if False:\n"),),
        f"{ASKING}::test_a_call_above_its_own_max_cost_goes_to_the_next_model_or_is_refused",
    ),
    Mutant(
        "the tree keeps its limit when its run is raised",
        (Edit(SHARED, "limit=event.limit, sets=True", "limit=event.limit"),),
        f"{ABOVE}::test_the_budget_of_a_tree_is_raised_with_that_of_its_run_also_for_a_child_that_asks",
    ),
    Mutant(
        "an attempt that waits keeps its slot",
        (Edit("src/headgate/engine/task_context.py", "            left.extend(self._slots)\n", ""),),
        "tests/engine/test_worker.py::test_an_attempt_that_waits_for_a_person_keeps_no_slot_from_those_that_work",
    ),
    Mutant(
        "a skip is not passed on",
        (
            Edit(
                "src/headgate/core/conclude.py",
                '        return f"its dependency {_dropped_dependency(run, index)} was not completed"\n',
                '        return ""\n',
            ),
        ),
        f"{DECIDE}::test_a_chain_behind_a_failed_activity_is_skipped_at_once",
    ),
    Mutant(
        "blobs are written before their transaction",
        (
            Edit(
                SQLITE,
                '                writer.execute("begin immediate")\n',
                "                for item in batch:\n"
                "                    for digest, data in item.blobs:\n"
                '                        writer.execute(SQL["insert_blob"], (item.run, digest, data))\n'
                '                writer.execute("begin immediate")\n',
            ),
        ),
        f"{ACKNOWLEDGED}::test_a_large_content_is_not_kept_of_an_append_that_is_refused",
    ),
    Mutant(
        "blobs are written after their transaction",
        (
            Edit(
                SQLITE,
                "                for digest, data in item.blobs:\n"
                '                    writer.execute(SQL["insert_blob"], (item.run, digest, data))\n',
                "",
            ),
            Edit(
                SQLITE,
                "            return outcomes\n\n    def _writing",
                "            for item in batch:\n"
                "                for digest, data in item.blobs:\n"
                '                    writer.execute(SQL["insert_blob"], (item.run, digest, data))\n'
                "            return outcomes\n\n    def _writing",
            ),
        ),
        f"{ACKNOWLEDGED}::test_a_large_content_is_there_as_soon_as_its_event_is",
    ),
    Mutant(
        "answers to command ids are not kept",
        (Edit(LANE, "        if decision.events and command.command_id:\n", "        if False:\n"),),
        AGAIN,
    ),
    Mutant(
        "a start that is repeated starts again",
        (
            Edit(
                "src/headgate/engine/engine.py",
                "        if (known := await self._started_before(start)) is not None:\n"
                "            return known\n"
                "        if self.appender.crowded:",
                "        if self.appender.crowded:",
            ),
            Edit(
                LANE, "        if decision.events and command.command_id:\n", "        if before and decision.events:\n"
            ),
        ),
        AGAIN,
    ),
    Mutant(
        "the hash chain is not linked",
        (Edit(LANE, "chain(self.hash, data)", 'chain(b"", data)'),),
        f"{GOLDEN}[chain]",
    ),
    Mutant(
        "synchronous is off",
        (Edit(SQLITE_FILE, "pragma synchronous = full", "pragma synchronous = off"),),
        "tests/stores/test_power_loss.py",
    ),
    Mutant("over HTTP: a start is acknowledged before its commit", (told_before_the_commit("StartRun"),), HELD),
    Mutant(
        "over HTTP: a report is acknowledged before its commit", (told_before_the_commit("CompleteActivity"),), HELD
    ),
    Mutant(
        "over HTTP: what lost a conflict is acknowledged",
        (
            Edit(
                LANE,
                '        if outcome == "version_conflict":\n            self._again(together)\n',
                '        if outcome == "version_conflict":\n            self._finish(together)\n',
            ),
        ),
        CONTENDED,
    ),
    Mutant(
        "over HTTP: what waits behind a conflict is forgotten",
        (Edit(LANE, "waiting = [*together, *self._orders]", "waiting = [*together]"),),
        CONTENDED,
    ),
    Mutant("over HTTP: a report is taken without the fence", (NO_FENCE,), f"{ZOMBIE}[file]"),
    Mutant("over HTTP, of many nodes: a report is taken without the fence", (NO_FENCE,), f"{ZOMBIE}[postgres]"),
    Mutant(
        "over HTTP: the dead keep what they had in hand",
        (Edit("src/headgate/queues/leases.py", "over = claim.lease_until <= now", "over = False"),),
        f"{ZOMBIE}[file]",
    ),
    Mutant(
        "over HTTP, of many nodes: the dead keep what they had in hand",
        (
            Edit(
                "src/headgate/engine/neighbours.py",
                "while overdue := await self._table.overdue(self._queue.node, PAGE):",
                "while overdue := ():",
            ),
        ),
        f"{ZOMBIE}[postgres]",
    ),
    Mutant(
        "over HTTP: who sleeps is handed again what it has lost",
        (
            Edit(
                "src/headgate/engine/leases.py",
                "return min(wait_seconds, LEASE_SECONDS - HEARTBEAT_SECONDS) if heartbeats else wait_seconds",
                "return wait_seconds",
            ),
        ),
        f"{ZOMBIE}[file]",
    ),
    Mutant(
        "over HTTP: a heartbeat of the dead is taken",
        (
            Edit(
                "src/headgate/engine/protocol.py",
                "        if not await self._queue.renew(activity_id):\n",
                "        if not await self._queue.renew(activity_id) and not activity_id:\n",
            ),
        ),
        f"{ZOMBIE}[file]",
    ),
    Mutant(
        "a text that lacks a piece passes for whole",
        (Edit("src/headgate/engine/told_texts.py", "        if offset > known:\n            return None\n", ""),),
        "tests/engine/test_told_texts.py",
    ),
    Mutant(
        "a text goes on at a node that has not its beginning",
        (
            Edit(
                "src/headgate/engine/worker_calls.py",
                "        if offset is not None:\n            new",
                "        if offset is None:\n            new",
            ),
        ),
        "tests/e2e/test_texts_after_a_kill.py::"
        "test_when_the_node_is_killed_that_a_worker_tells_a_text_to_readers_get_it_whole",
    ),
    Mutant(
        "the end of another text of the attempt ends this one",
        (
            Edit(
                "src/headgate/stores/mirror_streams.py",
                "                return None\n            if isinstance(chunk, Ended)",
                "                return True\n            if isinstance(chunk, Ended)",
            ),
        ),
        "tests/engine/test_texts_of_neighbours.py::"
        "test_the_end_of_another_text_of_the_attempt_is_not_the_end_of_the_one_that_is_read",
    ),
    Mutant(
        "provider: a redirect is followed",
        (
            Edit(
                f"{LLM}/http_provider.py",
                'headers={"User-Agent": "headgate"},',
                'headers={"User-Agent": "headgate"}, follow_redirects=True,',
            ),
        ),
        f"{PROMISE}[anthropic-a_redirect_is_not_followed_wherever_it_leads]",
    ),
    Mutant(
        "provider: what a call opened stays open",
        (
            Edit(f"{LLM}/exchange.py", "            await self._incoming.aclose()", "            pass"),
            Edit(f"{LLM}/exchange.py", "            await self._response.aclose()", "            pass"),
        ),
        f"{PROMISE}[google-a_stream_that_is_left_closes_its_connection]",
    ),
    Mutant(
        "provider: a call has no deadline",
        (Edit(f"{LLM}/exchange.py", "asyncio.timeout_at(self._deadline)", "asyncio.timeout_at(None)"),),
        f"{PROMISE}[bedrock-a_stream_that_stands_still_is_given_up_and_not_repeated]",
    ),
    Mutant(
        "provider: what the cache read is no input",
        (Edit(REPORTS, '    speed = tier_of(fields.get("speed"))\n', '    speed, fresh = "", fresh - read\n'),),
        f"{PROMISE}[anthropic-usage_comes_in_buckets_that_are_parts_of_the_sums]",
    ),
    Mutant(
        "provider: a cache of an hour counts as one of five minutes",
        (Edit(REPORTS, 'if one.get("ttl") == "1h")', 'if one.get("ttl") == "1 h")'),),
        f"{PROMISE}[bedrock-usage_comes_in_buckets_that_are_parts_of_the_sums]",
    ),
    Mutant(
        "provider: thinking is no output",
        (Edit(REPORTS, "        said + thought,\n", "        said,\n"),),
        f"{PROMISE}[google-usage_comes_in_buckets_that_are_parts_of_the_sums]",
    ),
    Mutant(
        "provider: a usage of nothing is taken for one",
        (
            Edit(
                f"{LLM}/answer_parts.py",
                "told if told and (told.input_tokens or told.output_tokens) else",
                "told if told else",
            ),
        ),
        f"{PROMISE}[anthropic-a_usage_that_is_nonsense_loses_no_answer_and_is_estimated]",
    ),
    Mutant(
        "provider: a cut stream passes for a whole one",
        (Edit(f"{LLM}/http_provider.py", "if not parts.finished:", "if False:"),),
        f"{PROMISE}[google-a_stream_that_ends_without_its_end_is_cut]",
    ),
    Mutant(
        "provider: what a stream begins with passes for all that it used",
        (
            Edit(
                f"{LLM}/http_provider.py",
                "if reported is not None and parts.output_reported:",
                "if reported is not None:",
            ),
        ),
        "tests/llm/test_vendor_answers.py::test_what_anthropic_wrote_to_its_cache_is_known_from_where_a_stream_begins",
    ),
    Mutant(
        "provider: what a provider says shows the key",
        (Edit(f"{LLM}/exchange.py", 'text = text.replace(secret, "[secret]")', "pass"),),
        "tests/llm/test_provider_settings.py::test_a_key_is_nowhere_in_errors_or_logs[anthropic]",
    ),
    Mutant(
        "provider: libraries log headers",
        (Edit(f"{LLM}/quiet.py", "logger.setLevel(logging.WARNING)", "pass"),),
        "tests/llm/test_provider_settings.py::test_a_key_is_nowhere_in_errors_or_logs[anthropic]",
    ),
    Mutant(
        "provider: an error inside a stream goes unnamed",
        (Edit(f"{LLM}/bedrock_answers.py", 'if frame.headers.get("message-type") != "event":', "if False:"),),
        f"{PROMISE}[bedrock-an_error_inside_a_stream_ends_it_with_what_was_used]",
    ),
    Mutant(
        "provider: a limit of the day is waited for as one of the minute",
        (Edit(f"{LLM}/refusals.py", 'code == "rate_limited" and _is_daily(said)', "False"),),
        "tests/llm/test_vendor_answers.py::test_a_stream_of_google_that_fails_says_how_long_to_wait_and_whether_it_is_the_day",
    ),
    Mutant(
        "provider: a signature does not cover the body",
        (Edit(f"{LLM}/amazon_signing.py", "hashlib.sha256(content).hexdigest(),", 'hashlib.sha256(b"").hexdigest(),'),),
        "tests/llm/test_amazon_signing.py::test_any_request_is_signed_as_amazons_sdk_signs_it",
    ),
    Mutant(
        "provider: a path is signed as it is sent",
        (Edit(f"{LLM}/amazon_signing.py", 'quote(parts.path or "/", safe="/-_.~")', '(parts.path or "/")'),),
        "tests/llm/test_amazon_signing.py::test_any_request_is_signed_as_amazons_sdk_signs_it",
    ),
    Mutant(
        "provider: a key that has run out signs",
        (Edit(f"{LLM}/amazon_credentials.py", "> KEPT_SECONDS_MAX", "> 10**9"),),
        "tests/llm/test_amazon_signing.py::test_a_key_that_may_change_is_asked_for_again_after_a_while",
    ),
    Mutant(
        "provider: the sum of a frame is not looked at",
        (Edit(f"{LLM}/event_streams.py", "if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:]):", "if False:"),),
        "tests/llm/test_vendor_answers.py::test_a_frame_that_was_changed_on_the_way_is_malformed",
    ),
    Mutant(
        "provider: a line that is cut in its end is two",
        (Edit(f"{LLM}/event_streams.py", 'chunk = chunk.removeprefix(b"\\n")', "pass"),),
        "tests/llm/test_event_streams.py::test_an_event_is_given_with_the_byte_that_ends_it",
    ),
    Mutant(
        "provider: thinking is not kept",
        (Edit(f"{LLM}/answer_parts.py", "thoughts=tuple(self._sealed(calls)),", "thoughts=(),"),),
        "tests/llm/test_thoughts.py::test_a_workflow_passes_thinking_on_as_it_passes_calls",
    ),
    Mutant(
        "provider: thinking between calls goes back before the text",
        (Edit(f"{LLM}/answer_parts.py", "                thought.call = number", "                pass"),),
        "tests/llm/test_thoughts.py::test_each_thought_goes_back_to_anthropic_where_it_stood",
    ),
    Mutant(
        "provider: thinking goes to another vendor",
        (Edit(f"{LLM}/request_parts.py", "if thought.provider == provider and place == call:", "if place == call:"),),
        "tests/llm/test_thoughts.py::test_nobody_gets_the_thinking_of_another_vendor",
    ),
    Mutant(
        "provider: a call of Gemini's goes back without its signature",
        (
            Edit(
                f"{LLM}/google_requests.py",
                "yield {**told, **unsigned, **_signature(message, provider, call.id)}",
                "yield {**told, **unsigned}",
            ),
        ),
        "tests/llm/test_thoughts.py::test_thinking_goes_back_with_the_results_of_tools",
    ),
    Mutant(
        "provider: thinking leaves with what must not leave",
        (
            Edit(
                "src/headgate/policies/scrubbing.py",
                "if self._scrubber.scrubbed(thought.text) == thought.text",
                "if True",
            ),
        ),
        "tests/policies/test_scrubbing.py::test_thinking_that_would_have_to_be_changed_is_left_out_for_its_seal_would_break",
    ),
    Mutant(
        "provider: a schema stays open",
        (
            Edit(
                f"{LLM}/schema_subset.py",
                'part["additionalProperties"] = False',
                'part.setdefault("additionalProperties", False)',
            ),
        ),
        "tests/llm/test_schema_subset.py::test_nothing_that_is_refused_is_left_and_objects_are_closed",
    ),
    Mutant(
        "provider: thinking leaves no room for the answer",
        (Edit(f"{LLM}/claude.py", "request.max_tokens - ANSWER_TOKENS_MIN", "request.max_tokens"),),
        "tests/llm/test_vendor_requests.py::test_claude_is_told_how_much_to_think_in_the_words_of_its_generation",
    ),
    Mutant(
        "provider: results of tools stand beside text where they may not",
        (Edit(f"{LLM}/bedrock_requests.py", "if not family.results_alone:", "if True:"),),
        "tests/llm/test_vendor_requests.py::test_results_of_tools_stand_alone_where_a_maker_wants_it",
    ),
    Mutant(
        "provider: an unknown field is sent",
        (Edit(f"{LLM}/bedrock_requests.py", '"stopSequences": list(', '"stop_sequences": list('),),
        "tests/llm/test_vendor_requests.py::test_amazons_sdk_knows_whatever_is_asked",
    ),
    Mutant(
        "provider: an unknown field is sent to Anthropic",
        (Edit(f"{LLM}/anthropic_requests.py", '"input_schema": tool.schema', '"inputSchema": tool.schema'),),
        "tests/llm/test_vendor_requests.py::test_anthropics_sdk_knows_whatever_is_asked",
    ),
    Mutant(
        "provider: an unknown field is sent to Google",
        (
            Edit(
                f"{LLM}/google_requests.py", '"maxOutputTokens": request.max_tokens', '"maxTokens": request.max_tokens'
            ),
        ),
        "tests/llm/test_vendor_requests.py::test_googles_sdk_knows_whatever_is_asked",
    ),
    Mutant(
        "provider: vectors that were made are not paid for",
        (Edit(f"{LLM}/vectors.py", "failure.usage = _sum_of([usage, failure.usage or Usage()])", "pass"),),
        "tests/llm/test_vendor_answers.py::test_vectors_that_were_made_are_paid_for_when_one_is_not",
    ),
    Mutant(
        "provider: a misspelt model is not helped",
        (Edit("src/headgate/llm/model_names.py", 'if error.kind == "not_found" else []', "if False else []"),),
        f"{PROMISE}[openai-a_model_that_is_not_there_is_answered_with_those_that_are_like_it]",
    ),
)


class Verdict(NamedTuple):
    """How the named test ended with the fault in place."""

    mutant: Mutant
    caught: bool
    how: str
    seconds: float


def main(names: Sequence[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not names or any(name in mutant.name for name in names)]
    with tempfile.TemporaryDirectory(prefix="headgate-mutants-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(WORKERS):
            copies.put(copied(Path(folder) / str(number)))
        sane, said = whether_green(copies, sorted({mutant.test for mutant in chosen}))
        if not sane:
            print(f"Without any fault the named tests must be green:\n{said}", file=sys.stderr)
            return 2
        with ThreadPoolExecutor(WORKERS) as pool:
            verdicts = [show(verdict) for verdict in pool.map(lambda mutant: tried(mutant, copies), chosen)]
    survivors = [verdict for verdict in verdicts if not verdict.caught]
    print(f"{len(verdicts)} faults planted, {len(survivors)} survived.")
    return 1 if survivors else 0


def copied(folder: Path) -> Path:
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", ".hypothesis", "*.db*")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)
    return folder


def whether_green(copies: SimpleQueue[Path], tests: Sequence[str]) -> tuple[bool, str]:
    copy = copies.get()
    try:
        ended = pytest_in(copy, tests, SECONDS_MAX * 5)
    finally:
        copies.put(copy)
    return ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-2000:]


def tried(mutant: Mutant, copies: SimpleQueue[Path]) -> Verdict:
    """Plant the fault in a copy, run its test, and take the fault out again."""
    copy = copies.get()
    before: dict[Path, str] = {}
    began = time.monotonic()
    try:
        for edit in mutant.edits:
            path = copy / edit.file
            text = path.read_text(encoding="utf-8")
            before.setdefault(path, text)
            if text.count(edit.old) != 1:
                return Verdict(mutant, False, f"does not fit {edit.file} any more", 0.0)
            path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
        caught, how = outcome(copy, mutant)
        return Verdict(mutant, caught, how, time.monotonic() - began)
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")
        copies.put(copy)


def outcome(copy: Path, mutant: Mutant) -> tuple[bool, str]:
    try:
        ended = pytest_in(copy, [mutant.test], SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return False, f"its test hangs for more than {SECONDS_MAX} s"
    if ended.returncode == TESTS_FAILED:
        return True, reason(ended.stdout)
    if ended.returncode == 0:
        return False, "GREEN"
    return False, f"pytest ended with {ended.returncode}: {ended.stdout[-500:]}{ended.stderr[-500:]}"


def reason(said: str) -> str:
    """Return the first line of what the failed test says."""
    return next((line[1:].strip()[:160] for line in said.splitlines() if line.startswith("E ")), "red")


def pytest_in(copy: Path, tests: Sequence[str], seconds_max: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "KILL_CHILD_SECONDS_MAX": "10",
        "HTTP_SITE_PATIENCE_SECONDS": "30",
    }
    return subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=seconds_max, check=False
    )


def show(verdict: Verdict) -> Verdict:
    mark = "caught  " if verdict.caught else "SURVIVED"
    test = verdict.mutant.test.rpartition("::")[2] or verdict.mutant.test
    print(f"{mark} {verdict.seconds:5.1f} s  {verdict.mutant.name}\n{'':18}{test}\n{'':18}{verdict.how}", flush=True)
    return verdict


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
