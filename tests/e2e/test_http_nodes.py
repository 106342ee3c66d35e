"""Nodes that serve, workers that only know an address, clients that insist: whatever is killed, and two at a time.

Everything is a real process and speaks over HTTP with a login. No run can end before all are started and signalled, so
all of them are in flight while things are killed. `HTTP_KILLS_RUNS=1000 HTTP_KILLS_SEED=$RANDOM` is the size that was
asked for; the seed is printed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from tests.e2e.http_site import PATIENCE_SECONDS, Process, Site, Witness
from tests.e2e.model_server import INPUT_NANO, OUTPUT_NANO
from tests.servers import PrivatePostgres, private_postgres

from headgate.client.http import HttpClient
from headgate.client.http_line import ServerAway
from headgate.core import events as e
from headgate.core.codec import content_value
from headgate.core.gate_events import CallSettled
from headgate.ports import StartRequest
from headgate.testing.crash_evidence import Evidence, gather_from, problems_of_log

pytestmark = pytest.mark.slow

RUNS = int(os.environ.get("HTTP_KILLS_RUNS", "60"))
SEED = int(os.environ.get("HTTP_KILLS_SEED", "7"))
KILLS = max(8, RUNS // 25)
WORKERS, SLOTS = 4, 2
NAP_SECONDS_MAX = KILLS * WORKERS * SLOTS / RUNS
"""So long may a model or an activity take: there is work under way for about as long as things are killed."""
CLIENTS = 20
ANSWERS = 20
"""Whoever has answered so often has had the time to answer all that was asked before."""
ITEMS = 60
"""Of one run, reported side by side."""
MAX_TOKENS = 50
WORST_CASE = 6 * INPUT_NANO + MAX_TOKENS * OUTPUT_NANO
FLOW = f"""
name: asks
inputs: {{n: integer}}
budget: {2 * WORST_CASE / 1e9:.9f}
activities:
  ask:
    use: llm_prompt
    for_each: "{{{{ range(2) }}}}"
    on_failure: continue
    retry: 5
    with: {{model: fake/m, prompt: "Is {{{{ ITEM }}}} a number?", max_tokens: {MAX_TOKENS}}}
  note: {{use: note, with: {{n: "{{{{ INPUT.n }}}}"}}, depends_on: [ask], wait_for: go}}
  tell: {{use: tell, queue: witness, with: {{n: "{{{{ INPUT.n }}}}"}}, depends_on: [note]}}
