"""Absurd on PostgreSQL: `python absurd_program.py measure|kept SHAPE FOLDER SECONDS URL`.

Workers ask every 10 ms, each on a connection of its own, and whoever has started a task looks as often for its result:
Absurd's own steps of 250 ms and of 50 ms, doubling, would be most of what is measured. Steps side by side are gathered.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
from absurd_sdk import AsyncAbsurd
from timing import Counted, Shape, answer, on_loop, repetition, versions

WORKERS = 10
LOOK_SECONDS = 0.01
QUEUE = "bench"


def measure(shape: Shape, _folder: Path, seconds_min: float, url: str) -> dict[str, Any]:
    subprocess.run([Path(sys.executable).parent / "absurdctl", "init", "-d", url], check=True, capture_output=True)
    counted = Counted(shape)
    with asyncio.Runner() as runner:
        workers = [worker_of(shape, url) for _ in range(WORKERS)]
        runner.run(workers[0].create_queue(QUEUE))
        working = [runner.run(begun(worker)) for worker in workers]
        clients = itertools.cycle([AsyncAbsurd(url, queue_name=QUEUE) for _ in range(shape.in_flight)])

        async def run() -> None:
            client = next(clients)
            task = (await client.spawn("shape", {}, queue=QUEUE))["task_id"]
            counted.check(await result_of(client, task))
            counted.number()

        def batch(count: int) -> list[float]:
            return runner.run(on_loop(run, shape.in_flight, count))

        figures = repetition(batch, in_flight=shape.in_flight, seconds_min=seconds_min)
        for worker in workers:
            worker.stop_worker()
        runner.run(asyncio.wait(working))
    return figures | {
        "made": counted.number(),
        "settings": settings_of(url),
        "versions": versions("absurd-sdk", "psycopg"),
    }


async def result_of(client: AsyncAbsurd, task: str) -> Any:
    while True:
        found = await client.fetch_task_result(task)
        if found is not None and found.state not in ("pending", "running", "sleeping"):
            return found.result
        await asyncio.sleep(LOOK_SECONDS)


def worker_of(shape: Shape, url: str) -> AsyncAbsurd:
    worker = AsyncAbsurd(url, queue_name=QUEUE)

    @worker.register_task("shape")
    async def perform(_: Any, context: Any) -> int:
        async def step(name: str, number: int) -> int:
            async def add_one() -> int:
                return number + 1

            return await context.step(name, add_one)

        if shape.wide:
            first = await step("first", 0)
            found = await asyncio.gather(*(step(f"a{place}", first) for place in range(shape.length)))
            return await step("last", sum(found))
        number = 0
        for place in range(shape.length):
            number = await step(f"a{place}", number)
        return number

    return worker


async def begun(worker: AsyncAbsurd) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(worker.start_worker(poll_interval=LOOK_SECONDS))


def settings_of(url: str) -> dict[str, Any]:
    with psycopg.connect(url) as connection:
        names = ("server_version", "fsync", "synchronous_commit")
        return {name: connection.execute(f"show {name}").fetchone()[0] for name in names}


def kept(shape: Shape, _folder: Path, url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        ended = f"select count(*) from absurd.t_{QUEUE} where state = 'completed' and completed_payload = %s::jsonb"
        runs = connection.execute(ended, (str(shape.result),)).fetchone()[0]
        steps = connection.execute(f"select count(*) from absurd.c_{QUEUE} where status = 'committed'").fetchone()[0]
    return {"runs": runs, "steps": steps}


if __name__ == "__main__":
    answer(measure, kept)
