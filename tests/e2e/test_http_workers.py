"""A server, and workers that only know its address: SIGKILL of the one, of the others, of both at a time."""

from __future__ import annotations

import asyncio
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from tests.e2e.model_server import INPUT_NANO, OUTPUT_NANO, ModelServer

import headgate
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.codec import decode
from headgate.core.definition import Definition
from headgate.core.fold import apply
from headgate.core.plan import load_plan
from headgate.core.run import Run
from headgate.stores.sqlite import SqliteLog

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")]

RUNS, ITEMS = 24, 4
MAX_TOKENS = 50
LIMIT = 3 * (6 * INPUT_NANO + MAX_TOKENS * OUTPUT_NANO)
"""Worst cases of three calls: the fourth of a run goes through where the others have cost less."""
FLOW = f"""
name: asks
inputs: {{n: integer}}
budget: {LIMIT / 1e9:.9f}
activities:
  ask:
    use: llm_prompt
    for_each: "{{{{ range({ITEMS}) }}}}"
    on_failure: continue
    retry: 5
    with: {{model: fake/m, prompt: "Is {{{{ ITEM }}}} a number?", max_tokens: {MAX_TOKENS}}}
  double: {{use: double, with: {{n: "{{{{ INPUT.n }}}}"}}, depends_on: [ask]}}
"""
MODULE = """
import headgate

@headgate.activity
def double(n: int) -> dict[str, int]:
    return {"n": 2 * n}
"""
OUTCOMES = (e.ActivityCompleted, e.AttemptFailed, e.AttemptLost, e.AttemptTimedOut)
SECONDS_MAX = 120.0
"""On a machine that has much else to do; by itself it takes a quarter of a minute."""