"""
FAN = """
name: fan
inputs: {count: integer}
activities: {tell: {use: tell, queue: witness, for_each: "{{ range(INPUT.count) }}", with: {n: 1}}}
"""
FAR = "name: far\nactivities: {tell: {use: tell, queue: witness, with: {n: 1}}}"
GO = {"signal_name": "go"}
OUTCOMES = (e.ActivityCompleted, e.AttemptFailed, e.AttemptLost, e.AttemptTimedOut)


@pytest.fixture(scope="module")
def server() -> Iterator[PrivatePostgres]:
    with private_postgres() as started:
        yield started


async def evidence_of(site: Site) -> Evidence:
    async with site.log() as log:
        return await gather_from(log, site.journal)


def outputs_by_attempt(evidence: Evidence) -> dict[tuple[str, str, int], str]:
    """Return, for each attempt that has completed, the claim that its output names."""
    named: dict[tuple[str, str, int], str] = {}
    for row, event in zip(evidence.rows, evidence.events, strict=True):
        if isinstance(event, e.ActivityCompleted) and row.content is not None:
            value = content_value(row.content)
            if isinstance(value, dict) and "by" in value:
                named[event.run_id, event.place, event.attempt] = value["by"]
    return named


def attempt_of(activity_id: str) -> tuple[str, str, int]:
    run, place, attempt, _ = activity_id.split("/")
    return run, place, int(attempt)


# --- Kills -----------------------------------------------------------------------------------------------------------


class Killer:
    """Kills, in an order that its seed draws, each kind of thing and two things at a time."""

    def __init__(self, site: Site, server: PrivatePostgres, crowd: Crowd, seed: int) -> None:
        self._site = site
        self._server = server
        self._crowd = crowd
        self._draw = random.Random(seed)
        self._rounds = self._plan()
        self.done: Counter[str] = Counter()
        self.at_work = 0
        """How many workers had something in hand when they were killed."""

    def _plan(self) -> Iterator[tuple[str, ...]]:
        while True:
            alone = [(kind,) for kind in ("node", "worker", "backend", "server", "commit", "recovery")]
            two = [tuple(self._draw.sample(["node", "node", "worker", "backend", "server"], 2)) for _ in range(2)]
            yield from self._draw.sample([*alone, *two], len(alone) + len(two))

    async def work(self, count: int) -> None:
        for _ in range(count):
            await self.kill(next(self._rounds))
            await asyncio.sleep(self._draw.uniform(0.1, 0.8))

    async def kill(self, kinds: Sequence[str]) -> None:
        """Kill these at the same time; return when all are there again."""
        acts = {"node": self._node, "worker": self._worker, "backend": self._backends, "server": self._postgres}
        acts |= {"commit": self._node_in_mid_commit, "recovery": self._server_in_recovery}
        nodes = iter(self._draw.sample(self._site.nodes, len(self._site.nodes)))
        await asyncio.gather(*(acts[kind](next(nodes)) for kind in kinds))
        await asyncio.gather(*(node.ready() for node in self._site.nodes))
        self.done[" and ".join(sorted(kinds))] += 1

    async def _node(self, node: Process) -> None:
        node.kill()
        node.begin()

    async def _worker(self, node: Process) -> None:
        """Kill one that is at work, where there is one, and begin another."""
        busy: set[str] = set()

        async def somebody_works_or_all_is_done() -> bool:
            rows = await self._asked("select worker, lease_until is not null from queue where queue <> 'witness'")
            busy.update(row[0] for row in rows if row[1])
            return bool(busy) or not rows

        await self._site.until(somebody_works_or_all_is_done, "a worker has something in hand")
        alive = [worker for worker in self._site.workers if worker.begun]
        at_work = [worker for worker in alive if worker.name in busy]
        self.at_work += bool(at_work)
        self._draw.choice(at_work or alive).kill()
        self._site.begin_worker(node, concurrency=SLOTS)

    async def _backends(self, node: Process) -> None:
        await self._asked(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'headgate' order by random() limit 3"
        )

    async def _asked(self, statement: str) -> list[asyncpg.Record]:
        """Ask the server, which may be killed at this very moment."""
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return await self._site.sql(statement)
        return []

    async def _postgres(self, node: Process) -> None:
        await asyncio.to_thread(self._server.kill)
        await asyncio.to_thread(self._server.start)

    async def _node_in_mid_commit(self, node: Process) -> None:
        """Whatever this node has answered by now must be in the log, for what it was about to commit never will be."""
        number = self._crowd.one_more()
        async with self._site.commits_held() as some_commit_waits:
            starting = asyncio.ensure_future(self._crowd.start(number, self._site.client(node, patience_seconds=0)))
            await some_commit_waits()
            for _ in range(ANSWERS):
                await node.ready()
            node.kill()
        await asyncio.gather(starting, return_exceptions=True)
        node.begin()
        await node.ready()
        await self._crowd.start(number)

    async def _server_in_recovery(self, node: Process) -> None:
        """Kill all nodes, and PostgreSQL as soon as one that begins again is at it."""
        for one in self._site.nodes:
            one.kill()
        for one in self._site.nodes:
            one.begin()

        async def connected() -> bool:
            statement = "select count(*) from pg_stat_activity where application_name = 'headgate'"
            return (await self._site.sql(statement))[0][0] > 0

        await self._site.until(connected, "a node looks at the log")
        await self._postgres(node)


class Crowd:
    """Clients that start and signal runs, and insist."""

    def __init__(self, site: Site) -> None:
        self._clients = [site.client(node) for node in site.nodes]
        self._count = RUNS
        self._signalled: set[int] = set()
        self.started: dict[int, str] = {}

    def one_more(self) -> int:
        """Return the number of a run beside those that are asked for."""
        self._count += 1
        return self._count - 1

    async def start(self, number: int, client: HttpClient | None = None) -> None:
        client = client or self._clients[number % len(self._clients)]
        request = StartRequest(workflow="asks", input={"n": number}, command_id=f"start-{number}")
        run = (await client.start(request)).id
        assert self.started.setdefault(number, run) == run, "a start that was acknowledged is forgotten"

    async def signal(self, number: int) -> None:
        client = self._clients[number % len(self._clients)]
        await client.signal(self.started[number], "go", command_id=f"go-{number}")
        self._signalled.add(number)

    async def start_all(self) -> None:
        await _each(range(RUNS), self.start)

    async def signal_all(self) -> None:
        """Signal those that have been started by now and had no signal."""
        await _each(sorted(self.started.keys() - self._signalled), self.signal)


async def _each(numbers: Sequence[int], act: Callable[[int], Awaitable[None]]) -> None:
    """Do it for all, so many at a time."""
    left = iter(numbers)

    async def one_after_the_other() -> None:
        for number in left:
            await act(number)

    await asyncio.gather(*(one_after_the_other() for _ in range(CLIENTS)))


def test_whatever_is_killed_all_runs_finish_and_nothing_acknowledged_is_lost(tmp_path: Path, server: PrivatePostgres):
    print(f"HTTP_KILLS_RUNS={RUNS} HTTP_KILLS_SEED={SEED}")

    async def scene() -> None:
        async with Site(tmp_path, server, seed=SEED, nap_seconds=NAP_SECONDS_MAX) as site:
            for _ in range(2):
                site.begin_node()
            await asyncio.gather(*(node.ready() for node in site.nodes))
            await site.client(site.nodes[0]).deploy(FLOW)
            for number in range(WORKERS):
                site.begin_worker(site.nodes[number % 2], concurrency=SLOTS)
            witness, crowd = Witness(site), Crowd(site)
            killer = Killer(site, server, crowd, SEED)
            witnessing = [asyncio.ensure_future(witness.work(node)) for node in site.nodes]

            starting = asyncio.ensure_future(crowd.start_all())
            await site.until(lambda: len(crowd.started) >= RUNS // 4, "some runs have been started")
            await killer.work(KILLS // 2)
            await starting
            in_flight = (await site.sql("select count(*) from runs where finished_at is null"))[0][0]
            killing = asyncio.ensure_future(killer.work(KILLS - KILLS // 2))
            await crowd.signal_all()
            await killing
            await crowd.signal_all()
            await finished(site)

            for task in witnessing:
                task.cancel()
            assert [await node.end() for node in site.nodes] == [0] * len(site.nodes)
            assert in_flight >= RUNS
            evidence = await evidence_of(site)
            hold_to_promises(site, evidence, crowd, witness)
            lost = sum(isinstance(event, e.AttemptLost) for event in evidence.events)
            print(
                f"{RUNS} runs, killed: {dict(killer.done)}; {lost} attempts lost, {evidence.forfeits} calls forfeited"
            )
            assert lost > 0 or not killer.at_work

    asyncio.run(scene())


async def finished(site: Site) -> None:
    """Return when all runs are; whoever makes no progress for long has failed."""
    left = 2 * RUNS
    while left:
        before = left

        async def fewer(before: int = before) -> bool:
            nonlocal left
            left = (await site.sql("select count(*) from runs where finished_at is null"))[0][0]
            return left < before or left == 0

        await site.until(fewer, f"fewer than {before} runs are unfinished")


def hold_to_promises(site: Site, evidence: Evidence, crowd: Crowd, witness: Witness) -> None:
    assert set(crowd.started.values()) == set(evidence.runs), "what was acknowledged and what is there differ"
    heads = [run.head for run in evidence.runs.values()]
    assert {head.status for head in heads} == {"completed"}, [head.error for head in heads if head.error]
    assert problems_of_log(evidence) == []
    outcomes = Counter((one.run_id, one.place, one.attempt) for one in evidence.events if isinstance(one, OUTCOMES))
    assert set(outcomes.values()) == {1}
    completed = outputs_by_attempt(evidence)
    not_kept = {claim for claim in witness.accepted if completed.get(attempt_of(claim)) != claim}
    assert not not_kept, "outputs that were acknowledged are not in the log"
    executed = Counter((line["run"], line["place"], line["attempt"]) for line in site.executed)
    assert set(executed.values()) == {1}, [attempt for attempt, count in executed.items() if count > 1]
    hold_to_bill(evidence, site.model.bill)


def hold_to_bill(evidence: Evidence, bill: list[int]) -> None:
    """Every call that was settled is one that the provider charged, once; what was not settled is forfeited."""
    settled = Counter(
        event.cost for event in evidence.events if isinstance(event, CallSettled) and event.outcome == "used"
    )
    assert settled <= Counter(bill)
    assert sum(bill) <= evidence.ledger
    assert sum(settled.values()) <= len(bill) <= sum(settled.values()) + evidence.forfeits
    assert evidence.ledger <= len(evidence.runs) * 2 * WORST_CASE


# --- What is acknowledged --------------------------------------------------------------------------------------------


def test_while_no_commit_is_possible_nothing_is_acknowledged_and_who_insists_gets_it_once(
    tmp_path: Path, server: PrivatePostgres
):
    async def scene() -> None:
        async with Site(tmp_path, server) as site:
            node = site.begin_node()
            await node.ready()
            hasty, patient = site.client(node, patience_seconds=0), site.client(node)
            witness = Witness(site)
            protocol, line = site.protocol(node, patience_seconds=0), site.line(node, patience_seconds=0)
            await patient.deploy(FAR)
            held = (await patient.start(StartRequest(workflow="far", command_id="held"))).id
            (task,) = await protocol.poll(["witness"], worker_id="witness", count=1, wait_seconds=20)

            async with site.commits_held() as some_commit_waits:
                asked: list[asyncio.Future[object]] = [
                    asyncio.ensure_future(hasty.start(StartRequest(workflow="far", command_id="new"))),
                    asyncio.ensure_future(line.post(f"/workflows/{held}/signal", GO, None, key="go")),
                    asyncio.ensure_future(witness.report(protocol, task.activity_id)),
                ]
                await some_commit_waits()
                for _ in range(ANSWERS):  # whatever the node has to say by then, it says
                    await node.ready()
                node.kill()
            answers = await asyncio.gather(*asked, return_exceptions=True)
            node.begin()
            await node.ready()
            started = [(await patient.start(StartRequest(workflow="far", command_id="new"))).id for _ in range(2)]
            await patient.signal(held, "go", command_id="go")
            told = await witness.report(site.protocol(node), task.activity_id)

            assert [type(answer) for answer in answers] == [ServerAway] * 3, answers
            assert not told.stale
            evidence = await evidence_of(site)
            assert set(evidence.runs) == {held, *started}
            assert len(evidence.runs) == 2
            assert outputs_by_attempt(evidence) == {(held, "tell", 1): task.activity_id}
            assert sum(isinstance(event, e.SignalReceived) for event in evidence.events) == 1
            assert problems_of_log(evidence) == []

    asyncio.run(scene())


def test_of_reports_on_one_run_that_come_to_two_nodes_at_once_each_is_recorded(tmp_path: Path, server: PrivatePostgres):
    async def scene() -> None:
        async with Site(tmp_path, server) as site:
            for _ in range(2):
                site.begin_node()
            await asyncio.gather(*(node.ready() for node in site.nodes))
            client = site.client(site.nodes[0])
            await client.deploy(FAN)
            run = (await client.start(StartRequest(workflow="fan", input={"count": ITEMS}))).id
            ways = [site.protocol(node) for node in site.nodes]
            claims: list[str] = []
            while len(claims) < ITEMS:
                tasks = await ways[len(claims) % 2].poll(["witness"], worker_id="witness", count=7, wait_seconds=20)
                claims += [task.activity_id for task in tasks]

            witness = Witness(site)
            reports = [
                witness.report(ways[number % 2], claim, worker_id=f"witness-{number}")
                for number, claim in enumerate(claims)
            ]
            async with asyncio.timeout(PATIENCE_SECONDS):  # shorter than that of the way to the server, in `mutants`
                await asyncio.gather(*reports)

            assert witness.accepted == set(claims)
            completed = outputs_by_attempt(await evidence_of(site))
            assert completed == {attempt_of(claim): claim for claim in claims}
            assert (await client.show(run, wait_seconds=20)).status == "completed"

    asyncio.run(scene())
