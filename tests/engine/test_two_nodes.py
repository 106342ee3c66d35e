"""Two engines on one PostgreSQL database, in one process: any takes any command, and each hears of the other.

`deaf` nodes get no hints: what they learn, they learn by looking.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from tests.engine.engine_lab import ONE, TWO_CALLS
from tests.engine.shared_budgets.shop import Shop, asked, rule
from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url, sql

from headgate.app import App
from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.codec import decode
from headgate.core.errors import Refused, StaleAttempt
from headgate.engine import neighbours
from headgate.engine.audit import verify
from headgate.engine.budget_scopes import budget_id
from headgate.engine.clock import WallClock
from headgate.engine.start import Start
from headgate.ports import Admitted, Changed, Completed, Settlement, StartRequest, Tenant
from headgate.queues.store import HELD_TOGETHER_MAX
from headgate.stores.postgres import PostgresLog

PATIENCE_SECONDS = 12.0
KEY = {"HEADGATE_KEY": f"{'A' * 43}="}
TWO_DOORS = "name: doors\nactivities: {w: {wait_for: go}, a: {use: approval, after: [w]}}"
SLOW = "name: slow\nactivities: {a: {use: slow}}"
FAN = 'name: fan\nactivities: {all: {use: slow, for_each: "{{ INPUT.items }}"}}'


class Node:
    """An app on a log of its own."""

    def __init__(self, *, slow: Any = None, work: bool = True, ahead_seconds: int = 0) -> None:
        self.log = PostgresLog(server_url(), schema=SCHEMA)
        activities = {"slow": slow} if slow is not None else None
        clock = WallClock(wall=lambda: time.time_ns() + ahead_seconds * 1_000_000_000)
        self.app = App(self.log, clock=clock, environment=KEY, offline=True, work=work, activities=activities)
        self.engine = self.app.engine

    async def start(self, definition: str, given: Any = None, **fields: Any) -> str:
        return (await self.app.desk.start(StartRequest(definition=definition, input=given, **fields))).id

    async def act(self, run_id: str, command: c.Command) -> Any:
        return await self.engine.submit(run_id, command)


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (found := holds()):  # noqa: ASYNC110 - what is waited for happens in the engines' own tasks
            await asyncio.sleep(0.005)
        return found


async def within(work: Awaitable[Any]) -> Any:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await work


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("headgate.stores.postgres_queue.PostgresTasks.hear", nothing)
    monkeypatch.setattr(neighbours, "PATROL_SECONDS", 0.1)


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patrols that come soon, and sweep each time."""
    monkeypatch.setattr(neighbours, "PATROL_SECONDS", 0.1)
    monkeypatch.setattr(neighbours, "SWEEP_EVERY_PATROLS", 1)
    monkeypatch.setattr(neighbours, "LEFT_ALONE_MICROSECONDS", 300_000)


Scene = Callable[[Node, Node], Awaitable[None]]


def play(scene: Scene, *, one: dict[str, Any] | None = None, two: dict[str, Any] | None = None) -> None:
    """Play a scene on two nodes, and see that no engine has failed and the log is whole."""

    async def whole() -> None:
        first, second = Node(**(one or {})), Node(**(two or {}))
        async with first.app, second.app:
            await scene(first, second)
            for node in (first, second):
                assert node.engine.failures == []
            assert await verify(first.log) == []

    empty = empty_postgres_log()
    asyncio.run(empty.close())
    asyncio.run(whole())


# --- Any node takes any command ------------------------------------------------------------------------------------


def test_what_would_be_refused_is_decided_again_on_what_the_other_has_made_of_the_run():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS)
        await second.engine.lane(run_id)  # as it is before the approval is asked for
        await first.act(run_id, c.Signal(at=0, name="go"))
        await until(lambda: (lane := first.engine.loaded(run_id)).durable and lane.run.place("a").wait)

        await second.act(run_id, c.DecideApproval(at=0, key="a", approved=True, by="kim"))

        assert (await within(first.engine.finished(run_id))).head.status == "completed"

    play(scene)


