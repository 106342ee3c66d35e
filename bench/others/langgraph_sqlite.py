"""LangGraph with its SQLite checkpointer, `durability="sync"`: `python langgraph_sqlite.py SHAPE FOLDER SECONDS SAVER`.

SAVER is `blocking`, invoked from a pool of threads, or `asynchronous`, on one event loop: which of them is faster hangs
on the shape. Each run is a thread id of its own. What was written is counted afterwards: one checkpoint for each step
of each run at least.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from timing import SHAPES, count_rows, in_threads, repetition, sqlite_settings, versions

STEPS_MAX = 1_000
"""LangGraph's own limit is 25 steps; it does not matter otherwise."""


class State(TypedDict):
    number: int


def add_one(state: State) -> State:
    return {"number": state["number"] + 1}


async def add_one_asynchronously(state: State) -> State:
    return add_one(state)


def chain(length: int, step: Any) -> StateGraph:
    graph = StateGraph(State)
    names = [START, *(f"a{number}" for number in range(length)), END]
    for name in names[1:-1]:
        graph.add_node(name, step)
    for before, after in itertools.pairwise(names):
        graph.add_edge(before, after)
    return graph


def thread(number: int) -> dict[str, Any]:
    return {"configurable": {"thread_id": str(number)}, "recursion_limit": STEPS_MAX}


def measure_blocking(path: Path, length: int, in_flight: int, seconds_min: float) -> dict[str, Any]:
    numbers = itertools.count()
    with SqliteSaver.from_conn_string(str(path)) as saver, ThreadPoolExecutor(in_flight) as threads:
        saver.setup()
        settings = sqlite_settings(saver.conn)
        graph = chain(length, add_one).compile(checkpointer=saver)

        def run() -> None:
            assert graph.invoke({"number": 0}, thread(next(numbers)), durability="sync")["number"] == length

        figures = repetition(in_threads(run, threads), in_flight=in_flight, seconds_min=seconds_min)
    return figures | {"settings": settings, "made": next(numbers)}


def measure_asynchronous(path: Path, length: int, in_flight: int, seconds_min: float) -> dict[str, Any]:
    numbers = itertools.count()
    with asyncio.Runner() as runner:
        opened = AsyncSqliteSaver.from_conn_string(str(path))
        saver = runner.run(opened.__aenter__())
        runner.run(saver.setup())
        settings = {name: runner.run(value_of(saver, name)) for name in ("journal_mode", "synchronous")}
        graph = chain(length, add_one_asynchronously).compile(checkpointer=saver)

        async def batch(count: int) -> list[float]:
            left, latencies = iter(range(count)), []

            async def client() -> None:
                for _ in left:
                    begin = time.perf_counter()
                    found = await graph.ainvoke({"number": 0}, thread(next(numbers)), durability="sync")
                    assert found["number"] == length
                    latencies.append(time.perf_counter() - begin)

            await asyncio.gather(*(client() for _ in range(in_flight)))
            return latencies

        figures = repetition(lambda count: runner.run(batch(count)), in_flight=in_flight, seconds_min=seconds_min)
        runner.run(opened.__aexit__(None, None, None))
    return figures | {"settings": settings, "made": next(numbers)}


async def value_of(saver: AsyncSqliteSaver, pragma: str) -> Any:
    async with saver.conn.execute(f"pragma {pragma}") as cursor:
        row = await cursor.fetchone()
        return row[0] if row else None


SAVERS = {"blocking": measure_blocking, "asynchronous": measure_asynchronous}


def measure(shape: str, folder: Path, seconds_min: float, saver: str) -> dict[str, Any]:
    length, in_flight = SHAPES[shape]
    path = folder / "langgraph.db"
    figures = SAVERS[saver](path, length, in_flight, seconds_min)
    made, checkpoints = figures["made"], count_rows(path, "select count(*) from checkpoints")
    assert checkpoints >= made * length, f"{made} runs left only {checkpoints} checkpoints"
    packages = versions("langgraph", "langgraph-checkpoint-sqlite")
    return figures | {"checkpoints_per_run": checkpoints / made, "versions": packages}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4])))
