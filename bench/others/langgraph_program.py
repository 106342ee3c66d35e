"""LangGraph with `durability="sync"`: `python langgraph_program.py measure|kept SHAPE FOLDER SECONDS SAVER [URL]`.

SAVER is `blocking` or `asynchronous` for the SQLite checkpointer, invoked from a pool of threads or on one event loop
(which of them is faster hangs on the shape), or `postgres` with a URL: the blocking one on a pool of connections. Each
run is a thread id of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import operator
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool
from timing import Counted, Shape, answer, in_threads, on_loop, repetition, sqlite_settings, versions

STEPS_MAX = 1_000
"""LangGraph's own limit is 25 steps; it does not matter otherwise."""
CONNECTIONS = 20


class State(TypedDict):
    number: int
    found: Annotated[list[int], operator.add]


def add_one(state: State) -> dict[str, Any]:
    return {"number": state["number"] + 1}


def add_beside(state: State) -> dict[str, Any]:
    return {"found": [state["number"] + 1]}


def add_up(state: State) -> dict[str, Any]:
    return {"number": sum(state["found"]) + 1}


def graph_of(shape: Shape, made: Callable[[Any], Any] = lambda step: step) -> StateGraph:
    """Return the shape as a graph; `made` makes a step of a function."""
    graph = StateGraph(State)
    names = [f"a{number}" for number in range(shape.length)]
    for name in names:
        graph.add_node(name, made(add_beside if shape.wide else add_one))
    if shape.wide:
        graph.add_node("first", made(add_one))
        graph.add_node("last", made(add_up))
        graph.add_edge(START, "first")
        for name in names:
            graph.add_edge("first", name)
        graph.add_edge(names, "last")
        graph.add_edge("last", END)
        return graph
    for before, after in itertools.pairwise([START, *names, END]):
        graph.add_edge(before, after)
    return graph


def later(step: Any) -> Any:
    async def step_later(state: State) -> dict[str, Any]:
        return step(state)

    return step_later


def thread(number: int) -> dict[str, Any]:
    return {"configurable": {"thread_id": str(number)}, "recursion_limit": STEPS_MAX}


def measure(shape: Shape, folder: Path, seconds_min: float, saver: str, url: str = "") -> dict[str, Any]:
    measured = asynchronously if saver == "asynchronous" else in_a_pool
    packages = versions("langgraph", "langgraph-checkpoint-sqlite", "langgraph-checkpoint-postgres", "psycopg")
    return measured(shape, folder, seconds_min, url) | {"versions": packages}


def in_a_pool(shape: Shape, folder: Path, seconds_min: float, url: str) -> dict[str, Any]:
    counted, numbers = Counted(shape), itertools.count()
    with opened(folder, url) as (saver, settings), ThreadPoolExecutor(shape.in_flight) as threads:
        saver.setup()
        graph = graph_of(shape).compile(checkpointer=saver)

        def run() -> None:
            begun = {"number": 0, "found": []}
            counted.check(graph.invoke(begun, thread(next(numbers)), durability="sync")["number"])

        figures = repetition(in_threads(run, threads), in_flight=shape.in_flight, seconds_min=seconds_min)
    return figures | {"settings": settings, "made": next(numbers)}


def asynchronously(shape: Shape, folder: Path, seconds_min: float, _url: str) -> dict[str, Any]:
    counted, numbers = Counted(shape), itertools.count()
    with asyncio.Runner() as runner:
        opening = AsyncSqliteSaver.from_conn_string(str(folder / "langgraph.db"))
        saver = runner.run(opening.__aenter__())
        runner.run(saver.setup())
        settings = {name: runner.run(value_of(saver, name)) for name in ("journal_mode", "synchronous")}
        graph = graph_of(shape, later).compile(checkpointer=saver)

        async def run() -> None:
            begun = {"number": 0, "found": []}
            found = await graph.ainvoke(begun, thread(next(numbers)), durability="sync")
            counted.check(found["number"])

        def batch(count: int) -> list[float]:
            return runner.run(on_loop(run, shape.in_flight, count))

        figures = repetition(batch, in_flight=shape.in_flight, seconds_min=seconds_min)
        runner.run(opening.__aexit__(None, None, None))
    return figures | {"settings": settings, "made": next(numbers)}


@contextmanager
def opened(folder: Path, url: str) -> Generator[tuple[Any, dict[str, Any]]]:
    """Yield a blocking checkpointer, and what decides what survives a loss of power, as its connection has it."""
    if not url:
        with SqliteSaver.from_conn_string(str(folder / "langgraph.db")) as saver:
            saver.setup()
            yield saver, sqlite_settings(saver.conn)
        return
    session = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    with ConnectionPool(url, min_size=CONNECTIONS, max_size=CONNECTIONS, kwargs=session, open=True) as pool:
        with pool.connection() as connection:
            names = ("server_version", "fsync", "synchronous_commit")
            settings = {name: connection.execute(f"show {name}").fetchone()[name] for name in names}
        yield PostgresSaver(pool), settings


async def value_of(saver: AsyncSqliteSaver, pragma: str) -> Any:
    async with saver.conn.execute(f"pragma {pragma}") as cursor:
        row = await cursor.fetchone()
        return row[0] if row else None


def kept(shape: Shape, folder: Path, _saver: str, url: str = "") -> dict[str, int]:
    """Return how many threads' last checkpoint holds the result, and how many checkpoints there are beyond the first
    of each: every step makes one, those side by side one together."""
    with opened(folder, url) as (saver, _):
        runs, together = 0, shape.length - 1 if shape.wide else 0
        found = {"runs": 0, "steps": 0}
        while (last := saver.get_tuple(thread(runs))) is not None:
            runs += 1
            found["runs"] += last.checkpoint["channel_values"].get("number") == shape.result
            found["steps"] += last.metadata["step"] + together
    return found


if __name__ == "__main__":
    answer(measure, kept)