@pytest.mark.parametrize("command_id", ["", "again"])
def test_a_run_that_the_other_has_erased_is_not_gone_on_with(command_id: str):
    async def fail() -> None:
        raise RuntimeError("not today")

    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start("name: failing\nactivities: {a: {use: slow}}")
        await within(first.engine.finished(run_id))
        lane = await first.engine.lane(run_id)  # as it is before the other erases it
        await second.app.desk.erase([run_id])

        with pytest.raises(Refused, match="was erased"):
            await lane.submit(c.Retry(at=first.app.clock.now(), command_id=command_id))

        row = await first.log.run(run_id)
        assert (row.head.status, row.erased) == ("failed", True)

    play(scene, one={"slow": fail}, two={"slow": fail})


def test_what_would_append_nothing_is_decided_again_on_what_the_other_has_made_of_the_run():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS)
        await first.act(run_id, c.Pause(at=0))
        await second.engine.news.lane_now(run_id)
        await first.act(run_id, c.Resume(at=0))

        decision = await second.act(run_id, c.Pause(at=0))  # there it is paused already

        assert [type(event) for event in decision.events] == [e.RunPaused]
        assert (await first.app.desk.show(run_id)).status == "paused"

    play(scene)


def test_a_refusal_that_is_true_stays_one():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS)
        await first.act(run_id, c.Cancel(at=0))

        with pytest.raises(Refused):
            await second.act(run_id, c.Resume(at=0))

    play(scene)


def test_commands_to_both_nodes_at_once_are_all_taken():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS)
        signals = [
            node.act(run_id, c.Signal(at=0, name=f"other-{number}")) for number in range(10) for node in (first, second)
        ]

        await within(asyncio.gather(*signals))

        row = await first.log.run(run_id)
        events = [decode(stored.data)[0] for stored in await first.log.events(row.key)]
        names = Counter(event.name for event in events if isinstance(event, e.SignalReceived))
        assert names == {f"other-{number}": 2 for number in range(10)}

    play(scene)


def test_a_budget_is_raised_by_so_much_more_than_the_other_node_has_made_it():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS, limit=100)
        await second.engine.news.lane_now(run_id)
        await first.app.desk.raise_budget(run_id, to=500)

        await second.app.desk.raise_budget(run_id, more=50)

        assert (await first.log.run(run_id)).limit == 550

    play(scene)


# --- News ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hints", ["heard", "lost"])
def test_who_waits_for_the_end_of_a_run_hears_of_it_from_the_other_node(hints: str, request: pytest.FixtureRequest):
    if hints == "lost":
        request.getfixturevalue("deaf")

    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS)
        waiting = asyncio.ensure_future(second.engine.finished(run_id))
        await asyncio.sleep(0.05)

        await first.act(run_id, c.Cancel(at=0))

        assert (await within(waiting)).head.status == "cancelled"

    play(scene)


@pytest.mark.parametrize("hints", ["heard", "lost"])
def test_who_watches_a_run_sees_what_the_other_node_makes_of_it(hints: str, request: pytest.FixtureRequest):
    if hints == "lost":
        request.getfixturevalue("deaf")

    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS)
        seen: list[str] = []
        following: list[str] = []

        async def watch() -> None:
            async for update in second.app.desk.watch(run_id):
                if isinstance(update, Changed):
                    seen.append(update.run.status)

        async def follow() -> None:
            async for page in second.app.doors.records.follow(run_id, after=0):
                following.extend(event.type for event in page)

        watching = [asyncio.ensure_future(watch()), asyncio.ensure_future(follow())]
        await until(lambda: seen and following)
        await first.act(run_id, c.Pause(at=0))
        await until(lambda: seen[-1] == "paused")
        await first.act(run_id, c.Cancel(at=0))
        await within(asyncio.gather(*watching))

        assert (seen[0], seen[-1]) == ("waiting", "cancelled")
        assert following[-1] == "run_cancelled"
        assert len(following) == (await first.log.run(run_id)).head.version

    play(scene)


