"""One node of several on a PostgreSQL database: starts runs, and works until it is killed or told to end.

Its orders are a JSON object in its first argument. On stdout it says `told RUN` when a start is durable, `ready` when
it has started all it was to start. It ends at the end of its stdin.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

import msgspec
from tests.e2e.kill_child import FLOWS, Witnessed

from headgate.app import App
from headgate.authoring import load_definition
from headgate.core.errors import Unavailable
from headgate.ports import StartRequest
from headgate.stores.postgres import PostgresLog
from headgate.testing.crashes import Journal

NAP_SECONDS_MAX = 0.3


class Napping(Witnessed):
    """Activities that take a moment, so that some are under way whenever their node is killed."""

    async def _note(self, parameters: dict[str, Any], ctx: Any) -> Any:
        await asyncio.sleep(random.uniform(0, NAP_SECONDS_MAX))
        return await super()._note(parameters, ctx)


async def live(order: dict[str, Any]) -> None:
    log = PostgresLog(order["url"], schema=order["schema"], lease_seconds=order["lease_seconds"])
    witnessed = Napping(Journal(Path(order["journal"])))
    app = App(
        log,
        activities=witnessed.activities(),
        providers={"scripted": witnessed.models},
        environment={},
        work=order.get("work", True),
    )
    async with app:
        await start_all(app, order)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def start_all(app: App, order: dict[str, Any]) -> None:
    known = {"providers": frozenset({"scripted"}), "activities": frozenset({"note", "stumble", "tally"})}
    await app.engine.definitions.deploy(
        load_definition((FLOWS / "below.yaml").read_bytes(), source="below.yaml", **known)
    )
    for number in range(order["starts"]):
        flow = ("chain", "fan", "timed")[number % 3]
        request = StartRequest(
            definition=(FLOWS / f"{flow}.yaml").read_text(),
            input={"text": "fish"},
            command_id=f"{order['name']}-{number}",
        )
        run = await insisted(app, request)
        print("told", run, flush=True)
        await asyncio.sleep(order.get("pause_seconds", 0.0))
    print("ready", flush=True)


async def insisted(app: App, request: StartRequest) -> str:
    """Start a run as a client does that asks again under the same command id."""
    while True:
        try:
            return (await app.desk.start(request)).id
        except Unavailable:
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(live(msgspec.json.decode(sys.argv[1])))
