"""The server's process of `bench http` and `bench worker`: `python -m bench.http_server ORDER` prints its port, and
serves.

A line on its standard input (JSON: how many runs of each load were made) ends it; it prints what the audit needs.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.ours import deeds_of, evidence_of, opened
from bench.workflows import LOADS, PARKED, nap
from headgate.api.http import HttpApplication, HttpServer
from headgate.api.http.table import ROUTES
from headgate.app import App
from headgate.core.decision import Decision
from headgate.core.events import ActivityScheduled
from headgate.engine.lane import Lane
from headgate.process import run_serving, tune_process
from headgate.stores.postgres import PostgresLog

__all__ = ["ServerOrder"]

KNOWN = {**LOADS, PARKED.name: PARKED}


class ServerOrder(msgspec.Struct, kw_only=True, omit_defaults=True):
    database: str
    """A file, or the address of a PostgreSQL server, where `schema` is the log's."""
    schema: str = ""
    work: bool = True
    """False: all activities are left to a worker outside."""
    stamps: bool = False
    """Note when each task became due (CLOCK_MONOTONIC), and print it at the end."""


async def serve(order: ServerOrder) -> None:
    async with _opened(order) as app:
        due = _due_times(app) if order.stamps else {}
        for load in KNOWN.values():
            await app.engine.definitions.deploy(load.definition)
        async with HttpServer(HttpApplication(ROUTES, app.doors, loopback_only=True), "127.0.0.1", 0) as server:
            print(server.port, flush=True)
            runs = json.loads(await asyncio.to_thread(sys.stdin.readline) or "{}")
        await app.worker.drain(10)
        print(json.dumps(await _evidence(app, order, runs) | {"due": due}))


@asynccontextmanager
async def _opened(order: ServerOrder) -> AsyncGenerator[App]:
    more: dict[str, Any] = {"work": order.work, "activities": {"nap": nap}}
    if not order.schema:
        async with opened(Path(order.database), **more) as app:
            yield app
        return
    tune_process()
    async with App(PostgresLog(order.database, schema=order.schema), environment={}, **more) as app:
        yield app


def _due_times(app: App) -> dict[str, int]:
    """Return what becomes the time at which each task was durable, and so could be handed out; filled as they do."""
    due: dict[str, int] = {}

    def note(lane: Lane, decisions: Sequence[Decision]) -> None:
        now = time.monotonic_ns()
        for decision in decisions:
            for event in decision.events:
                if isinstance(event, ActivityScheduled):
                    due[f"{lane.run.id} {event.place} {event.attempt}"] = now

    app.engine._listeners.insert(0, note)  # before whoever hands tasks out
    return due


async def _evidence(app: App, order: ServerOrder, runs: dict[str, int]) -> dict[str, Any]:
    log = app.engine.log
    if isinstance(log, PostgresLog):
        return deeds_of(app, runs, KNOWN) | await log.server_settings() | {"schema": order.schema}
    return evidence_of(app, runs, KNOWN, None)


if __name__ == "__main__":
    run_serving(serve(msgspec.json.decode(sys.argv[1], type=ServerOrder)))
