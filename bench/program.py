"""The programs: which repetitions each benchmark is made of, and what is made of their figures.

Each repetition runs in a fresh process on a fresh database, and what it wrote is audited by another fresh process
before its figures count. Where there is a bare baseline, the two alternate, and the ratio is the median of the pairs'.
"""

from __future__ import annotations

import compileall
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.figures import median, rounded
from bench.first_run import DEFINITION
from bench.http import measure_http
from bench.others.peers import measure_peers
from bench.policies import measure_policies
from bench.postgres import measure_postgres
from bench.providers import measure_providers
from bench.repetition import Repetition
from bench.shapes import Shape
from bench.soak import measure_soak
from bench.worker import measure_worker

__all__ = ["PROGRAMS", "AuditFailed", "Settings"]

ROOT = Path(__file__).parent.parent
PROCESS_SECONDS_MAX = 600


class AuditFailed(Exception):
    """A repetition left a database that is not as it must be; its figures are worth nothing."""


class Settings(msgspec.Struct, frozen=True):
    """How thoroughly to measure. `quick` keeps every audit and makes the loads small: a smoke test, no measurement."""

    folder: Path
    repetitions: int = 5
    seconds_min: float = 3.0
    quick: bool = False
    minutes: float = 20.0
    """How long to soak."""


# --- Processes -------------------------------------------------------------------------------------------------------


def run_fresh(*arguments: str) -> dict[str, Any]:
    """Run `python -m …` in the repository's root; return the JSON that it printed."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PROCESS_SECONDS_MAX, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{arguments[0]} ended with status {done.returncode}:\n{done.stderr[-4_000:]}")
    return json.loads(done.stdout)


@contextmanager
def fresh_database(settings: Settings) -> Generator[Path, None, None]:
    folder = Path(tempfile.mkdtemp(dir=settings.folder, prefix="database-"))
    try:
        yield folder / "bench.db"
    finally:
        shutil.rmtree(folder)


def audit(path: Path | str, figures: dict[str, Any]) -> None:
    """Have a fresh process audit the database, and put its counts into the figures. Raises `AuditFailed`."""
    found = run_fresh("bench.audit", str(path), json.dumps(figures["evidence"]))
    if found["faults"]:
        raise AuditFailed("\n".join([f"{found['fault_count']} faults in what was measured:", *found["faults"]]))
    figures["audited"] = {"runs": found["runs"], "events": found["events"]}


def repeat(settings: Settings, **asked: Any) -> dict[str, Any]:
    """Return the figures of one audited repetition."""
    with fresh_database(settings) as path:
        repetition = Repetition(path=str(path), seconds_min=settings.seconds_min, **asked)
        figures = run_fresh("bench.repetition", msgspec.json.encode(repetition).decode())
        audit(path, figures)
        return figures


def medians(repetitions: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of every figure over the repetitions, each kind of figure by itself."""
    first = repetitions[0]
    names = [name for name, value in first.items() if isinstance(value, int | float)]
    result: dict[str, Any] = {name: median([each[name] for each in repetitions]) for name in names}
    if "latency" in first:
        result |= {key: median([each["latency"][key] for each in repetitions]) for key in first["latency"]}
    if "evidence" in first and "memory_peak_mb" in first["evidence"]:
        result["memory_peak_mb"] = median([each["evidence"]["memory_peak_mb"] for each in repetitions])
    return result


# --- Loads with a baseline -------------------------------------------------------------------------------------------


def against_bare(settings: Settings, load: str) -> dict[str, Any]:
    """Measure a load and the bare baseline in turns, who goes first changing from pair to pair."""
    with fresh_database(settings) as path:
        asked = Repetition(kind="shape", path=str(path), load=load)
        shape = run_fresh("bench.repetition", msgspec.json.encode(asked).decode())
    pairs: list[dict[str, dict[str, Any]]] = []
    for number in range(settings.repetitions):
        pair: dict[str, dict[str, Any]] = {}
        for kind in ("bare", "ours") if number % 2 == 0 else ("ours", "bare"):
            more: dict[str, Any] = {"shape": msgspec.convert(shape, Shape)} if kind == "bare" else {}
            pair[kind] = repeat(settings, kind=kind, load=load, **more)
        pairs.append(pair)
    ratios = [pair["ours"]["runs_per_second"] / pair["bare"]["runs_per_second"] for pair in pairs]
    return {
        "ours": medians([pair["ours"] for pair in pairs]),
        "bare": medians([pair["bare"] for pair in pairs]),
        "ratio": median(ratios),
        "ratios": [rounded(ratio) for ratio in ratios],
        "processor_ratio": median(
            [pair["ours"]["processor_us_per_run"] / pair["bare"]["processor_us_per_run"] for pair in pairs]
        ),
        "rows_per_append": [len(append) for append in shape["appends"]],
        "repetitions": pairs,
    }


