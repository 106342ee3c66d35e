"""The server of `bench ws`: `python -m bench.ws_server PATH`. It prints its port, then does what stdin's lines ask."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from bench.figures import rounded
from headgate.api.caller import EVERYTHING, Caller, Unauthorized
from headgate.api.http import HttpApplication, HttpServer
from headgate.api.http.table import ROUTES, SOCKETS
from headgate.app import App
from headgate.ports import StartRequest
from headgate.process import run_serving, tune_process
from headgate.stores.sqlite import SqliteLog

__all__: list[str] = []

DEFINITION = """
name: talk
activities:
  say: {use: say, queue: outside, streaming: true, timeout: 1h}
  heard: {wait_for: news}
"""


class Bench:
    """What is asked of the server, each verb a method."""

    def __init__(self, app: App, application: HttpApplication) -> None:
        self._app = app
        self._application = application
        self._tasks: list[str] = []

    async def begin(self, runs: int) -> dict[str, Any]:
        """Start runs whose activities speak; return their ids, each with a ticket."""
        begun = []
        for _ in range(runs):
            run = await self._app.desk.start(StartRequest(definition=DEFINITION))
            ticket = await self._app.doors.issue_ticket(Caller(scopes=EVERYTHING), run.id)
            begun.append({"id": run.id, "ticket": ticket.ticket})
        tasks = await self._app.protocol.poll(["outside"], worker_id="w", count=runs, wait_seconds=10)
        self._tasks = [task.activity_id for task in tasks]
        return {"runs": begun}

    async def used(self) -> dict[str, Any]:
        """Return the memory that is held, and the seconds of a processor that were used so far."""
        return {"rss_mb": held_mb(), "processor": time.process_time()}

    async def signal(self, run: str) -> dict[str, Any]:
        """Have the run take a signal that says when it was sent."""
        at = time.perf_counter_ns()
        await self._app.desk.signal(run, f"other@{at:020d}", data=None)
        return {"at": at}

    async def speak(self, times: int, pause: float) -> dict[str, Any]:
        """Let every activity speak so often, each at its own moment, the load spread over the time between."""
        begin = time.perf_counter()
        step = pause / len(self._tasks)
        for number in range(times * len(self._tasks)):
            late = time.perf_counter() - (begin + number * step)
            if late < 0:
                await asyncio.sleep(-late)
            self._app.protocol.stream(self._tasks[number % len(self._tasks)], f"@{time.perf_counter_ns():020d}")
            if late > 0 and not number % 10:
                await asyncio.sleep(0)
        return {}

    async def settle(self) -> dict[str, Any]:
        for _ in range(200):
            if not self._application.sockets.connections:
                break
            await asyncio.sleep(0.05)
        return {"connections": self._application.sockets.connections}


async def main(path: Path) -> None:
    tune_process()

    async def nobody(headers: Any) -> Caller:
        raise Unauthorized("expected a ticket")

    async with App(SqliteLog(path), environment={}, folder=path.parent / "state", work=False) as app:
        application = HttpApplication(ROUTES, app.doors, identify=nobody, sockets=SOCKETS)
        async with HttpServer(application, "127.0.0.1", 0) as server:
            say({"port": server.port})
            bench = Bench(app, application)
            reader = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
            while line := await reader.readline():
                asked = json.loads(line)
                say(await getattr(bench, asked.pop("verb"))(**asked))


def held_mb() -> float:
    """Return the memory of this process that is in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return rounded(pages * resource.getpagesize() / 1e6)


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    run_serving(main(Path(sys.argv[1])))