@pytest.mark.parametrize("hints", ["heard", "lost"])
def test_a_call_that_waits_for_money_is_woken_when_the_other_node_settles(hints: str, request: pytest.FixtureRequest):
    if hints == "lost":
        request.getfixturevalue("deaf")

    async def scene(first: Node, second: Node) -> None:
        held = await claimed(first, limit=100)
        waits = await claimed(second)
        assert isinstance(await first.app.protocol.admit(held, call_id="held", request=ONE), Admitted)
        asking = asyncio.ensure_future(second.app.protocol.admit(waits, call_id="waits", request=ONE))
        run_id = waits.partition("/")[0]
        await until(lambda: (lane := second.engine.loaded(run_id)) and lane.run.waiting_calls)

        await first.app.protocol.settle(held, call_id="held", settlement=Settlement("never_sent"))

        assert isinstance(await within(asking), Admitted)

    play(scene, one={"work": False}, two={"work": False})


async def claimed(node: Node, limit: int | None = None) -> str:
    """Start a run below the budget `shared` on a node, and claim its first task there."""
    await node.engine.definitions.deploy(TWO_CALLS)
    start = Start(workflow=TWO_CALLS.name, limit=limit, outer=("shared",))
    row = await node.engine.start(start)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            for task in await node.app.protocol.poll(["mine"], worker_id="w", count=1, wait_seconds=1):
                if task.workflow_id == row.id:
                    return task.activity_id


# --- Tasks ---------------------------------------------------------------------------------------------------------


