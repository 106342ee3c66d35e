"""DBOS on SQLite or PostgreSQL: `python dbos_program.py measure|kept SHAPE FOLDER SECONDS [--wal | URL]`.

Chains are blocking workflows and steps, called from a pool of threads: that was faster here than the asynchronous ones,
on seq5 and hc3. Steps side by side are an asynchronous workflow that gathers them. `--wal` puts the SQLite file into
WAL mode beforehand, which DBOS itself leaves at SQLite's default.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSClient
from timing import Counted, Shape, answer, in_threads, on_loop, repetition, versions


@DBOS.step()
def add_one(number: int) -> int:
    return number + 1


@DBOS.workflow()
def chain(length: int) -> int:
    number = 0
    for _ in range(length):
        number = add_one(number)
    return number


@DBOS.step()
async def add_one_beside(number: int) -> int:
    return number + 1


@DBOS.workflow()
async def fan(width: int) -> int:
    first = await add_one_beside(0)
    found = await asyncio.gather(*(add_one_beside(first) for _ in range(width)))
    return await add_one_beside(sum(found))


def measure(shape: Shape, folder: Path, seconds_min: float, option: str = "") -> dict[str, Any]:
    url = address(folder, option)
    if option == "--wal":
        connection = sqlite3.connect(folder / "dbos.db")
        connection.execute("pragma journal_mode = wal")
        connection.close()
    counted = Counted(shape)
    instance = DBOS(config={"name": "bench", "system_database_url": url, "log_level": "WARNING"})
    DBOS.launch()
    settings = settings_of(instance)
    figures = (beside if shape.wide else in_a_chain)(shape, counted, seconds_min)
    DBOS.destroy()
    return figures | {
        "made": counted.number(),
        "settings": settings,
        "versions": versions("dbos", "SQLAlchemy", "psycopg"),
    }


def in_a_chain(shape: Shape, counted: Counted, seconds_min: float) -> dict[str, Any]:
    def run() -> None:
        counted.check(chain(shape.length))
        counted.number()

    with ThreadPoolExecutor(shape.in_flight) as threads:
        return repetition(in_threads(run, threads), in_flight=shape.in_flight, seconds_min=seconds_min)


def beside(shape: Shape, counted: Counted, seconds_min: float) -> dict[str, Any]:
    async def run() -> None:
        counted.check(await fan(shape.length))
        counted.number()

    with asyncio.Runner() as runner:
        return repetition(
            lambda count: runner.run(on_loop(run, shape.in_flight, count)),
            in_flight=shape.in_flight,
            seconds_min=seconds_min,
        )


def kept(shape: Shape, folder: Path, option: str = "") -> dict[str, int]:
    url = address(folder, option)
    client = DBOSClient(system_database_url=url)
    ended = client.list_workflows(status="SUCCESS", load_output=True)
    client.destroy()
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    outputs = "operation_outputs" if url.startswith("sqlite") else "dbos.operation_outputs"
    with engine.connect() as connection:
        steps = connection.execute(sqlalchemy.text(f"select count(*) from {outputs}")).scalar_one()
    return {"runs": sum(one.output == shape.result for one in ended), "steps": steps}


def settings_of(instance: DBOS) -> dict[str, Any]:
    """Return what decides what survives a loss of power, as DBOS's own connections have it."""
    if instance._sys_db.engine.dialect.name == "sqlite":
        return {name: value_of(instance, f"pragma {name}") for name in ("journal_mode", "synchronous")}
    return {name: value_of(instance, f"show {name}") for name in ("server_version", "fsync", "synchronous_commit")}


def value_of(instance: DBOS, query: str) -> Any:
    with instance._sys_db.engine.connect() as connection:
        return connection.execute(sqlalchemy.text(query)).scalar_one()


def address(folder: Path, option: str) -> str:
    return option if option.startswith("postgresql") else f"sqlite:///{folder / 'dbos.db'}"


if __name__ == "__main__":
    answer(measure, kept)
