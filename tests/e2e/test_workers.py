"""Workers in processes of their own, one owner, SIGKILL among them: the bill never exceeds the limit."""

from __future__ import annotations

import asyncio
import os
import queue
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.e2e.model_server import INPUT_NANO, OUTPUT_NANO, ModelServer

from headgate.client.address import parse_address
from headgate.client.frames import OwnerGone
from headgate.client.socket import SocketClient
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.codec import decode
from headgate.core.definition import Definition
from headgate.core.fold import apply
from headgate.core.plan import load_plan
from headgate.core.run import Run
from headgate.ports import Changed, StartRequest
from headgate.stores.ownership import owner_of
from headgate.stores.sqlite import SqliteLog

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and Unix sockets"),
]

BRANCHES, WORKERS = 100, 4
MAX_TOKENS = 50
LIMIT = BRANCHES // 3 * (6 * INPUT_NANO + MAX_TOKENS * OUTPUT_NANO)
FLOW = f"""
name: branches
budget: {LIMIT / 1e9:.9f}
activities:
  ask:
    use: llm_prompt
    for_each: "{{{{ range({BRANCHES}) }}}}"
    max_parallel: {BRANCHES}
    on_failure: continue
    with: {{model: fake/m, prompt: "Is {{{{ ITEM }}}} a number?", max_tokens: {MAX_TOKENS}}}
"""
PRICES = f"fake/m: {{input: {INPUT_NANO / 1e3}, output: {OUTPUT_NANO / 1e3}}}\n"
SECONDS_MAX = 120.0
"""On a machine that has much else to do; by itself it takes a quarter of a minute."""


class Site:
    """A database, its owner, its workers, and what kills them."""

    def __init__(self, folder: Path, model: ModelServer) -> None:
        self.folder = folder
        self.database = folder / "hg.db"
        self.prices = folder / "prices.yaml"
        self.prices.write_text(PRICES)
        self._model = model
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._begun = 0

    def begin(self, *words: str, key: str) -> None:
        environment = {
            **os.environ,
            "HEADGATE_PROVIDER_FAKE_BASE_URL": self._model.url,
            "HEADGATE_PROVIDER_FAKE_API_KEY": key,
            "HEADGATE_PRICES": str(self.prices),
        }
        with (self.folder / f"{key}.txt").open("ab") as said:
            self._processes[key] = subprocess.Popen(
                [sys.executable, "-m", "headgate", *words, "--db", str(self.database)],
                cwd=self.folder,
                env=environment,
                stdout=said,
                stderr=said,
            )

    def begin_owner(self) -> None:
        self.begin("work", "--forever", "--no-worker", key="owner")

    def begin_worker(self) -> None:
        self._begun += 1
        self.begin("worker", "--concurrency", "2", key=f"worker-{self._begun}")

    def kill(self, key: str) -> None:
        process = self._processes.pop(key)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self) -> dict[str, int]:
        """End all of them by SIGTERM; return with what they exited."""
        for process in self._processes.values():
            process.terminate()
        return {key: process.wait(SECONDS_MAX) for key, process in self._processes.items()}

    def kill_all(self) -> None:
        for key in list(self._processes):
            self.kill(key)

    def said(self) -> str:
        return "\n".join(f"{file.name}:\n{file.read_text()}" for file in sorted(self.folder.glob("*.txt")))

    async def client(self) -> SocketClient:
        """Return a client of whoever owns the database now."""
        while True:
            owner = owner_of(self.database)
            address = parse_address(owner.address) if owner else None
            if address is not None:
                client = SocketClient(address)
                with suppress(OwnerGone):
                    await client.ping()
                    return client
            await asyncio.sleep(0.05)

    async def finished(self, run_id: str) -> None:
        """Return when the run has ended, whatever owners come and go."""
        while True:
            with suppress(OwnerGone):
                async for update in (await self.client()).watch(run_id):
                    if isinstance(update, Changed) and update.run.finished_at is not None:
                        return

    async def story(self, run_id: str) -> tuple[Run, list[e.Event], Any]:
        log = SqliteLog(self.database, read_only=True)
        try:
            row = await log.run(run_id)
            assert row is not None
            found = await log.definition(row.workflow, row.definition)
            assert found is not None
            run = Run(run_id, load_plan(msgspec.json.decode(found[1], type=Definition)))
            events = [decode(stored.data)[0] for stored in await log.events(row.key, limit=100_000)]
            return run, events, await log.spend(run_id)
        finally:
            await log.close()