def loaded(settings: Settings, load: str) -> dict[str, Any]:
    """Measure a load that has no baseline."""
    repetitions = [repeat(settings, kind="ours", load=load) for _ in range(settings.repetitions)]
    return {"ours": medians(repetitions), "repetitions": repetitions}


# --- The others ------------------------------------------------------------------------------------------------------


def overhead(settings: Settings) -> dict[str, Any]:
    """Measure one run alone, of 100 and of 10,000 activities: what an activity costs, and whether it grows."""
    loads = {"short": "overhead_100", "long": "overhead_1000" if settings.quick else "overhead_10000"}
    repetitions = [
        {name: repeat(settings, kind="ours", load=load) for name, load in loads.items()}
        for _ in range(settings.repetitions)
    ]
    ratios = [each["long"]["ms_per_activity"] / each["short"]["ms_per_activity"] for each in repetitions]
    return {name: medians([each[name] for each in repetitions]) for name in loads} | {
        "ratio": median(ratios),
        "repetitions": repetitions,
    }


def events(settings: Settings) -> dict[str, Any]:
    repetitions = [repeat(settings, kind="events") for _ in range(settings.repetitions)]
    return {"ours": medians(repetitions), "repetitions": repetitions}


def fanin(settings: Settings) -> dict[str, Any]:
    return {name: loaded(settings, f"fanin_{name}") for name in ("parallel", "for_each")}


def growth(settings: Settings) -> dict[str, Any]:
    lengths = (10, 100) if settings.quick else (10, 1_000, 10_000)
    by_length = {
        length: [_grow(settings, length, lengths[-1]) for _ in range(settings.repetitions)] for length in lengths
    }
    result: dict[str, Any] = {str(length): medians(found) for length, found in by_length.items()}
    sizes = [result[str(length)]["bytes_per_event"] for length in lengths]
    return result | {"spread": rounded(max(sizes) / min(sizes)), "repetitions": by_length}


def _grow(settings: Settings, length: int, activities: int) -> dict[str, Any]:
    with fresh_database(settings) as path:
        asked = Repetition(kind="size", path=str(path), length=length, activities=activities)
        figures = run_fresh("bench.repetition", msgspec.json.encode(asked).decode())
        asked = Repetition(kind="resume", path=str(path), run_id=figures["waiting_run"])
        figures |= run_fresh("bench.repetition", msgspec.json.encode(asked).decode())
        audit(path, figures)
        return figures


def footprint(settings: Settings) -> dict[str, Any]:
    """Measure what a newcomer feels: import, the first finished run, memory at rest. Medians over fresh processes."""
    # As pip does where it installs: where nothing may be kept, each process would compile everything, for 0.3 s.
    compileall.compile_dir(ROOT / "src", quiet=1)
    repetitions = [_step_in(settings) for _ in range(max(3, settings.repetitions))]
    return {"ours": medians(repetitions), "repetitions": repetitions}


def _step_in(settings: Settings) -> dict[str, Any]:
    figures = {
        "import_ms": _import_ms("headgate"),
        "import_app_ms": _import_ms("headgate.app"),
    }
    with fresh_database(settings) as path:
        begin = time.monotonic()
        found = run_fresh("bench.first_run", str(path))
        if found["status"] != "completed":
            raise AuditFailed(f"the first run is {found['status']}")
        figures["first_run_seconds"] = rounded(found["finished_at"] - begin)
        figures |= {name: rounded(found[name]) for name in ("first_run_rss_mb", "idle_rss_mb")}
        if importlib.util.find_spec("headgate.cli.run_verb") is not None:
            figures |= _command_line(path.parent)
    with fresh_database(settings) as path:
        figures |= {name: rounded(value) for name, value in run_fresh("bench.idle_server", str(path.parent)).items()}
    return figures


