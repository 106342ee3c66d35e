"""Many nodes on one PostgreSQL database: whatever is killed, runs finish, and nothing acknowledged is lost.

Nodes are real processes on a real server of their own. Leases are short here, so that a test waits for few seconds.
`NODES_RUNS=1000` makes the matrix as long as the issue wants it.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from tests.postgres_logs import emptied
from tests.servers import PrivatePostgres, private_postgres

from headgate.core import events as e
from headgate.stores.postgres import PostgresLog
from headgate.testing.crash_evidence import Evidence, gather_from, problems_of_books

pytestmark = pytest.mark.slow

SCHEMA = "nodes"
LEASE_SECONDS = 12.0
RUNS = int(os.environ.get("NODES_RUNS", "45"))
PATIENCE_SECONDS = max(90.0, RUNS * 0.5)
KILLS = max(4, RUNS // 25)
ROOT = Path(__file__).parents[2]


class Node:
    """A process, and what it has said."""

    def __init__(self, server: PrivatePostgres, journal: Path, name: str, **order: Any) -> None:
        wanted = {
            "url": server.url,
            "schema": SCHEMA,
            "journal": str(journal),
            "name": name,
            "starts": 0,
            "lease_seconds": LEASE_SECONDS,
            **order,
        }
        with (journal.parent / f"{name}.err").open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.node_child", msgspec.json.encode(wanted).decode()],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        self.told: list[str] = []
        self.ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            word, _, run_id = line.strip().partition(" ")
            if word == "told" and line.endswith("\n"):  # or a kill has cut it off
                self.told.append(run_id)
            elif word == "ready":
                self.ready.set()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._close()

    def _close(self) -> None:
        self._reader.join(5)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def end(self) -> int:
        """Close its stdin, and return how it ended."""
        assert self.process.stdin is not None
        if self.process.poll() is None:
            self.process.stdin.close()
        code = self.process.wait(timeout=60)
        self._close()
        return code


class Site:
    """A server, the nodes on it, and what they have witnessed."""

    def __init__(self, server: PrivatePostgres, folder: Path) -> None:
        self.server = server
        self.journal = folder / "journal"
        self.folder = folder
        self.nodes: list[Node] = []
        self.all: list[Node] = []

    def node(self, **order: Any) -> Node:
        node = Node(self.server, self.journal, f"node-{len(self.all)}", **order)
        self.nodes.append(node)
        self.all.append(node)
        return node

    def kill(self, node: Node) -> None:
        self.nodes.remove(node)
        node.kill()

    @property
    def told(self) -> set[str]:
        return {run_id for node in self.all for run_id in node.told}

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for something that another process does."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < until, f"{what}: not within {PATIENCE_SECONDS:g} s\n{self.said()}"
            time.sleep(0.1)

    def said(self) -> str:
        return "\n".join(path.read_text()[-2_000:] for path in sorted(self.folder.glob("*.err")))

    def sql(self, statement: str, *parameters: object) -> list[asyncpg.Record]:
        async def ask() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.server.url, server_settings={"search_path": SCHEMA})
            try:
                return await connection.fetch(statement, *parameters)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def unfinished(self) -> int:
        """Runs that have not ended, or have something to tell yet."""
        return self.sql("select count(*) from runs where finished_at is null or attention_at is not null")[0][0]

    def evidence(self) -> Evidence:
        async def gathered() -> Evidence:
            log = PostgresLog(self.server.url, schema=SCHEMA)
            try:
                return await gather_from(log, self.journal)
            finally:
                await log.close()

        return asyncio.run(gathered())

    def finish(self) -> Evidence:
        """See all runs to their end, end the nodes, and return the evidence, in which nothing is wrong."""
        self.until(lambda: self.unfinished() == 0, "all runs are finished")
        ends = [node.end() for node in self.nodes]
        assert ends == [0] * len(ends), self.said()
        evidence = self.evidence()
        assert problems_of_books(evidence, interrupted=True) == []
        assert not self.told - set(evidence.runs), "a start that was acknowledged is lost"
        assert {run.head.status for run in evidence.runs.values()} == {"completed"}, [
            run.head.error for run in evidence.runs.values() if run.head.error
        ]
        assert self.sql("select * from queue") == []
        assert outcomes_of_one_attempt(evidence) == 1
        return evidence


def outcomes_of_one_attempt(evidence: Evidence) -> int:
    """Return the most outcomes that any attempt has."""
    ends = (e.ActivityCompleted, e.AttemptFailed, e.AttemptTimedOut, e.AttemptLost)
    counted = Counter((one.run_id, one.place, one.attempt) for one in evidence.events if isinstance(one, ends))
    return max(counted.values())


@pytest.fixture(scope="module")
def server() -> Iterator[PrivatePostgres]:
    with private_postgres() as started:
        yield started


@pytest.fixture
def site(server: PrivatePostgres, tmp_path: Path) -> Iterator[Site]:
    asyncio.run(emptied(server.url, SCHEMA))
    made = Site(server, tmp_path)
    yield made
    for node in made.all:
        node.kill()


def test_nodes_share_the_work_and_each_attempt_is_worked_on_once(site: Site):
    for _ in range(2):
        site.node(starts=RUNS // 3)
    site.until(lambda: all(node.ready.is_set() for node in site.nodes), "both have started their runs")

    evidence = site.finish()

    executed = Counter(
        (line["run"], line["place"], line["attempt"]) for line in evidence.journal if line["kind"] == "executed"
    )
    assert set(executed.values()) == {1}
    assert evidence.forfeits == 0
    assert evidence.ledger == evidence.bill > 0


def test_whatever_is_killed_all_runs_finish_and_nothing_acknowledged_is_lost(site: Site):
    draw = random.Random(int(os.environ.get("NODES_SEED", "7")))
    for _ in range(3):
        site.node(starts=RUNS // 3, pause_seconds=0.02)
    site.until(lambda: len(site.told) >= RUNS // 4, "some runs have been started")

    for number in range(KILLS):
        what = ("node", "backend", "two nodes", "server")[number % 4]
        if what == "server":
            site.server.kill()
            site.server.start()
        elif what == "backend":
            site.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'headgate' order by random() limit 3"
            )
        else:
            for node in draw.sample(site.nodes, 1 if what == "node" else 2):
                site.kill(node)
                site.node(starts=RUNS // 9)
        time.sleep(draw.uniform(0.2, 1.0))

    evidence = site.finish()
    lost = sum(isinstance(event, e.AttemptLost) for event in evidence.events)
    print(f"{len(evidence.runs)} runs, {KILLS} kills, {lost} attempts lost, {evidence.forfeits} calls forfeited")
    assert lost > 0, "nothing was under way when its node was killed"


def test_what_a_killed_node_held_is_taken_over_within_its_lease_and_five_seconds(site: Site):
    first = site.node(starts=9)
    site.until(lambda: first.ready.is_set() and held(site) > 0, "something is under way")
    site.kill(first)
    left = {tuple(row) for row in site.sql("select run_id, place, attempt from queue where lease_until is not null")}
    assert left
    site.node()

    site.until(lambda: all(row not in left for row in leased(site)), "every lease of the dead is over")

    evidence = site.finish()
    ended = {
        (event.run_id, event.place, event.attempt): event.at
        for event in evidence.events
        if isinstance(event, e.AttemptLost)
    }
    claimed = max(
        event.at for event in evidence.events if isinstance(event, e.ActivityScheduled) and event.attempt == 1
    )
    assert left & set(ended)
    late = max(at - claimed for at in ended.values()) / 1_000_000
    assert late < LEASE_SECONDS + 5 + 5, f"taken over {late:.1f} s after the last claim"


def held(site: Site) -> int:
    return len(leased(site))


def leased(site: Site) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in site.sql("select run_id, place, attempt from queue where lease_until is not null")]


def test_a_node_that_sleeps_beyond_its_lease_is_fenced_when_it_wakes(site: Site):
    zombie = site.node(starts=9)
    site.until(lambda: zombie.ready.is_set() and held(site) > 0, "something is under way")
    zombie.signal(signal.SIGSTOP)
    before = set(leased(site))
    assert before
    site.node()
    site.until(lambda: not before & set(leased(site)), "another has taken over")
    taken_over = site.evidence()

    zombie.signal(signal.SIGCONT)

    evidence = site.finish()
    lost = {
        (event.run_id, event.place, event.attempt) for event in taken_over.events if isinstance(event, e.AttemptLost)
    }
    completed = {
        (event.run_id, event.place, event.attempt)
        for event in evidence.events
        if isinstance(event, e.ActivityCompleted)
    }
    assert lost
    assert not lost & completed
