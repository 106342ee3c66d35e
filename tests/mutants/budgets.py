"""No call goes beyond a budget; who waits for room gets it in turn."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.shared import ADMISSION, GOLDEN, MATRIX, QUERIES

TIGHT = f"{MATRIX}::test_a_tight_budget_lets_some_calls_wait_and_none_go_beyond_it"
MONEY = "tests/conformance/test_log_money.py"
APPENDER = "src/headgate/engine/appender.py"
SHARED = "src/headgate/engine/shared_budgets.py"
LEDGER = "src/headgate/engine/ledger.py"
FOLD_CALLS = "src/headgate/core/fold_calls.py"
ASKING_ABOVE = "tests/engine/shared_budgets/test_asking.py"
EXACT = "tests/engine/shared_budgets/test_exact.py"
LINES = "tests/engine/shared_budgets/test_lines.py"
SCOPES = "tests/engine/shared_budgets/test_scopes.py"
ASKING = "tests/core/test_asking.py"

MUTANTS = (
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
        "a budget begins beside other appends",
        (Edit(APPENDER, "self._alone = True", "self._alone = False"),),
        "tests/engine/test_appender.py",
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
        f"{EXACT}::test_a_call_that_was_admitted_before_midnight_settles_on_its_own_day",
    ),
    Mutant(
        "what had reserved is booked once more",
        (Edit(SHARED, "if rule.id not in had and concerns_model", "if concerns_model"),),
        f"{SCOPES}::test_what_a_call_costs_is_booked_in_every_budget_that_concerns_it",
    ),
    Mutant(
        "what was admitted before its rule is not booked",
        (Edit(SHARED, "        if spend and self._rules:\n", "        if False:\n"),),
        f"{EXACT}::test_a_rule_that_is_set_while_calls_are_under_way_counts_each_of_them_once",
    ),
    Mutant(
        "a new rule forgets what the period has cost",
        (Edit("src/headgate/stores/memory.py", "        if move.opening is not None:\n", "        if False:\n"),),
        f"{EXACT}::test_a_rule_that_is_set_while_calls_are_under_way_counts_each_of_them_once[memory]",
    ),
    Mutant(
        "a new rule forgets what the period has cost, on disk",
        (Edit("src/headgate/stores/budgets.sql", "select coalesce(sum(cost), 0) from spend", "select 0 from spend"),),
        f"{EXACT}::test_a_rule_that_is_set_while_calls_are_under_way_counts_each_of_them_once[sqlite]",
    ),
    Mutant(
        "room in a shared budget is not passed on",
        (Edit(LEDGER, "        if first is not None:\n", "        if False:\n"),),
        f"{LINES}::test_a_call_of_another_run_is_woken_in_its_turn",
    ),
    Mutant(
        "who comes last to a shared budget overtakes",
        (
            Edit(
                "src/headgate/core/ruling.py",
                "    return next((level for level in kept if level.before), None)\n",
                "    return None\n",
            ),
        ),
        f"{LINES}::test_a_call_of_another_run_is_woken_in_its_turn",
    ),
    Mutant(
        "who waits in one line goes to the end of the next",
        (Edit(SHARED, "        new = isinstance(command, c.AdmitCall)\n", "        new = True\n"),),
        "tests/simulation/test_shared_budgets_in_a_world.py",
    ),
    Mutant(
        "nobody looks when a day is over",
        (Edit(LEDGER, "            self._look_again(ended.__contains__)\n", ""),),
        f"{EXACT}::test_who_waits_goes_on_when_the_next_day_begins",
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
        f"{ASKING_ABOVE}::test_the_budget_of_a_tree_is_raised_with_that_of_its_run_also_for_a_child_that_asks",
    ),
    Mutant(
        "an attempt that waits keeps its slot",
        (Edit("src/headgate/engine/task_context.py", "            left.extend(self._slots)\n", ""),),
        "tests/engine/test_worker_reports.py::test_an_attempt_that_waits_for_a_person_keeps_no_slot_from_those_that_work",
    ),
)
