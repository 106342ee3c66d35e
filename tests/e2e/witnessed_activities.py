"""Activities of workers in processes of their own that write down what is done: `headgate worker --activities` loads it.

`WITNESS_JOURNAL` names the journal, which all workers share. Where `WITNESS_GATE` names a file, an activity goes on
when it is there; else it takes a moment, so that some are under way whenever their process is killed.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import headgate
from headgate.engine.worker import current_task
from headgate.testing.crashes import Journal

NAP_SECONDS_MAX = 0.2
GATE_LOOK_SECONDS = 0.02

journal = Journal(Path(os.environ["WITNESS_JOURNAL"]))
gate = os.environ.get("WITNESS_GATE", "")


@headgate.activity
def note(n: int) -> dict[str, str]:
    """Return the id of the claim under which it was done."""
    task = current_task.get()
    assert task is not None
    journal.write(
        "executed",
        run=task.workflow_id,
        place=task.place,
        attempt=task.attempt,
        activity_id=task.activity_id,
        process=os.getpid(),
    )
    while gate and not Path(gate).exists():
        time.sleep(GATE_LOOK_SECONDS)
    if not gate:
        time.sleep(random.uniform(0, NAP_SECONDS_MAX))
    return {"by": task.activity_id}
