"""The engine around the decider: lanes, conflicts, repeats, a log that fails, time limits, group commit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headgate.app import App
from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.definition import Activity, Definition
from headgate.core.errors import Invalid, Unavailable
from headgate.core.values import Candidate, Price, Usage
from headgate.engine import appender as appender_module
from headgate.engine import lane as lane_module
from headgate.engine import worker as worker_module
from headgate.ports import Admitted, CallRequest, Completed, Settlement
from headgate.stores.memory import MemoryLog

WAITS = "name: waits\nactivities: {a: {wait_for: never}, b: {use: echo}}"


def signal(name: str, command_id: str = "", data: Any = None) -> c.Signal:
    return c.Signal(at=0, name=name, command_id=command_id, data=data)


class FaultyLog(MemoryLog):
    """A log that does what a test tells it before a commit."""

    def __init__(self) -> None:
        super().__init__()
        self.before_commit: Any = None
        self.outcome: Any = None
        self.batches: list[int] = []

    async def commit(self, batch: Any) -> Any:
        self.batches.append(len(batch))
        if self.before_commit is not None:
            before, self.before_commit = self.before_commit, None
            await before()
        if self.outcome is not None:
            return [self.outcome] * len(batch)
        return await super().commit(batch)

    async def close(self) -> None:
        """Stays open: two engines share it."""


# --- Two writers --------------------------------------------------------------------------------------------------


def test_of_two_writers_the_slower_decides_again_upon_what_the_faster_wrote(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        other = App(log, clock=bench.clock, environment={}, offline=True, work=False)
        other.engine.open()

        async def overtake() -> None:
            await other.engine.submit(run_id, signal("theirs"))

        await bench.app.engine.lane(run_id)
        log.before_commit = overtake
        decision = await bench.app.engine.submit(run_id, signal("ours"))

        events = await bench.events(run_id)
        assert [event.version for event in events] == list(range(1, len(events) + 1))
        assert [event.name for event in events if isinstance(event, e.SignalReceived)] == ["theirs", "ours"]
        assert decision.events[0].version == events[-1].version
        await other.engine.close()

    play(scene, log, work=False)


def test_a_report_that_another_engine_recorded_first_is_not_recorded_twice(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        other = App(log, clock=bench.clock, environment={}, offline=True, work=False)
        other.engine.open()
        report = c.CompleteActivity(at=0, place="b", attempt=1, output="theirs")

        async def overtake() -> None:
            await other.engine.submit(run_id, report)

        log.before_commit = overtake
        decision = await bench.app.engine.submit(run_id, c.CompleteActivity(at=0, place="b", attempt=1, output="ours"))

        assert decision.events == []
        assert await bench.output(run_id, "b") == "theirs"
        await other.engine.close()

    play(scene, log, work=False)


def test_a_run_that_is_always_contended_is_unavailable_after_a_bounded_number_of_tries(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        log.outcome = "version_conflict"
        before = len(log.batches)

        with pytest.raises(Unavailable, match="is contended"):
            await bench.app.engine.submit(run_id, signal("go"))

        assert len(log.batches) - before == lane_module.CONFLICTS_MAX + 1
        log.outcome = None
        assert (await bench.app.engine.submit(run_id, signal("go"))).events

    play(scene, log, work=False)


# --- Repeats ------------------------------------------------------------------------------------------------------


def test_a_command_id_is_decided_once_whether_repeated_later_or_at_the_same_time(play):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        submit = bench.app.engine.submit

        answers = await asyncio.gather(*(submit(run_id, signal("go", "key")) for _ in range(3)))
        later = await submit(run_id, signal("go", "key"))

        assert sorted(len(answer.events) for answer in [*answers, later]) == [0, 0, 0, 1]
        assert len([event for event in await bench.events(run_id) if isinstance(event, e.SignalReceived)]) == 1

    play(scene, work=False)


def test_a_repeat_that_meets_others_in_the_lane_does_them_no_harm(play):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        lane = await bench.app.engine.lane(run_id)

        first = lane.submit(signal("go", "key"))
        crowd = [lane.submit(signal(f"other{number}")) for number in range(5)]
        repeated = lane.submit(signal("go", "key"))
        after = lane.submit(signal("last"))
        decisions = await asyncio.gather(first, *crowd, repeated, after)

        assert [len(decision.events) for decision in decisions] == [1, 1, 1, 1, 1, 1, 0, 1]

    play(scene, work=False)


def test_a_start_that_is_repeated_gives_the_run_of_the_first(play):
    async def scene(bench: Any) -> None:
        runs = [await bench.start(WAITS, command_id="key") for _ in range(2)]

        assert runs[0] == runs[1]
        assert len(await bench.log.runs()) == 1

    play(scene, work=False)


# --- Bad neighbours -----------------------------------------------------------------------------------------------


def test_a_command_that_cannot_be_stored_fails_alone(play):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        lane = await bench.app.engine.lane(run_id)

        answers = [
            lane.submit(signal("zero")),  # goes at once; the rest waits for it and goes together
            lane.submit(signal("one")),
            lane.submit(signal("bad", data=float("nan"))),
            lane.submit(signal("two")),
        ]
        outcomes = await asyncio.gather(*answers, return_exceptions=True)

        assert [type(outcome).__name__ for outcome in outcomes] == ["Decision", "Decision", "Invalid", "Decision"]
        assert isinstance(outcomes[2], Invalid)
        names = [event.name for event in await bench.events(run_id) if isinstance(event, e.SignalReceived)]
        assert names == ["zero", "one", "two"]

    play(scene, work=False)


# --- A log that fails ---------------------------------------------------------------------------------------------


def test_what_the_log_could_not_take_is_refused_and_can_be_asked_again(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        log.outcome = Unavailable("the disk is full")

        with pytest.raises(Unavailable, match="the disk is full"):
            await bench.app.engine.submit(run_id, signal("go"))
        log.outcome = None
        version = (await bench.log.run(run_id)).head.version
        decision = await bench.app.engine.submit(run_id, signal("go"))

        assert decision.events[0].version == version + 1

    play(scene, log, work=False)


def test_timers_go_on_after_the_log_was_away_for_a_while(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        run_id = await bench.start("name: t\nactivities: {w: {use: wait, with: {duration: 1m}}}")
        await bench.until(lambda: bench.clock.next_alarm is not None)
        log.outcome = Unavailable("away")
        before = len(log.batches)

        bench.clock.advance(seconds=60)
        await bench.until(lambda: len(log.batches) > before)
        log.outcome = None
        await bench.until(lambda: bench.clock.next_alarm is not None)
        bench.clock.advance(to=bench.clock.next_alarm)

        assert (await bench.finished(run_id)).head.status == "completed"

    play(scene, log)


def test_the_warden_lives_on_when_the_log_cannot_even_be_asked(play):
    class Deaf(MemoryLog):
        deaf = False

        async def due(self, now: int, limit: int) -> list[str]:
            if self.deaf:
                raise Unavailable("cannot read")
            return await super().due(now, limit)

    log = Deaf()

    async def scene(bench: Any) -> None:
        run_id = await bench.start("name: t\nactivities: {w: {use: wait, with: {duration: 1m}}}")
        await bench.until(lambda: bench.clock.next_alarm is not None)
        log.deaf = True
        bench.clock.advance(seconds=60)
        await asyncio.sleep(0.01)
        log.deaf = False
        await bench.until(lambda: bench.clock.next_alarm is not None)
        bench.clock.advance(to=bench.clock.next_alarm)

        assert (await bench.finished(run_id)).head.status == "completed"

    play(scene, log)


# --- Time ---------------------------------------------------------------------------------------------------------

TWO_CALLS = Definition(
    name="calls",
    activities=(
        Activity(key="a", name="x", queue="mine", timeout_seconds=100_000.0),
        Activity(key="b", name="x", queue="mine", timeout_seconds=300.0),
    ),
)
ONE = CallRequest("h", (Candidate("m/one", 60, Price(1, 1)),))


def test_the_time_that_a_call_waits_for_money_does_not_count_against_the_time_limit(play):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(TWO_CALLS, limit=100)
        protocol = bench.app.protocol
        first, second = await protocol.poll(["mine"], worker_id="w", count=2, wait_seconds=1)
        await protocol.admit(first.activity_id, call_id="c1", request=ONE)
        bench.clock.advance(seconds=200)

        waiting = asyncio.ensure_future(protocol.admit(second.activity_id, call_id="c2", request=ONE))
        await bench.until(lambda: bench.app.engine.loaded(run_id).run.waiting_calls)
        bench.clock.advance(seconds=5_000)
        await asyncio.sleep(0.01)
        await protocol.settle(first.activity_id, call_id="c1", settlement=Settlement.used(Usage(cost_nano=1)))
        assert isinstance(await waiting, Admitted)
        assert "b" in bench.app.engine.loaded(run_id).run.tasks
        bench.clock.advance(seconds=99)
        await asyncio.sleep(0.01)
        assert "b" in bench.app.engine.loaded(run_id).run.tasks, "it has 100 of its 300 s left"

        bench.clock.advance(seconds=2)
        await bench.until(lambda: "b" not in bench.app.engine.loaded(run_id).run.tasks)

    play(scene, work=False)


def test_several_calls_of_one_attempt_that_wait_at_once_do_not_lose_its_time_limit(play):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(TWO_CALLS, limit=100)
        protocol = bench.app.protocol
        first, second = await protocol.poll(["mine"], worker_id="w", count=2, wait_seconds=1)
        await protocol.admit(first.activity_id, call_id="c1", request=ONE)
        waiting = [
            asyncio.ensure_future(protocol.admit(second.activity_id, call_id=f"c{number}", request=ONE))
            for number in (2, 3)
        ]
        await bench.until(lambda: len(bench.app.engine.loaded(run_id).run.waiting_calls) == 2)
        await protocol.settle(first.activity_id, call_id="c1", settlement=Settlement("never_sent"))
        await waiting[0]
        await protocol.settle(second.activity_id, call_id="c2", settlement=Settlement("never_sent"))
        await waiting[1]

        bench.clock.advance(seconds=301)
        await bench.until(lambda: "b" not in bench.app.engine.loaded(run_id).run.tasks)

    play(scene, work=False)


def test_a_timer_is_not_put_off_by_a_message_of_another_run(play):
    child = Definition(name="child", activities=(Activity(key="x", name="echo", queue="nobody"),))

    async def scene(bench: Any) -> None:
        await bench.app.engine.definitions.deploy(child)
        timed = await bench.start("name: t\nactivities: {w: {use: wait, with: {duration: 1s}}}")
        await bench.until(lambda: bench.clock.next_alarm is not None)
        await bench.start("name: p\nactivities: {sub: {workflow: child}}")
        await bench.until(lambda: len(bench.app.engine._lanes) == 3)
        await asyncio.sleep(0.01)

        bench.clock.advance(seconds=1)

        assert (await bench.finished(timed)).head.status == "completed"

    play(scene)


@pytest.mark.parametrize(("cost", "least", "most"), [(100, 10, 10), (10, 90, 99)])
def test_of_a_hundred_calls_under_a_limit_for_ten_as_many_happen_as_their_real_cost_allows(
    play, cost: int, least: int, most: int
):
    crowd = Definition(
        name="crowd",
        activities=(Activity(key="a", name="x", queue="mine", for_each=list(range(100)), max_parallel=100),),
    )

    async def scene(bench: Any) -> None:
        run_id = await bench.start(crowd, limit=1_000)
        protocol = bench.app.protocol
        tasks = await protocol.poll(["mine"], worker_id="w", count=100, wait_seconds=1)
        happened: list[int] = []

        async def call(number: int, activity_id: str) -> None:
            request = CallRequest("h", (Candidate("m/one", 100, Price(1, 1)),))
            answer = await protocol.admit(activity_id, call_id=str(number), request=request)
            if isinstance(answer, Admitted):
                happened.append(number)
                await protocol.settle(
                    activity_id, call_id=str(number), settlement=Settlement.used(Usage(cost_nano=cost))
                )
            await protocol.report([Completed(activity_id, number)], worker_id="w")

        async with asyncio.timeout(20):
            await asyncio.gather(*(call(number, task.activity_id) for number, task in enumerate(tasks)))
        row = await bench.finished(run_id)

        assert least <= len(happened) <= most
        assert (row.head.cost, row.head.reserved) == (len(happened) * cost, 0)

    play(scene, work=False)


# --- Shared budgets -----------------------------------------------------------------------------------------------


def test_what_a_worker_reports_with_its_outcome_counts_in_the_budget_of_the_tree(play):
    text = "name: p\nbudget: 1\nactivities: {a: {use: x, queue: mine}, sub: {workflow: child, after: [a]}}"

    async def scene(bench: Any) -> None:
        run_id = await bench.start(text)
        (task,) = await bench.app.protocol.poll(["mine"], worker_id="w", count=1, wait_seconds=1)

        await bench.app.protocol.report(
            [Completed(task.activity_id, 1, (Usage(cost_nano=7), Usage(cost_nano=5)))], worker_id="w"
        )

        budget = await bench.log.budget(f"tree:{run_id}")
        assert (budget.spent, budget.reserved) == (12, 0)

    play(scene, work=False)


class Shared:
    """Two runs under one budget of 100: the first holds 60 of it, two calls of the second wait for 60 each."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.waiting: list[asyncio.Future[Any]] = []
        self.holder, self.waiter, self.held = "", "", ""

    async def set(self) -> Shared:
        bench, protocol = self.bench, self.bench.app.protocol
        self.holder = await bench.start(TWO_CALLS, limit=100, outer=("shared",))
        held, _ = await protocol.poll(["mine"], worker_id="w", count=2, wait_seconds=1)
        self.held = held.activity_id
        self.waiter = await bench.start(TWO_CALLS, outer=("shared",))
        tasks = await protocol.poll(["mine"], worker_id="w", count=2, wait_seconds=1)
        await protocol.admit(self.held, call_id="held", request=ONE)
        for task in tasks:
            ask = protocol.admit(task.activity_id, call_id=task.place, request=ONE)
            self.waiting.append(asyncio.ensure_future(ask))
        await bench.until(lambda: self.count() == 2)
        return self

    def count(self) -> int:
        """How many calls of the second run wait; -1 while the run is being read again."""
        lane = self.bench.app.engine.loaded(self.waiter)
        return -1 if lane is None else len(lane.run.waiting_calls)

    async def let_go(self) -> None:
        await self.bench.app.protocol.settle(self.held, call_id="held", settlement=Settlement("never_sent"))

    async def forget(self) -> None:
        for ask in self.waiting:
            ask.cancel()
        await asyncio.gather(*self.waiting, return_exceptions=True)


