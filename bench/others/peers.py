"""`bench peers`: ours beside DBOS, LangGraph, Restate and Absurd, in turns, on one machine, as durable as each can be.

Each repetition is a fresh process on a fresh database, and a second fresh process reads back what is kept of it; ours
is audited as ever. Figures are medians; a ratio is the median of the ratios within each round, for what else the
machine does changes from round to round.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apsw

from bench.figures import median, rounded
from bench.others.install import Installed, install
from bench.others.timing import SHAPES
from bench.postgres import measured_alone, server

__all__ = ["measure_peers", "table_of_peers"]

HERE = Path(__file__).parent
PROCESS_SECONDS_MAX = 300
FIGURES = ("runs_per_second", "p50_ms", "processor_us_per_run", "memory_peak_mb")
OURS = "Headgate, SQLite"

Measured = Callable[[str], dict[str, Any]]
"""One repetition of a shape."""


def measure_peers(
    folder: Path, ours: Measured, *, repetitions: int, seconds: float, quick: bool
) -> dict[str, dict[str, Any]]:
    """Return, of each shape, every product's figures; and what could not be installed, and why.

    `ours` is one audited repetition on SQLite. Quick: two shapes.
    """
    place = Path(tempfile.mkdtemp(dir=folder, prefix="peers-"))
    try:
        installed = install(place)
        products = _Products(installed, folder, seconds, ours).all()
        shapes = ("seq5", "par10") if quick else tuple(SHAPES)
        return {shape: _in_turns(products, shape, repetitions) for shape in shapes} | {
            "not_installed": installed.missing
        }
    finally:
        shutil.rmtree(place)


class _Products:
    def __init__(self, installed: Installed, folder: Path, seconds: float, ours: Measured) -> None:
        self._installed = installed
        self._folder = folder
        self._seconds = seconds
        self._ours = ours

    def all(self) -> dict[str, Measured]:
        every: dict[str, Measured] = {OURS: self._ours_on_sqlite, "Headgate, PostgreSQL": self._ours_on_postgres}
        restate = self._installed.restate_server
        for product, name, program, options, postgres in (
            ("DBOS", "DBOS, PostgreSQL", "dbos_program.py", (), True),
            ("DBOS", "DBOS, SQLite as it is", "dbos_program.py", (), False),
            ("DBOS", "DBOS, SQLite in WAL mode", "dbos_program.py", ("--wal",), False),
            ("LangGraph", "LangGraph, PostgreSQL", "langgraph_program.py", ("postgres",), True),
            ("LangGraph", "LangGraph, SQLite, blocking", "langgraph_program.py", ("blocking",), False),
            ("LangGraph", "LangGraph, SQLite, async", "langgraph_program.py", ("asynchronous",), False),
            ("Absurd", "Absurd, PostgreSQL", "absurd_program.py", (), True),
            ("Restate", "Restate", "restate_program.py", (restate,), False),
        ):
            if product in self._installed.pythons:
                every[name] = self._other(product, program, options, postgres=postgres)
        return every

    def _ours_on_sqlite(self, shape: str) -> dict[str, Any]:
        figures = self._ours(shape)
        evidence = figures["evidence"]
        return {
            **{name: figures[name] for name in ("runs_per_second", "processor_us_per_run")},
            "p50_ms": figures["latency"]["p50_ms"],
            "memory_peak_mb": evidence["memory_peak_mb"],
            "settings": {name: evidence[name] for name in ("journal_mode", "synchronous")},
            "versions": {"headgate": version("headgate"), "sqlite": apsw.sqlite_lib_version()},
        }

    def _ours_on_postgres(self, shape: str) -> dict[str, Any]:
        with server(self._folder, "") as url:
            figures = measured_alone(url, f"bench_{secrets.token_hex(6)}", shape, self._seconds)
        return figures | {"versions": {"headgate": version("headgate"), "asyncpg": version("asyncpg")}}

    def _other(self, product: str, program: str, options: tuple[str, ...], *, postgres: bool) -> Measured:
        python = self._installed.pythons[product]

        def measured(shape: str) -> dict[str, Any]:
            if not postgres:
                return self._measured(python, program, shape, *options)
            with server(self._folder, "") as url:
                return self._measured(python, program, shape, *options, url)

        return measured

    def _measured(self, python: str, program: str, shape: str, *options: str) -> dict[str, Any]:
        folder = Path(tempfile.mkdtemp(dir=self._folder, prefix="database-"))
        given = (shape, str(folder), str(self._seconds), *options)
        try:
            figures = _said(python, program, "measure", *given)
            expect_kept(figures["made"], SHAPES[shape].steps, _said(python, program, "kept", *given), program)
        finally:
            shutil.rmtree(folder)
        return figures


def expect_kept(made: int, steps: int, kept: dict[str, int], program: str) -> None:
    """Raise unless a fresh process has found every run with its result, and every step of it."""
    if kept["runs"] != made or kept["steps"] < made * steps:
        raise RuntimeError(f"{program} made {made} runs of {steps} steps; of them are kept: {kept}")


def _said(python: str, program: str, *given: str) -> dict[str, Any]:
    command = [python, str(HERE / program), *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_SECONDS_MAX, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{program} ended with status {done.returncode}:\n{done.stderr[-4_000:]}")
    return json.loads(done.stdout.splitlines()[-1])


# --- Figures ---------------------------------------------------------------------------------------------------------


def _in_turns(products: dict[str, Measured], shape: str, repetitions: int) -> dict[str, Any]:
    """Measure every product once in each round, every other round backwards."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in products}
    for number in range(repetitions):
        for name in list(products)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(products[name](shape))
    ours = [figures["runs_per_second"] for figures in found[OURS]]
    return {name: _summary(figures, ours) for name, figures in found.items()}


def _summary(repetitions: list[dict[str, Any]], ours: list[float]) -> dict[str, Any]:
    ratios = [mine / each["runs_per_second"] for mine, each in zip(ours, repetitions, strict=True)]
    return {
        **{figure: median([each[figure] for each in repetitions]) for figure in FIGURES},
        "ours_to_this": median(ratios),
        "ratios": [rounded(ratio) for ratio in ratios],
        "settings": repetitions[0]["settings"],
        "versions": repetitions[0]["versions"],
        "repetitions": repetitions,
    }


def table_of_peers(figures: dict[str, dict[str, Any]]) -> str:
    """Return a table of each shape, and what could not be installed."""
    missing = [f"{product} could not be installed: {why}" for product, why in figures["not_installed"].items()]
    shapes = [_table(shape, products) for shape, products in figures.items() if shape != "not_installed"]
    return "\n\n".join(shapes) + "\n" + "\n".join(missing or ["All could be installed."])


def _table(shape: str, figures: dict[str, Any]) -> str:
    lines = [f"{shape:28} runs/s   p50 ms  cpu us/run  peak MB  ours/this  settings"]
    for name, each in figures.items():
        numbers = f"{each['runs_per_second']:>6,.0f}  {each['p50_ms']:>7,.1f}  {each['processor_us_per_run']:>10,.0f}"
        rest = f"{each['memory_peak_mb']:>7,.0f}  {each['ours_to_this']:>9,.1f}  {each['settings']} {each['versions']}"
        lines.append(f"{name:28} {numbers}  {rest}")
    return "\n".join(lines)