class Site:
    """A server that begins on the same port again, its workers, and what kills them at the model's requests.

    A worker that is killed has a lease, and what it held comes back when that is over, or when the server begins again:
    so the last to be killed are both."""

    def __init__(self, folder: Path, seed: int) -> None:
        chance = random.Random(seed)
        numbers = sorted(chance.sample(range(4, RUNS * ITEMS // 2), 4))
        first = chance.sample(["worker", "worker", "server"], 3)
        self._plan = dict(zip(numbers, [*first, "both"], strict=True))
        self.killed: Counter[str] = Counter()
        self.folder = folder
        self.database = folder / "hg.db"
        self.model = ModelServer(seed, self._on_request)
        self.url = f"http://127.0.0.1:{_free_port()}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._begun = 0
        self._asked: queue.SimpleQueue[tuple[str, str, threading.Event] | None] = queue.SimpleQueue()
        self._killer = threading.Thread(target=self._kill_as_planned)

    def __enter__(self) -> Self:
        (self.folder / "prices.yaml").write_text(
            f"fake/m: {{input: {INPUT_NANO / 1e3}, output: {OUTPUT_NANO / 1e3}}}\n"
        )
        (self.folder / "mine.py").write_text(MODULE)
        self.model.__enter__()
        self._killer.start()
        self.begin_server()
        self.begin_worker()
        self.begin_worker()
        return self

    def __exit__(self, *problem: object) -> None:
        if problem[0] is not None:
            for file in sorted(self.folder.glob("*.txt")):
                print(f"{file.name}:\n{file.read_text()}")
        self._asked.put(None)
        self._killer.join()
        for key in list(self._processes):
            self._kill(key)
        self.model.__exit__()

    def begin_server(self) -> None:
        port = self.url.rpartition(":")[2]
        self._begin("server", "dev", "--port", port, "--no-worker", "--db", str(self.database), "--activities", "mine")

    def begin_worker(self) -> None:
        self._begun += 1
        key = f"worker-{self._begun}"
        self._begin(key, "worker", "--url", self.url, "--id", key, "--concurrency", "3", "--activities", "mine")

    def _begin(self, key: str, *words: str) -> None:
        environment = {
            **os.environ,
            "HEADGATE_PROVIDER_FAKE_BASE_URL": self.model.url,
            "HEADGATE_PROVIDER_FAKE_API_KEY": key,
            "HEADGATE_PRICES": str(self.folder / "prices.yaml"),
            "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(self.folder)])),
        }
        with (self.folder / f"{key}.txt").open("ab") as said:
            self._processes[key] = subprocess.Popen(
                [sys.executable, "-m", "headgate", *words], cwd=self.folder, env=environment, stdout=said, stderr=said
            )

    def _kill(self, key: str) -> None:
        process = self._processes.pop(key)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def _on_request(self, number: int, key: str) -> None:
        if (kind := self._plan.get(number)) is not None:
            done = threading.Event()
            self._asked.put((kind, key, done))
            done.wait(SECONDS_MAX)

    def _kill_as_planned(self) -> None:
        while (asked := self._asked.get()) is not None:
            kind, key, done = asked
            if key in self._processes and kind in ("worker", "both"):
                self._kill(key)
                self.killed["worker"] += 1
            if kind in ("server", "both"):
                self._kill("server")
                self.begin_server()
                self.killed["server"] += 1
            if kind in ("worker", "both"):
                self.begin_worker()
            done.set()

    async def stories(self, run_ids: list[str]) -> list[tuple[Run, list[e.Event], list[Any]]]:
        """Return each run as its log leaves it, before any event, with its events and its bill."""
        log = SqliteLog(self.database, read_only=True)
        try:
            return [await _story(log, run_id) for run_id in run_ids]
        finally:
            await log.close()


async def _story(log: SqliteLog, run_id: str) -> tuple[Run, list[e.Event], list[Any]]:
    row = await log.run(run_id)
    assert row is not None
    found = await log.definition(row.workflow, row.definition)
    assert found is not None
    run = Run(run_id, load_plan(msgspec.json.decode(found[1], type=Definition)))
    events = [decode(stored.data)[0] for stored in await log.events(row.key, limit=100_000)]
    return run, events, list(await log.spend(run_id))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def _answers(client: headgate.AsyncClient) -> None:
    while True:
        with suppress(headgate.Unavailable):
            await client.deploy(FLOW)
            return


@pytest.mark.parametrize("seed", [1, 2])
def test_runs_of_workers_over_http_end_with_one_outcome_an_attempt_and_within_their_budgets_whoever_is_killed(
    tmp_path: Path, seed: int
):
    async def whole(site: Site) -> list[str]:
        async with headgate.AsyncClient(site.url) as client, asyncio.timeout(SECONDS_MAX):
            await _answers(client)
            handles = [await client.start("asks", {"n": number}) for number in range(RUNS)]
            results = await asyncio.gather(*(handle.result() for handle in handles))
            assert [(one.status, one.outputs["double"]) for one in results] == [
                ("completed", {"n": 2 * number}) for number in range(RUNS)
            ]
        return [handle.id for handle in handles]

    with Site(tmp_path, seed) as site:
        run_ids = asyncio.run(whole(site))

    assert site.killed["server"] == 2
    assert site.killed["worker"] >= 1
    stories = asyncio.run(site.stories(run_ids))
    for run, events, spend in stories:
        for event in events:
            apply(run, event)
            if isinstance(event, g.CallAdmitted):
                assert run.total_cost + run.reserved <= LIMIT, f"event {event.version} was admitted above the limit"
        assert (run.finished, run.reserved) == (True, 0)
        assert sum(row.cost for row in spend) == run.total_cost
        outcomes = Counter((event.place, event.attempt) for event in events if isinstance(event, OUTCOMES))
        assert set(outcomes.values()) == {1}
    every = [event for _, events, _ in stories for event in events]
    assert [event for event in every if isinstance(event, e.AttemptLost)]
    assert [event for event in every if isinstance(event, g.CallForfeited)]
    assert sum(site.model.bill) <= sum(run.total_cost for run, _, _ in stories)