def streams(settings: Settings) -> dict[str, Any]:
    """Measure tokens on their way to a reader: alone, and among a thousand texts. Each repetition compares the bytes
    that were said, those that arrived, and those in the log."""
    repetitions: list[dict[str, Any]] = []
    for _ in range(settings.repetitions):
        with fresh_database(settings) as path:
            length = 50 if settings.quick else 1_000
            asked = Repetition(kind="streams", path=str(path), length=length, seconds_min=settings.seconds_min)
            repetitions.append(run_fresh("bench.repetition", msgspec.json.encode(asked).decode()))
    series = {name: medians([each[name] for each in repetitions]) for name in repetitions[0]}
    return series | {"repetitions": repetitions}


def ws(settings: Settings) -> dict[str, Any]:
    """Measure WebSockets: held, told the same, told texts. Each repetition checks that every byte came, in order."""
    connections, hold = ("200", "no") if settings.quick else ("10000", "hold")
    repetitions: list[dict[str, Any]] = []
    for _ in range(settings.repetitions):
        with fresh_database(settings) as path:
            repetitions.append(run_fresh("bench.ws", str(path), connections, str(settings.seconds_min), hold))
    return {"ours": medians(repetitions), "repetitions": repetitions}


def _import_ms(module: str) -> float:
    code = f"import time; begin = time.perf_counter(); import {module}; print((time.perf_counter() - begin) * 1_000)"
    return rounded(float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout))


def _command_line(folder: Path) -> dict[str, float]:
    """Return how long `headgate run` takes, from the start of its process to its end, in an empty folder."""
    (folder / "first.yaml").write_text(DEFINITION)
    command = [sys.executable, "-m", "headgate", "run", "first.yaml", "--input", "name=world"]
    begin = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise AuditFailed(f"`headgate run` ended with status {done.returncode}:\n{done.stderr[-2_000:]}")
    return {"command_seconds": rounded(time.monotonic() - begin)}


def gate(settings: Settings) -> dict[str, Any]:
    """Measure what the gate costs a model call, beside the same call through the adapter alone."""
    repetitions: list[dict[str, Any]] = []
    for _ in range(settings.repetitions):
        with fresh_database(settings) as path:
            found = run_fresh("bench.gate", "100" if settings.quick else "2000", str(path))
        if found["faults"]:
            raise AuditFailed("\n".join(found["faults"]))
        repetitions.append(found)
    return {"ours": medians(repetitions), "repetitions": repetitions}


def postgres(settings: Settings) -> dict[str, Any]:
    """Measure what only PostgreSQL does: two lanes, rows of tasks, two nodes; on this disk and on a slower one."""
    return measure_postgres(settings.folder, seconds_min=settings.seconds_min, repetitions=settings.repetitions)


def without_shim(settings: Settings) -> dict[str, Any]:
    """Measure what counting the syncs costs: seq5 with and without the shim, in turns. Not a figure of Headgate's."""
    pairs = [
        {counted: repeat(settings, kind="ours", load="seq5", counted=counted) for counted in (True, False)}
        for _ in range(settings.repetitions)
    ]
    ratios = [pair[True]["runs_per_second"] / pair[False]["runs_per_second"] for pair in pairs]
    return {"ratio": median(ratios), "ratios": [rounded(ratio) for ratio in ratios]}


PROGRAMS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "seq5": lambda settings: against_bare(settings, "seq5"),
    "par10": lambda settings: against_bare(settings, "par10"),
    "hc3": lambda settings: against_bare(settings, "hc3"),
    "wide": lambda settings: against_bare(settings, "wide"),
    "overhead": overhead,
    "events": events,
    "growth": growth,
    "fanin": fanin,
    "footprint": footprint,
    "gate": gate,
    "streams": streams,
    "http": lambda settings: measure_http(
        lambda: fresh_database(settings),
        audit,
        repetitions=settings.repetitions,
        seconds=settings.seconds_min,
        quick=settings.quick,
    ),
    "ws": ws,
    "policies": lambda settings: {"ours": measure_policies(quick=settings.quick)},
    "shim": without_shim,
    "postgres": postgres,
    "peers": lambda settings: measure_peers(
        settings.folder,
        lambda load: repeat(settings, kind="ours", load=load),
        repetitions=settings.repetitions,
        seconds=settings.seconds_min,
        quick=settings.quick,
    ),
    "soak": lambda settings: measure_soak(settings.folder, audit, minutes=settings.minutes, quick=settings.quick),
    "worker": lambda settings: measure_worker(
        settings.folder,
        lambda: fresh_database(settings),
        audit,
        repetitions=settings.repetitions,
        seconds=settings.seconds_min,
    ),
    "providers": lambda settings: measure_providers(run_fresh, repetitions=settings.repetitions, quick=settings.quick),
}
