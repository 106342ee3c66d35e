"""A run is started once, goes on as its definition says, and of each attempt at most one end counts."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.shared import LANE, MATRIX, NO_FENCE

AGAIN = f"{MATRIX}::test_a_second_process_that_starts_the_same_run_finds_it_and_repeats_nothing"
FAILURES = "tests/core/test_failures.py"
ATTEMPTS_OF = "tests/core/test_attempts.py"

MUTANTS = (
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
        "no fencing: a stale attempt is accepted",
        (NO_FENCE,),
        f"{ATTEMPTS_OF}::test_a_lost_attempt_gets_a_new_number_and_does_not_count_as_a_failure",
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
        f"{FAILURES}::test_a_chain_behind_a_failed_activity_is_skipped_at_once",
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
)
