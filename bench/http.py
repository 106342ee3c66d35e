"""`bench http`: a server in a process of its own, a client in another, on one machine.

What was acknowledged is looked for by a fresh process: after the loads that only start runs, the server is killed with
SIGKILL first. Memory is the sum of the peaks of both processes.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.figures import median, rounded
from bench.http_client import HttpLoad
from bench.http_server import ServerOrder
from bench.workflows import PARKED

__all__ = ["Site", "ask_client", "measure_http", "serving"]

ROOT = Path(__file__).parent.parent
SECONDS_MAX = 600
STATUS_RUNS, STATUS_RUNS_QUICK = 100_000, 300


class Site(msgspec.Struct):
    """A server's process, and where it keeps what."""

    process: subprocess.Popen[str]
    port: int

    def end(self, runs: dict[str, int]) -> dict[str, Any]:
        """End it; return what the audit needs. `runs`: how many of each load were made."""
        evidence, _ = self.process.communicate(json.dumps(runs) + "\n", timeout=60)
        return json.loads(evidence)

    def peak_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1_024


def measure_http(
    fresh: Callable[[], Any],
    audit: Callable[[Path, dict[str, Any]], None],
    *,
    repetitions: int,
    seconds: float,
    quick: bool,
) -> dict[str, Any]:
    """Return the figures of each load. `fresh` gives a database's path, `audit` raises for one that is not right."""
    many = STATUS_RUNS_QUICK if quick else STATUS_RUNS
    small, large = (8, 32) if quick else (64, 675)
    loads = {
        "status_hot": HttpLoad(kind="status", connections=small),
        "status_many": HttpLoad(kind="status", connections=small, runs=many, load="hc3"),
        "start_small": HttpLoad(kind="start", connections=small),
        "start_large": HttpLoad(kind="start", connections=large),
        "seq5": HttpLoad(kind="wait", connections=10, load="seq5"),
        "par10": HttpLoad(kind="wait", connections=10, load="par10"),
        "hc3": HttpLoad(kind="wait", connections=min(100, large), load="hc3"),
        "poll_seq5": HttpLoad(kind="poll", connections=10, load="seq5"),
        "poll_hc3": HttpLoad(kind="poll", connections=min(100, large), load="hc3"),
    }
    result: dict[str, Any] = {}
    for name, load in loads.items():
        load.seconds_min = seconds
        found = [_one(fresh, audit, load) for _ in range(repetitions)]
        result[name] = {key: median([each[key] for each in found]) for key in _numbers(found[0])} | {
            key: median([each["latency"][key] for each in found]) for key in found[0]["latency"]
        }
    return result


def _numbers(figures: dict[str, Any]) -> list[str]:
    return [name for name, value in figures.items() if isinstance(value, int | float)]


def _one(fresh: Callable[[], Any], audit: Callable[[Path, dict[str, Any]], None], load: HttpLoad) -> dict[str, Any]:
    with fresh() as path, serving(ServerOrder(database=str(path))) as site:
        figures = ask_client(site, load)
        figures["memory_peak_mb"] = rounded(site.peak_mb() + figures.pop("client_mb"))
        ids = figures.pop("ids")
        if load.kind == "start":
            site.process.send_signal(signal.SIGKILL)
            site.process.wait()
            _expect_kept(path, ids)
        else:
            figures["evidence"] = site.end({load.load: figures["runs_made"]})
            audit(path, figures)
        return figures


def ask_client(site: Site, load: HttpLoad) -> dict[str, Any]:
    """Have a client in a process of its own put the load on the server; return its figures."""
    load.port, load.server = site.port, site.process.pid
    command = [sys.executable, "-m", "bench.http_client", msgspec.json.encode(load).decode()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the client ended with status {done.returncode}:\n{done.stderr[-4_000:]}")
    return json.loads(done.stdout)


@contextmanager
def serving(order: ServerOrder) -> Generator[Site]:
    command = [sys.executable, "-m", "bench.http_server", msgspec.json.encode(order).decode()]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Site(process, int(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()


def _expect_kept(path: Path, ids: list[str]) -> None:
    """Have a fresh process read the database after the kill, and find every start that was acknowledged."""
    code = "import json, sys; from bench.http import kept; print(json.dumps(kept(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=True)
    missing = set(ids) - set(json.loads(done.stdout))
    if missing or len(set(ids)) != len(ids):
        raise RuntimeError(f"{len(missing)} of {len(ids)} acknowledged starts are not in the database")


def kept(path: str) -> list[str]:
    """Return the ids of the runs of `PARKED` that are whole in the database."""
    import asyncio

    from headgate.engine.audit import verify
    from headgate.stores.sqlite import SqliteLog

    async def read() -> list[str]:
        log = SqliteLog(Path(path))
        faults, found, before = await verify(log), [], None
        if faults:
            raise RuntimeError(f"the log is not as it was written: {faults[:5]}")
        while page := await log.runs(limit=10_000, before=before):
            found += [row.id for row in page if row.workflow == PARKED.definition.name and row.head.tasks == 1]
            before = page[-1].key
        await log.close()
        return found

    return asyncio.run(read())
