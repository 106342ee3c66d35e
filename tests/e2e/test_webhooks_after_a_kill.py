"""A process is killed while it tells a webhook: the next one tells what is left, and nothing is missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.receiver import Receiver

pytestmark = pytest.mark.slow

FLOW = """
name: counted
inputs: {n: {type: integer}}
labels: {team: blue}
activities: {a: {use: echo, with: {n: "{{ INPUT.n }}"}}}
"""
RUNS = 25
KILLS = 4
SECONDS_MAX = 60

CHILD = """
import asyncio, sys
from pathlib import Path
from headgate.app import App
from headgate.ports import StartRequest, Webhook
from headgate.stores.sqlite import SqliteLog

folder, url, runs = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

async def live():
    async with App(SqliteLog(folder / "log.db"), folder=folder, environment={}) as app:
        if not await app.telling.webhooks.all("default"):
            await app.telling.webhooks.add(Webhook(id="", url=url, events=("run_completed",)))
        text = (folder / "flow.yaml").read_text()
        for n in range(runs):
            run = await app.desk.start(StartRequest(definition=text, input={"n": n}, command_id=f"start-{n}"))
            print(run.id, flush=True)
        await app.desk.settled()
        print("settled", flush=True)
        await asyncio.Event().wait()

asyncio.run(live())
"""


def born(folder: Path, receiver: Receiver, runs: int = RUNS) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder), receiver.url, str(runs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def killed(child: subprocess.Popen[str]) -> set[str]:
    """Kill a child; return the runs that it had said were started."""
    os.kill(child.pid, signal.SIGKILL)
    said, _ = child.communicate(timeout=SECONDS_MAX)
    return {line for line in said.split("\n") if line and line != "settled"}


def test_no_delivery_is_lost_by_kills_in_the_middle(tmp_path: Path):
    (tmp_path / "flow.yaml").write_text(FLOW)
    acknowledged: set[str] = set()
    with Receiver() as receiver:
        for _ in range(KILLS):
            receiver.answers.extend([204] * 3 + ["hang"])
            child = born(tmp_path, receiver)
            receiver.wait_for(len(receiver.got) + 4)  # the fourth is under way, and will not be answered
            acknowledged |= killed(child)
            receiver.go_on.set()
            receiver.go_on.clear()
            receiver.answers.clear()
        child = born(tmp_path, receiver)
        with receiver.came:
            assert receiver.came.wait_for(lambda: len(told(receiver)) == RUNS, SECONDS_MAX), len(told(receiver))
        acknowledged |= killed(child)

        bodies: dict[str, set[bytes]] = {}
        for one in receiver.got:
            bodies.setdefault(one.id, set()).add(one.body)

    assert len(acknowledged) == RUNS
    assert {json.loads(next(iter(each)))["data"]["workflow_id"] for each in bodies.values()} == acknowledged
    assert all(len(each) == 1 for each in bodies.values())  # a repeat has the id of the first, and says the same
    assert len(receiver.got) > RUNS  # some were told twice: at least once is what is promised


def told(receiver: Receiver) -> set[Any]:
    return {one.id for one in receiver.got}
