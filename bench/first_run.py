"""A newcomer's first seconds: open a database, run one workflow from its text, stay idle.

`python -m bench.first_run DATABASE` prints, as JSON, the monotonic time at which the run had finished and
the resident memory then and when idle. It imports nothing of the other benchmarks, whose weight is not Headgate's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from headgate.app import App
from headgate.ports import StartRequest
from headgate.stores.sqlite import SqliteLog

__all__ = ["resident_mb"]

IDLE_SECONDS = 0.3
DEFINITION = """
name: first
inputs: {name: {type: string}}
activities:
  greet: {use: echo, with: {text: "Hello {{ INPUT.name }}"}}
  again: {use: echo, with: {text: "{{ greet.text }}, again"}}
"""


async def first_run(path: Path) -> dict[str, Any]:
    async with App(SqliteLog(path), environment={}) as app:
        started = await app.desk.start(StartRequest(definition=DEFINITION, input={"name": "world"}))
        row = await app.engine.finished(started.id)
        finished_at = time.monotonic()
        memory = resident_mb()
        await asyncio.sleep(IDLE_SECONDS)
        return {
            "status": row.head.status,
            "finished_at": finished_at,
            "first_run_rss_mb": memory,
            "idle_rss_mb": resident_mb(),
        }


def resident_mb(pid: int | str = "self") -> float:
    """Return the resident memory of a process, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1_024 for line in status.splitlines() if line.startswith("VmRSS"))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(first_run(Path(sys.argv[1])))))
