"""Many nodes write one log, and their workers come over HTTP."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.shared import LANE, NO_FENCE

NODES = "tests/e2e/test_http_nodes.py"
HELD = f"{NODES}::test_while_no_commit_is_possible_nothing_is_acknowledged_and_who_insists_gets_it_once"
CONTENDED = f"{NODES}::test_of_reports_on_one_run_that_come_to_two_nodes_at_once_each_is_recorded"
IN_HAND = "tests/conformance/test_tasks_in_hand.py"
APPEND = "src/headgate/stores/postgres_append.py"
APPEND_SQL = "src/headgate/stores/postgres_append.sql"
ZOMBIE = "tests/e2e/test_zombie_worker.py::test_a_worker_that_is_stopped_beyond_its_lease_is_fenced_when_it_wakes"


def told_before_the_commit(command: str) -> Edit:
    """Commands of this kind are acknowledged when they are decided."""
    appended = "            self._engine.appender.append(item, self._appended)\n"
    told = f"                if isinstance(order.command, c.{command}):\n                    order.tell()\n"
    return Edit(LANE, appended, f"{appended}            for order in together:\n{told}")


MUTANTS = (
    Mutant(
        "a node refuses what another has made possible",
        (Edit(LANE, "if self._engine.others is None:", "if True:"),),
        "tests/engine/two_nodes/test_commands.py::test_what_would_be_refused_is_decided_again_on_what_the_other_has_made_of_the_run",
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
        "what a run has in hand is forgotten when it gets a second task",
        (Edit(APPEND_SQL, "filter (where puts_down and has)", "filter (where false)"),),
        f"{IN_HAND}::test_a_second_task_makes_rows_of_both_and_their_ends_remove_them",
    ),
    Mutant(
        "a run that is resumed takes its task out of the hands it is in",
        (Edit(APPEND, "if item.resumes or not", "if not"),),
        f"{IN_HAND}::test_a_run_that_is_resumed_elsewhere_leaves_its_task_in_the_hands_it_is_in",
    ),
    Mutant(
        "what a dead node had in hand is nobody's",
        (Edit("src/headgate/stores/postgres_queue.py", '        await self._all("put_down_of_dead", node)\n', ""),),
        f"{IN_HAND}::test_what_a_node_had_in_hand_is_overdue_when_it_was_silent_for_a_lease",
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
                "if not await self._queue.renew(activity_id) or over:",
                "if (not await self._queue.renew(activity_id) and not activity_id) or over:",
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
        "tests/engine/test_texts_cut_off.py::"
        "test_the_end_of_another_text_of_the_attempt_is_not_the_end_of_the_one_that_is_read",
    ),
)
