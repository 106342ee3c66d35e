"""The worker's process of `bench worker`: `python -m bench.http_worker PORT` works for the server until its stdin ends.

It says `ready`, and at the end prints when it was given each task (CLOCK_MONOTONIC, which all processes of a machine
share) and how much memory it had at the peak.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

from bench.figures import rounded
from bench.workflows import nap
from headgate.activities.echo import echo
from headgate.client.http_line import HttpLine
from headgate.client.http_worker import HttpProtocol
from headgate.core.values import Assignment
from headgate.engine.worker import Worker
from headgate.process import run_serving, tune_process

__all__ = ["SLOTS", "WORKER_ID"]

WORKER_ID = "outside"
SLOTS = 100


class Noting(HttpProtocol):
    """The protocol, with the time at which each task was in the worker's hands."""

    def __init__(self, line: HttpLine, **rest: Any) -> None:
        super().__init__(line, **rest)
        self.given: dict[str, int] = {}

    async def poll(self, queues: Sequence[str], **rest: Any) -> list[Assignment]:
        tasks = await super().poll(queues, **rest)
        now = time.monotonic_ns()
        self.given.update({f"{task.workflow_id} {task.place} {task.attempt}": now for task in tasks})
        return tasks


async def work(port: int) -> None:
    builtins, activities = {"echo": echo}, {"nap": nap}
    protocol = Noting(HttpLine(f"http://127.0.0.1:{port}"), activities=[*builtins, *activities])
    worker = Worker(protocol, builtins=builtins, activities=activities, worker_id=WORKER_ID, slots=SLOTS)
    tune_process()
    working = asyncio.get_running_loop().create_task(worker.run())
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    drained = await worker.drain(10)
    await worker.close()
    await protocol.close()
    if not drained:
        raise RuntimeError("work was under way at the end, though every run had finished")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    print(json.dumps({"given": protocol.given, "memory_peak_mb": rounded(peak)}))


if __name__ == "__main__":
    run_serving(work(int(sys.argv[1])))
