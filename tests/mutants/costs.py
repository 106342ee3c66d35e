"""What a call cost counts once, in every run above it, however late it is known."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.shared import ACKNOWLEDGED, ADMISSION, KILLED

LATE = "tests/engine/test_late_costs.py"
DECIDER = "src/headgate/core/decide.py"

MUTANTS = (
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
)
