"""The server's process of `bench http`: `python -m bench.http_server DATABASE` prints its port, and serves.

A line on its standard input (JSON: how many runs of each load were made) ends it; it prints what the audit needs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from bench.ours import evidence_of, opened
from bench.syncs import SyncCounter
from bench.workflows import LOADS, PARKED
from headgate.api.http import HttpApplication, HttpServer
from headgate.api.http.table import ROUTES

__all__: list[str] = []


async def serve(path: Path) -> None:
    counter = SyncCounter()
    async with opened(path, counter=counter) as app:
        for load in (*LOADS.values(), PARKED):
            await app.engine.deploy(load.definition)
        async with HttpServer(HttpApplication(ROUTES, app.doors, loopback_only=True), "127.0.0.1", 0) as server:
            print(server.port, flush=True)
            runs = json.loads(await asyncio.to_thread(sys.stdin.readline) or "{}")
        await app.worker.drain(10)
        print(json.dumps(evidence_of(app, runs, {**LOADS, PARKED.name: PARKED}, counter)))


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
