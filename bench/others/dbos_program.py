"""DBOS on SQLite or PostgreSQL: `python dbos_program.py SHAPE FOLDER SECONDS [--wal | URL]`.

Blocking workflows and steps, called from a pool of threads: that was faster here than the asynchronous ones, on seq5
and hc3. `--wal` puts the SQLite file into WAL mode beforehand, which DBOS itself leaves at SQLite's default. What was
written is counted afterwards: one row for each step of each run.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy
from dbos import DBOS
from timing import SHAPES, in_threads, repetition, versions


@DBOS.step()
def add_one(number: int) -> int:
    return number + 1


@DBOS.workflow()
def chain(length: int) -> int:
    number = 0
    for _ in range(length):
        number = add_one(number)
    return number


def measure(shape: str, url: str, seconds_min: float) -> dict[str, Any]:
    length, in_flight = SHAPES[shape]
    runs = itertools.count()
    instance = DBOS(config={"name": "bench", "system_database_url": url, "log_level": "WARNING"})
    DBOS.launch()
    settings = settings_of(instance)

    def run() -> None:
        assert chain(length) == length
        next(runs)

    with ThreadPoolExecutor(in_flight) as threads:
        figures = repetition(in_threads(run, threads), in_flight=in_flight, seconds_min=seconds_min)
    made, outputs = next(runs), "operation_outputs" if url.startswith("sqlite") else "dbos.operation_outputs"
    recorded = value_of(instance, f"select count(*) from {outputs}")
    DBOS.destroy()
    assert recorded == made * length, f"{made} runs of {length} steps left {recorded} rows"
    return figures | {"settings": settings, "versions": versions("dbos", "SQLAlchemy", "psycopg")}


def settings_of(instance: DBOS) -> dict[str, Any]:
    """Return what decides what survives a loss of power, as DBOS's own connections have it."""
    if instance._sys_db.engine.dialect.name == "sqlite":
        return {name: value_of(instance, f"pragma {name}") for name in ("journal_mode", "synchronous")}
    return {name: value_of(instance, f"show {name}") for name in ("server_version", "fsync", "synchronous_commit")}


def value_of(instance: DBOS, query: str) -> Any:
    with instance._sys_db.engine.connect() as connection:
        return connection.execute(sqlalchemy.text(query)).scalar_one()


def prepared(folder: Path, given: list[str]) -> str:
    """Return the URL to measure on: the given one, or that of a new file in the folder."""
    if given and given[0] != "--wal":
        return given[0]
    path = folder / "dbos.db"
    if given:
        connection = sqlite3.connect(path)
        connection.execute("pragma journal_mode = wal")
        connection.close()
    return f"sqlite:///{path}"


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], prepared(Path(sys.argv[2]), sys.argv[4:]), float(sys.argv[3]))))