class Killer:
    """Kills whom its plan says while that one's request is open at the model, and begins another in its place."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        numbers = sorted(chance.sample(range(4, 28), 6))
        self._plan = dict.fromkeys(numbers, "worker")
        self._plan[chance.choice(numbers[1:5])] = "owner"
        self.killed: Counter[str] = Counter()
        self._asked: queue.SimpleQueue[tuple[str, str, threading.Event] | None] = queue.SimpleQueue()

    def on_request(self, number: int, key: str) -> None:
        kind = self._plan.get(number)
        if kind is not None:
            done = threading.Event()
            self._asked.put((kind, key, done))
            done.wait(SECONDS_MAX)

    def work(self, site: Site) -> None:
        while (asked := self._asked.get()) is not None:
            kind, key, done = asked
            if kind == "owner":
                site.kill("owner")
                site.begin_owner()
                self.killed["owner"] += 1
            elif key in site._processes:
                site.kill(key)
                site.begin_worker()
                self.killed["worker"] += 1
            done.set()

    def stop(self) -> None:
        self._asked.put(None)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_hundred_branches_in_four_worker_processes_never_cost_more_than_their_limit_whoever_is_killed(
    tmp_path: Path, seed: int
):
    killer = Killer(seed)

    async def whole(site: Site) -> tuple[str, dict[str, int]]:
        site.begin_owner()
        for _ in range(WORKERS):
            site.begin_worker()
        async with asyncio.timeout(SECONDS_MAX):
            client = await site.client()
            run_id = (await client.start(StartRequest(definition=FLOW))).id
            await site.finished(run_id)
        return run_id, site.end()

    with ModelServer(seed, killer.on_request) as model:
        site = Site(tmp_path, model)
        killing = threading.Thread(target=killer.work, args=(site,))
        killing.start()
        try:
            run_id, ended = asyncio.run(whole(site))
        except BaseException:
            print(site.said())
            raise
        finally:
            killer.stop()
            killing.join()
            site.kill_all()

    # -15: one that was started a moment ago and had not yet said what a SIGTERM means to it.
    assert set(ended.values()) <= {0, 143, -signal.SIGTERM}
    assert killer.killed["owner"] == 1
    assert killer.killed["worker"] >= 3
    run, events, spend = asyncio.run(site.story(run_id))
    for event in events:
        apply(run, event)
        if isinstance(event, g.CallAdmitted):
            assert run.total_cost + run.reserved <= LIMIT, f"event {event.version} was admitted above the limit"
    bill = sum(model.bill)
    assert bill <= run.total_cost <= LIMIT
    assert sum(row.cost for row in spend) == run.total_cost
    assert (run.finished, run.reserved) == (True, 0)
    forfeits = [event for event in events if isinstance(event, g.CallForfeited)]
    assert forfeits
    assert all(event.call_id and event.reason and event.amount for event in forfeits)
    settled = {event.call_id for event in events if isinstance(event, g.CallSettled) and event.outcome == "used"}
    assert len(model.bill) <= len(settled | {event.call_id for event in forfeits})
    assert [event.reason for event in events if isinstance(event, e.AttemptLost)]
    fan = run.places[0].fan
    assert fan is not None
    outcomes = Counter(fan.statuses)
    assert outcomes[1] + outcomes[2] == BRANCHES
    assert 10 < outcomes[1] < 2 * BRANCHES // 3
    codes = {event.code for event in events if isinstance(event, e.ActivityFailed)}
    assert codes == {"budget_exceeded"}