def test_a_call_that_waits_for_a_shared_budget_is_woken_by_another_run(play):
    async def scene(bench: Any) -> None:
        shared = await Shared(bench).set()

        await shared.let_go()

        assert isinstance(await asyncio.wait_for(shared.waiting[0], 5), Admitted)
        assert not shared.waiting[1].done()
        await shared.forget()

    play(scene, work=False)


def test_a_call_of_a_run_that_is_no_longer_in_memory_is_woken_too(play):
    async def scene(bench: Any) -> None:
        shared = await Shared(bench).set()
        bench.app.engine.drop(bench.app.engine.loaded(shared.waiter))

        await shared.let_go()

        assert isinstance(await asyncio.wait_for(shared.waiting[0], 5), Admitted)
        await shared.forget()

    play(scene, work=False)


def test_room_that_is_announced_several_times_at_once_is_given_away_once(play):
    async def scene(bench: Any) -> None:
        shared = await Shared(bench).set()
        lane = bench.app.engine.loaded(shared.waiter)
        free = c.FreeBudget(at=0, budget="shared")

        first = lane.submit(signal("keeps the lane busy"))
        announced = [lane.submit(free) for _ in range(3)]
        await asyncio.gather(shared.let_go(), first, *announced)

        assert isinstance(await asyncio.wait_for(shared.waiting[0], 5), Admitted)
        await bench.until(lambda: shared.count() == 1)
        budget = await bench.log.budget("shared")
        assert (budget.spent, budget.reserved) == (0, 60)
        await shared.forget()

    play(scene, work=False)


