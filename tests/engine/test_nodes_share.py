"""Several nodes on one database: schedules start once, and what one sets the others see when they look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url
from tests.servers import private_postgres

from headgate.app import App
from headgate.engine.limit_view import Wait
from headgate.engine.scheduler import Scheduler
from headgate.ports import BudgetRule, RateLimit, Schedule, StartRequest, Swap
from headgate.stores.postgres import PostgresLog
from headgate.testing.clock import NOON, VirtualClock
from headgate.testing.log_conformance import HandmadeRun

HOUR = 3_600 * 1_000_000
FLOW = "name: tick\nactivities: {a: {use: wait, with: {duration: 1s}}}"
SLOW = "name: slow\nactivities: {a: {use: approval, with: {title: go}}}"
DAILY = BudgetRule(scope="tenant", period="day", limit=1_000)


@asynccontextmanager
async def nodes(count: int, clock: VirtualClock, **settings: Any) -> AsyncGenerator[list[App]]:
    """Yield so many nodes on one database, which work on nothing by themselves."""
    apps: list[App] = []
    empty_postgres_log()
    try:
        for _ in range(count):
            log = PostgresLog(server_url(), schema=SCHEMA)
            apps.append(await App(log, clock=clock, environment={}, offline=True, work=False, **settings).__aenter__())
        yield apps
    finally:
        for app in apps:
            await app.__aexit__()


def on_nodes(count: int, scene: Callable[[list[App], VirtualClock], Awaitable[None]]) -> None:
    async def whole() -> None:
        clock = VirtualClock()
        async with nodes(count, clock) as apps:
            await scene(apps, clock)

    asyncio.run(whole())


def hourly(**fields: Any) -> Schedule:
    return msgspec.structs.replace(Schedule(id="", name="beat", workflow="", every_seconds=3600.0), **fields)


# --- Schedules ------------------------------------------------------------------------------------------------------


def test_each_time_of_a_schedule_starts_one_run_however_many_nodes_find_it_due():
    async def scene(apps: list[App], clock: VirtualClock) -> None:
        await apps[0].desk.schedule(hourly(overlap="allow"), definition=FLOW, files={})
        for hour in range(1, 6):
            fired = await asyncio.gather(*(app.scheduler.fire(NOON + hour * HOUR) for app in apps))
            assert {run for runs in fired for run in runs}
            (known,) = await apps[hour % 3].schedules.all()
            assert (known.last_at, known.next_at) == (NOON + hour * HOUR, NOON + (hour + 1) * HOUR)

        rows = await apps[0].engine.log.runs()
        assert len(rows) == 5
        assert await apps[1].scheduler.fire(NOON + 5 * HOUR) == []

    on_nodes(3, scene)


def test_a_run_that_a_node_has_started_and_not_written_down_is_under_way_for_the_others():
    async def scene(apps: list[App], clock: VirtualClock) -> None:
        first, second = apps
        await first.desk.schedule(hourly(), definition=SLOW, files={})
        (due,) = await first.schedules.all()
        run_id, _ = await first.scheduler._start(due, NOON + HOUR)  # and then the node stands still

        assert await second.scheduler.fire(NOON + 2 * HOUR) == []

        (known,) = await second.schedules.all()
        assert known.note.endswith(f"run {run_id} was still under way")
        assert len(await second.engine.log.runs()) == 1

    on_nodes(2, scene)


def test_a_schedule_that_a_person_changes_while_it_fires_keeps_the_change_and_the_run(monkeypatch: pytest.MonkeyPatch):
    async def scene(apps: list[App], clock: VirtualClock) -> None:
        node, desk = apps
        await node.desk.schedule(hourly(), definition=FLOW, files={})
        start = Scheduler._start

        async def meanwhile(self: Scheduler, schedule: Schedule, at: int) -> tuple[str, str]:
            monkeypatch.setattr(Scheduler, "_start", start)
            await desk.desk.change_schedule("beat", "pause")
            return await start(self, schedule, at)

        monkeypatch.setattr(Scheduler, "_start", meanwhile)
        started = await node.scheduler.fire(NOON + HOUR)

        (known,) = await desk.schedules.all()
        assert len(started) == 1
        assert not known.enabled

    on_nodes(2, scene)


# --- Rules and rates ------------------------------------------------------------------------------------------------


def test_a_budget_that_one_node_sets_holds_at_the_others_when_they_look_and_counts_what_they_spent_before():
    async def scene(apps: list[App], clock: VirtualClock) -> None:
        first, second = apps
        await first.budgets.set(DAILY)
        unknowing = HandmadeRun(second.engine.log, "spender")
        assert await unknowing.commit([1], spend=[unknowing.spent(30, at=NOON)]) == "accepted"
        (before,) = await first.budgets.standings()

        assert second.lookout is not None
        await second.lookout.look()
        await second.lookout.look()

        (there,) = await second.budgets.standings()
        assert before.spent == 0
        assert (there.rule.limit, there.spent) == (1_000, 30)
        await second.budgets.set(msgspec.structs.replace(DAILY, limit=2_000))
        assert first.lookout is not None
        await first.lookout.look()
        (here,) = await first.budgets.standings()
        assert (here.rule.limit, here.spent) == (2_000, 30)
        await first.budgets.remove(DAILY)
        await second.lookout.look()
        assert await second.budgets.standings() == []

    on_nodes(2, scene)


def test_a_rate_that_one_node_sets_holds_at_the_others_after_a_second():
    async def scene(apps: list[App], clock: VirtualClock) -> None:
        first, second = apps
        limit = RateLimit(scope="demo", requests=3)
        assert second.limits.store.idle
        await first.desk.set_limit(limit)

        looked = asyncio.Event()
        assert second.lookout is not None
        look = second.lookout.look

        async def noted() -> None:
            await look()
            looked.set()

        second.lookout.look = noted
        clock.advance(seconds=1)
        async with asyncio.timeout(10):
            await looked.wait()

        assert second.limits.rates == {"demo": limit}
        assert not second.limits.store.idle

    on_nodes(2, scene)


def test_a_node_that_starts_leaves_the_waits_of_the_others_and_takes_out_what_is_over():
    def wait(since: int) -> str:
        return msgspec.json.encode(Wait("the rate of demo", 0, since, "demo/small")).decode()

    async def scene(apps: list[App], clock: VirtualClock) -> None:
        first, second = apps
        store = first.limits.store
        await store.swap([Swap("wait r a 1", None, wait(NOON)), Swap("wait r b 2", None, wait(NOON - 2 * HOUR))])

        await second.gate.open()

        assert [cell.name for cell in await store.cells("wait ")] == ["wait r a 1"]

    on_nodes(2, scene)


# --- A server that goes away ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_server_that_restarts_while_a_node_recovers_strands_no_run(monkeypatch: pytest.MonkeyPatch):
    async def begin(url: str) -> list[str]:
        log = PostgresLog(url)
        async with App(log, clock=VirtualClock(), environment={}, offline=True, work=False) as app:
            echo = "name: one\nactivities: {a: {use: echo, with: {x: 1}}}"
            return [(await app.desk.start(StartRequest(definition=echo))).id for _ in range(30)]

    async def recover(server: Any, runs: list[str]) -> None:
        log = PostgresLog(server.url, patience_seconds=60)
        missing, starting = log.tasks.missing, []

        async def killed_after_the_first_look(before: int, limit: int) -> Any:
            found = await missing(before, limit)
            if not starting:
                await asyncio.to_thread(server.kill)
                starting.append(asyncio.get_running_loop().run_in_executor(None, server.start))
            return found

        monkeypatch.setattr(log.tasks, "missing", killed_after_the_first_look)
        async with App(log, clock=VirtualClock(), environment={}, offline=True) as app, asyncio.timeout(60):
            rows = [await app.engine.finished(run) for run in runs]
            await starting[0]
        assert {row.head.status for row in rows} == {"completed"}

    with private_postgres() as server:
        asyncio.run(recover(server, asyncio.run(begin(server.url))))
