"""Files, tests and edits that faults of several kinds name."""

from __future__ import annotations

from tests.mutants.mutant import Edit

MATRIX = "tests/e2e/test_kill_matrix.py"
GOLDEN = f"{MATRIX}::test_without_a_kill_the_ledger_equals_the_providers_log_call_by_call"
KILLED = f"{MATRIX}::test_killed_at_each_boundary_the_run_finishes_as_if_nothing_had_happened"
ACKNOWLEDGED = "tests/e2e/test_acknowledged.py"
QUERIES = "src/headgate/stores/sqlite.sql"
LANE = "src/headgate/engine/lane.py"
ATTEMPTS = "src/headgate/core/attempts.py"
ADMISSION = "src/headgate/core/admission.py"

NO_FENCE = Edit(
    ATTEMPTS,
    "    if place is not None and place.attempt == attempt:\n        if path in run.tasks:\n",
    "    if place is not None:\n        if path in run.tasks:\n",
)