class Slow:
    """An activity that ends when it is told to, or is cancelled. It runs on a loop of its own."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.go = False

    async def run(self, parameters: dict[str, Any], ctx: Any) -> Any:
        self.begun.append(ctx.task.place)
        try:
            while not self.go:  # noqa: ASYNC110 - told from another thread
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.cancelled.append(ctx.task.place)
            raise
        return {}


def test_a_fan_out_spreads_over_the_nodes_and_no_item_is_done_twice():
    theirs = Slow()

    async def scene(first: Node, second: Node) -> None:
        asked = await first.app.queue.take(["std", "py-std"], worker_id="w", count=1_000, wait_seconds=0)
        assert asked == []  # a worker that would do them all, and then does none
        run_id = await first.start(FAN, {"items": list(range(60))})
        held = await sql("select count(*) from queue where holder = $1", first.app.queue.node)
        theirs.go = True

        await until(lambda: len(theirs.begun) == 60 - held[0]["count"])

        assert held[0]["count"] == HELD_TOGETHER_MAX
        await first.app.neighbours.close()  # as a node that ends does
        assert (await within(second.engine.finished(run_id))).head.status == "completed"
        assert len(set(theirs.begun)) == len(theirs.begun) == 60

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": theirs.run})


def test_a_cancel_on_the_other_node_stops_the_worker_at_once(monkeypatch: pytest.MonkeyPatch):
    slow = Slow()

    async def kept(_: Any, tasks: Sequence[Any], nodes: Sequence[str]) -> list[bool]:
        return [True] * len(tasks)

    monkeypatch.setattr("headgate.stores.postgres_queue.PostgresTasks.renew", kept)  # no heartbeat tells of it

    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(SLOW)
        await until(lambda: slow.begun)

        await second.app.desk.cancel(run_id)

        await until(lambda: slow.cancelled)
        assert (await within(second.engine.finished(run_id))).head.status == "cancelled"

    play(scene, one={"slow": slow.run}, two={"slow": Slow().run})


def test_a_cancel_on_the_other_node_is_learnt_at_the_next_heartbeat(deaf: None):
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(SLOW)
        (task,) = await within(first.app.protocol.poll(["std", "py-std"], worker_id="w", count=1, wait_seconds=5))
        assert await first.app.protocol.heartbeat(task.activity_id, worker_id="w") > 0

        await second.app.desk.cancel(run_id)

        with pytest.raises(StaleAttempt, match="was cancelled"):
            await first.app.protocol.heartbeat(task.activity_id, worker_id="w")
        with pytest.raises(StaleAttempt, match="was cancelled"):
            await second.app.protocol.heartbeat(task.activity_id, worker_id="w")
        await first.app.protocol.report([Completed(task.activity_id, {})], worker_id="w")
        assert (await within(second.engine.finished(run_id))).head.status == "cancelled"

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": Slow().run, "work": False})


def test_a_worker_may_poll_one_node_and_report_to_the_other():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(SLOW)
        (task,) = await within(second.app.protocol.poll(["std", "py-std"], worker_id="w", count=1, wait_seconds=5))

        (known,) = await first.app.protocol.report([Completed(task.activity_id, {"by": "w"})], worker_id="w")

        assert not known.stale
        assert (await within(second.engine.finished(run_id))).head.status == "completed"
        assert await sql("select * from queue") == []

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": Slow().run, "work": False})


def test_what_is_reported_to_the_other_node_or_given_up_by_it_is_kept_nowhere(brisk: None):
    async def scene(first: Node, second: Node) -> None:
        reported, abandoned = await first.start(SLOW), await first.start(SLOW)
        tasks = await within(second.app.protocol.poll(["std", "py-std"], worker_id="w", count=2, wait_seconds=5))
        tasks += await within(second.app.protocol.poll(["std", "py-std"], worker_id="w", count=1, wait_seconds=5))
        task = next(task for task in tasks if task.workflow_id == reported)
        over = [await second.app.queue.ended_elsewhere() for _ in range(3)]
        assert (over, len(second.app.queue.held())) == ([[], [], []], 2)

        await first.app.protocol.report([Completed(task.activity_id, {"by": "w"})], worker_id="w")
        await first.act(abandoned, c.LoseAttempt(at=0, place="a", attempt=1, reason="its worker died"))

        await until(lambda: second.app.queue.held() == [])
        assert not second.app.protocol._held

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": Slow().run, "work": False})


def test_a_node_that_claims_a_task_knows_of_what_made_it_due():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start("name: two\nactivities: {a: {use: slow}, b: {use: slow, after: [a]}}")
        await second.engine.lane(run_id)  # there `b` is not due
        (before,) = await within(first.app.protocol.poll(["std"], worker_id="w", count=1, wait_seconds=5))
        await first.app.queue.take(["std"], worker_id="w", count=0, wait_seconds=0)
        await first.app.protocol.report([Completed(before.activity_id, {})], worker_id="w")

        (task,) = await within(second.app.protocol.poll(["std"], worker_id="w", count=1, wait_seconds=20))

        assert (task.workflow_id, task.place) == (run_id, "b")

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": Slow().run, "work": False})


def test_a_task_of_a_paused_run_is_offered_again_on_whichever_node_resumes_it():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(SLOW)
        await first.act(run_id, c.Pause(at=0))
        assert await first.app.protocol.poll(["std", "py-std"], worker_id="w", count=1, wait_seconds=0) == []

        await second.act(run_id, c.Resume(at=0))

        (task,) = await within(second.app.protocol.poll(["std", "py-std"], worker_id="w", count=1, wait_seconds=20))
        assert task.workflow_id == run_id

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": Slow().run, "work": False})


def test_a_node_that_ends_leaves_what_its_workers_were_at_to_the_others_at_once():
    mine, theirs = Slow(), Slow()
    theirs.go = True

    async def whole() -> None:
        first, second = Node(slow=mine.run), Node(slow=theirs.run)
        async with second.app:
            async with first.app:
                asked = await second.app.queue.take(["std"], worker_id="w", count=1, wait_seconds=0)
                assert asked == []
                run_id = await first.start(SLOW)
                await until(lambda: mine.begun)

            row = await within(second.engine.finished(run_id))

            assert row.head.status == "completed"
            events = [decode(stored.data)[0] for stored in await second.log.events(row.key)]
            (lost,) = [event for event in events if isinstance(event, e.AttemptLost)]
            assert lost.reason == "its process has ended"

    asyncio.run(empty_postgres_log().close())
    asyncio.run(whole())


def test_tasks_whose_rows_got_lost_are_put_back(brisk: None):
    async def scene(first: Node, second: Node) -> None:
        runs = [await first.start(SLOW) for _ in range(5)]
        await sql("truncate queue")

        tasks = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(tasks) < 5:
                tasks += await second.app.protocol.poll(["std", "py-std"], worker_id="w", count=5, wait_seconds=5)

        assert {task.workflow_id for task in tasks} == set(runs)

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": Slow().run, "work": False})


@pytest.mark.parametrize("ahead_seconds", [0, 3_600])
def test_a_timer_of_a_run_that_nobody_has_loaded_fires(ahead_seconds: int, brisk: None):
    async def begin(first: Node, second: Node) -> None:
        runs.append(await first.start("name: t\nactivities: {w: {use: wait, with: {seconds: 1}}}"))
        await until(lambda: first.engine.loaded(runs[0]).run.place("w").wait)

    async def go_on() -> None:
        alone = Node()
        async with alone.app:
            async with asyncio.timeout(PATIENCE_SECONDS):  # asked of the log, for a run that is watched is loaded
                while not (row := await alone.log.run(runs[0])).head.finished_at:  # noqa: ASYNC110 - by a patrol
                    await asyncio.sleep(0.02)
            assert row.head.status == "completed"

    runs: list[str] = []
    play(begin, one={"ahead_seconds": ahead_seconds})
    asyncio.run(go_on())


# --- Clocks that are apart -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_seconds", [-3_600, 3_600])
def test_a_token_of_a_node_whose_machine_is_an_hour_off_is_good_at_the_other(ahead_seconds: int):
    async def scene(first: Node, second: Node) -> None:
        made = await first.app.auth.clients.create("default", "shop", ["runs:read"], by="ann")
        granted = await first.app.auth.token_for_client(made.client.id, made.secret)

        caller = await second.app.auth.identify_token(granted.access_token)

        assert caller.actor == "client:shop"

    play(scene, one={"ahead_seconds": ahead_seconds})


def test_what_a_node_takes_of_a_rate_whose_machine_is_an_hour_ahead_is_given_back_in_time_at_the_other():
    async def scene(first: Node, second: Node) -> None:
        await first.app.desk.set_tenant(Tenant(name="acme", starts_per_minute=6_000))
        async with await first.app.quotas.starting("acme"):
            pass

        async with await second.app.quotas.starting("acme"):  # without a word of waiting an hour
            pass

    play(scene, one={"ahead_seconds": 3_600, "work": False}, two={"work": False})


# --- Budgets -------------------------------------------------------------------------------------------------------


def test_a_budget_that_begins_anew_while_the_other_node_settles_counts_each_cost_once():
    """Whichever of the two locks the budget first: the other sees all that it has written."""

    async def scene(first: Node, second: Node) -> None:
        await first.app.budgets.set(rule(10_000))
        second.engine.shared.put(first.engine.shared.rules[0])
        shop = Shop(second)
        claims = [claim for _ in range(4) for claim in await shop.open(calls=10)]

        async def call(claim: str) -> None:
            assert isinstance(await shop.admit(claim, asked(10)), Admitted)
            await shop.settle(claim, 10)

        async def begin_anew() -> None:
            while not settled.done():
                first.engine.shared.remove(first.engine.shared.rules[0])
                await first.app.budgets.set(rule(10_000))

        settled = asyncio.gather(*map(call, claims))
        await within(asyncio.gather(settled, begin_anew()))

        stands = await first.log.budget(budget_id(rule(10_000), second.app.clock.now(), simulated=False))
        assert (stands.spent, stands.reserved) == (400, 0)

    play(scene, one={"work": False}, two={"work": False})
