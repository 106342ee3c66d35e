"""Activities that write down what is done, for workers in processes of their own: `--activities` loads this file.

`WITNESS_JOURNAL` names the journal, which all workers share. Where `WITNESS_GATE` names a file, an activity goes on
when it is there; else it takes a moment, at most `WITNESS_NAP_SECONDS`.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import headgate
from headgate.engine.worker import current_task
from headgate.testing.crashes import Journal

GATE_LOOK_SECONDS = 0.02

journal = Journal(Path(os.environ["WITNESS_JOURNAL"]))
gate = os.environ.get("WITNESS_GATE", "")
nap_seconds = float(os.environ["WITNESS_NAP_SECONDS"])


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
        time.sleep(random.uniform(0, nap_seconds))
    return {"by": task.activity_id}
