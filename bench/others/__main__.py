"""`python -m bench.others --python OTHER [SHAPE…]`: other products and ours in turns, a table, and all figures as JSON.

OTHER is the interpreter of a virtual environment that holds `bench/others/requirements.txt`. Each repetition is a fresh
process on a fresh database; ours is audited as in `python -m bench`. Figures are medians; a ratio is the median of the
ratios within each round, for what else the machine does changes from round to round.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.figures import median, rounded
from bench.machine import describe_machine
from bench.others.postgres import postgres_server
from bench.program import Settings, repeat

__all__ = ["main"]

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
PROCESS_SECONDS_MAX = 300
SHAPES = ("seq5", "hc3", "overhead_100")
FIGURES = ("runs_per_second", "p50_ms", "processor_us_per_run", "memory_peak_mb")


def main(arguments: list[str]) -> int:
    given = _parser().parse_args(arguments)
    settings = Settings(folder=RESULTS, repetitions=given.repetitions, seconds_min=given.seconds)
    RESULTS.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "repetitions": settings.repetitions,
        "seconds_min": settings.seconds_min,
        "machine": describe_machine(RESULTS),
        "shapes": {},
    }
    products = _products(given.python, settings)
    for shape in given.shapes or SHAPES:
        result["shapes"][shape] = figures = _in_turns(products, shape, settings.repetitions)
        print(_table(shape, figures), file=sys.stderr, flush=True)
    (RESULTS / f"others-{result['at'].replace(':', '')}.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.others", description=__doc__)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", choices=[*SHAPES, []], help=", ".join(SHAPES))
    parser.add_argument("--python", required=True, help="the interpreter that has bench/others/requirements.txt")
    parser.add_argument("--repetitions", type=int, default=3, help="rounds; each measures every product once (3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="the least that a repetition lasts (3)")
    return parser


# --- Products --------------------------------------------------------------------------------------------------------

Measured = Callable[[str], dict[str, Any]]
"""One repetition of a shape; nothing where it cannot be measured here."""


def _products(python: str, settings: Settings) -> dict[str, Measured]:
    def other(program: str, *options: str) -> Measured:
        return lambda shape: _other(python, settings, shape, program, *options)

    return {
        "Headgate": lambda shape: _ours(settings, shape),
        "LangGraph, blocking": other("langgraph_sqlite.py", "blocking"),
        "LangGraph, asynchronous": other("langgraph_sqlite.py", "asynchronous"),
        "DBOS, SQLite as it is": other("dbos_program.py"),
        "DBOS, SQLite in WAL mode": other("dbos_program.py", "--wal"),
        "DBOS, PostgreSQL": lambda shape: _on_postgres(python, settings, shape),
    }


def _ours(settings: Settings, shape: str) -> dict[str, Any]:
    figures = repeat(settings, kind="ours", load=shape)
    evidence = figures["evidence"]
    return {
        "runs": figures["runs"],
        "seconds": figures["seconds"],
        "runs_per_second": figures["runs_per_second"],
        "p50_ms": figures["latency"]["p50_ms"],
        "processor_us_per_run": figures["processor_us_per_run"],
        "memory_peak_mb": evidence["memory_peak_mb"],
        "settings": {name: evidence[name] for name in ("journal_mode", "synchronous")},
    }


def _on_postgres(python: str, settings: Settings, shape: str) -> dict[str, Any]:
    with postgres_server(settings.folder) as url:
        return _other(python, settings, shape, "dbos_program.py", url) if url else {}


def _other(python: str, settings: Settings, shape: str, program: str, *options: str) -> dict[str, Any]:
    folder = tempfile.mkdtemp(dir=settings.folder, prefix="database-")
    command = [python, str(HERE / program), shape, folder, str(settings.seconds_min), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_SECONDS_MAX, check=False)
    finally:
        shutil.rmtree(folder)
    if done.returncode != 0:
        raise RuntimeError(f"{program} ended with status {done.returncode}:\n{done.stderr[-4_000:]}")
    return json.loads(done.stdout.splitlines()[-1])


# --- Figures ---------------------------------------------------------------------------------------------------------


def _in_turns(products: dict[str, Measured], shape: str, repetitions: int) -> dict[str, Any]:
    """Measure every product once in each round, every other round backwards."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in products}
    for number in range(repetitions):
        for name in list(products)[:: 1 if number % 2 == 0 else -1]:
            if figures := products[name](shape):
                found[name].append(figures)
    ours = [figures["runs_per_second"] for figures in found["Headgate"]]
    return {name: _summary(figures, ours) for name, figures in found.items() if figures}


def _summary(repetitions: list[dict[str, Any]], ours: list[float]) -> dict[str, Any]:
    ratios = [mine / each["runs_per_second"] for mine, each in zip(ours, repetitions, strict=True)]
    return {
        **{figure: median([each[figure] for each in repetitions]) for figure in FIGURES},
        "ours_to_this": median(ratios),
        "ratios": [rounded(ratio) for ratio in ratios],
        "settings": repetitions[0]["settings"],
        "versions": repetitions[0].get("versions", {}),
        "repetitions": repetitions,
    }


def _table(shape: str, figures: dict[str, Any]) -> str:
    lines = [f"{shape:26} runs/s   p50 ms  cpu us/run  peak MB  ours/this  settings"]
    for name, each in figures.items():
        numbers = f"{each['runs_per_second']:>6,.0f}  {each['p50_ms']:>7,.1f}  {each['processor_us_per_run']:>10,.0f}"
        rest = f"{each['memory_peak_mb']:>7,.0f}  {each['ours_to_this']:>9,.1f}  {each['settings']} {each['versions']}"
        lines.append(f"{name:26} {numbers}  {rest}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
