"""Five million rows pass between two scripts of a real engine, which sees none of them. Run as a program, this file is
that engine."""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROWS = 5_000_000
FLOW = """
name: large
activities:
  make:
    use: script
    with:
      script: |
        import resource
        import numpy as np, pandas as pd
        rng = np.random.default_rng(1)
        ids = np.arange(5_000_000, dtype="int32")
        groups = rng.integers(0, 50, len(ids), dtype="int8")
        frame = pd.DataFrame({"id": ids, "group": groups, "x": rng.random(len(ids), dtype="float32")})
        OUTPUT = {"frame": frame, "kilobytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
  sum:
    use: script
    after: [make]
    with:
      script: |
        import resource
        frame = INPUT["frame"]
        groups = frame.groupby("group")["id"].sum()
        OUTPUT = {"rows": len(frame), "groups": len(groups), "total": int(groups.sum()),
                  "kilobytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
outputs:
  made: "{{ make.kilobytes }}"
  sum: "{{ sum.result }}"
"""


def test_five_million_rows_pass_by_the_engine_and_not_through_it(tmp_path: Path):
    from tests.activities.libraries import need  # here, for the engine that this file is has no tests beside it

    need("pandas", "pyarrow")

    done = subprocess.run(
        [sys.executable, __file__, tmp_path], capture_output=True, text=True, timeout=200, check=False
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["status"] == "completed"
    total = told["outputs"]["sum"]
    assert (total["rows"], total["groups"], total["total"]) == (ROWS, 50, ROWS * (ROWS - 1) // 2)
    assert told["engine_megabytes"] < 200
    assert max(told["outputs"]["made"], total["kilobytes"]) < 1_500_000
    [file] = (tmp_path / "frames").rglob("*.parquet")
    assert file.stat().st_size > 10_000_000
    assert 0 < bytes_of_events(tmp_path / "runs.db") < 10_000


def bytes_of_events(database: Path) -> int:
    """All that the log holds of runs, wherever it holds it."""
    with sqlite3.connect(database) as connection:
        columns = "sum(length(data)) + coalesce(sum(length(content)), 0)"
        [(events,)] = connection.execute(f"select {columns} from events")
        [(blobs,)] = connection.execute("select coalesce(sum(length(data)), 0) from blobs")
    connection.close()
    return events + blobs


async def main(folder: Path) -> None:
    from headgate.app import App
    from headgate.ports import StartRequest
    from headgate.stores.sqlite import SqliteLog

    async with App(SqliteLog(folder / "runs.db"), environment={}, folder=folder) as app:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await app.desk.start(StartRequest(definition=FLOW, input={}))
        await app.desk.settled()
        view = await app.desk.show("-")
        used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(json.dumps({"status": view.status, "outputs": view.outputs, "engine_megabytes": used}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
