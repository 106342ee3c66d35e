"""Webhooks of two nodes on one database in PostgreSQL: everything is told, each message by one node."""

from __future__ import annotations

import asyncio

from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url
from tests.receiver import Receiver

from headgate.app import App
from headgate.engine.sealing import new_key
from headgate.ports import StartRequest, Webhook
from headgate.stores.postgres import PostgresLog

FLOW = "name: hello\nactivities: {a: {use: echo, with: {n: 1}}}"
RUNS = 20
SECONDS_MAX = 60


def test_two_nodes_tell_everything_and_nothing_twice():
    environment = {"HEADGATE_KEY": new_key()}

    async def scene(receiver: Receiver) -> set[str]:
        first, second = empty_postgres_log(), PostgresLog(server_url(), schema=SCHEMA)
        async with App(first, environment=environment) as one, App(second, environment=environment) as other:
            await one.telling.webhooks.add(Webhook(id="", url=receiver.url, events=("run_completed",)))
            runs = [await app.desk.start(StartRequest(definition=FLOW)) for app in (one, other) for _ in range(RUNS)]
            await asyncio.to_thread(receiver.wait_for, len(runs))
            await asyncio.gather(one.telling.webhook_delivery.settled(), other.telling.webhook_delivery.settled())
        return {run.id for run in runs}

    with Receiver() as receiver:
        runs = asyncio.run(asyncio.wait_for(scene(receiver), SECONDS_MAX))

    assert {one.json["data"]["workflow_id"] for one in receiver.got} == runs
    assert len(receiver.got) == len({one.id for one in receiver.got}) == 2 * RUNS