# --- Group commit -------------------------------------------------------------------------------------------------


def test_what_comes_while_a_commit_is_under_way_goes_into_the_next_one_together(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        runs = [await bench.start(WAITS) for _ in range(20)]
        gate = asyncio.Event()
        log.batches.clear()
        log.before_commit = gate.wait

        answers = [bench.app.engine.submit_soon(run_id, signal("go")) for run_id in runs]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        answers += [bench.app.engine.submit_soon(run_id, signal("go")) for run_id in runs for _ in range(10)]
        gate.set()
        await asyncio.gather(*answers)

        assert log.batches == [20, 20]

    play(scene, log, work=False)


def test_a_commit_takes_no_more_than_its_bound_and_a_crowd_is_visible(play, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(appender_module, "COMMIT_ITEMS_MAX", 4)
    monkeypatch.setattr(appender_module, "PENDING_MAX", 5)
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        runs = [await bench.start(WAITS) for _ in range(10)]
        gate = asyncio.Event()
        log.batches.clear()
        log.before_commit = gate.wait

        answers = [bench.app.engine.submit_soon(run_id, signal("go")) for run_id in runs]
        await bench.until(lambda: log.batches)
        assert bench.app.engine.appender.crowded
        gate.set()
        await asyncio.gather(*answers)

        assert log.batches == [4, 4, 2]
        assert not bench.app.engine.appender.crowded

    play(scene, log, work=False)


def test_a_lane_holds_a_bounded_number_of_commands_and_refuses_the_next(play, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lane_module, "WAITING_MAX", 3)
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        lane = await bench.app.engine.lane(run_id)
        gate = asyncio.Event()
        log.before_commit = gate.wait

        answers = [lane.submit(signal("go")) for _ in range(5)]
        await asyncio.sleep(0)
        gate.set()
        outcomes = await asyncio.gather(*answers, return_exceptions=True)

        assert [isinstance(outcome, Unavailable) for outcome in outcomes] == [False, False, False, False, True]
        assert "3 commands waiting" in str(outcomes[4])

    play(scene, log, work=False)


def test_a_native_activity_is_carried_out_although_the_log_was_away(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        async def go_away() -> None:
            log.outcome = Unavailable("away")

        run_id = await bench.start(
            "name: t\nactivities: {s: {wait_for: go}, t: {use: transform, after: [s], with: {n: 1}}}"
        )
        await bench.app.engine.submit(run_id, signal("go"))
        log.outcome = Unavailable("away")
        await asyncio.sleep(0.01)
        log.outcome = None

        assert (await bench.finished(run_id)).head.status == "completed"

    play(scene, log)


class Unreadable(FaultyLog):
    """A log whose contents cannot be read for as long as `failures` lasts."""

    failures = 0

    async def contents(self, run: int, versions: Any) -> dict[int, bytes]:
        if self.failures:
            self.failures -= 1
            raise Unavailable("cannot read")
        return await super().contents(run, versions)


@pytest.mark.parametrize("kind", ["echo", "transform"])
def test_parameters_that_cannot_be_read_now_are_read_later_and_fail_nothing(
    play, monkeypatch: pytest.MonkeyPatch, kind: str
):
    monkeypatch.setattr(worker_module, "POLL_AGAIN_SECONDS", 0.001)
    log = Unreadable()

    async def scene(bench: Any) -> None:
        run_id = await bench.start(
            f"name: t\nactivities: {{a: {{use: {kind}, wait_for: go, with: {{x: '{{{{ INPUT.n }}}}'}}}}}}", {"n": 7}
        )
        bench.app.engine.contents.forget(1, 1)
        log.failures = 2

        await bench.app.engine.submit(run_id, signal("go"))

        assert (await bench.finished(run_id)).head.status == "completed"
        assert await bench.output(run_id, "a") == {"x": 7}
        assert log.failures == 0

    play(scene, log)


def test_a_wait_for_weeks_survives_a_restart(play):
    log = FaultyLog()
    runs: list[str] = []

    async def begin(bench: Any) -> None:
        runs.append(await bench.start("name: t\nactivities: {w: {use: wait, with: {duration: 3w}}}"))
        await bench.until(lambda: bench.clock.next_alarm is not None)

    async def go_on(bench: Any) -> None:
        bench.clock.advance(seconds=3 * 7 * 86_400 + 1)
        assert (await bench.finished(runs[0])).head.status == "completed"
        assert len(await bench.events(runs[0])) == 6

    play(begin, log)
    play(go_on, log)
