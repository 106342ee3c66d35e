"""Quotas of tenants: as much as there is room for, exactly, and an answer that says what, how much and when."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from headgate.authoring import load_definition
from headgate.core.errors import Invalid, NotFound, OverQuota, Refused
from headgate.engine import tenants as tenants_module
from headgate.engine.quotas import Quotas
from headgate.engine.start import Start
from headgate.ports import RunsWanted, StartRequest, Tenant

WAITS = load_definition("name: waits\nactivities:\n  ask: {use: approval}\n")
ABOVE = load_definition("name: above\nactivities:\n  call: {workflow: waits}\n")


async def start(bench: Any, tenant: str = "acme", workflow: str = "waits", **rest: Any) -> str:
    return (await bench.app.engine.start(Start(workflow=workflow, tenant=tenant, **rest))).id


async def tried(bench: Any, tenant: str = "acme") -> str:
    try:
        await start(bench, tenant)
    except OverQuota:
        return "refused"
    return "started"


async def unfinished(bench: Any, tenant: str = "acme") -> int:
    return await bench.log.count_runs(RunsWanted(tenant=tenant, unfinished=True))


async def made(bench: Any, **quotas: Any) -> None:
    for tenant in ("acme", "bolt"):
        for definition in (WAITS, ABOVE):
            await bench.app.engine.definitions.deploy(definition, tenant=tenant)
    await bench.app.desk.set_tenant(Tenant(name="acme", **quotas))


def test_of_many_starts_at_once_exactly_as_many_are_admitted_as_there_is_room_for(play: Any):
    async def scene(bench: Any) -> None:
        await made(bench, runs_max=7)
        await start(bench)

        outcomes = Counter(await asyncio.gather(*(tried(bench) for _ in range(40))))

        assert outcomes == {"started": 6, "refused": 34}
        assert await unfinished(bench) == 7
        assert await tried(bench, "bolt") == "started"
        assert await bench.app.limits.store.cells("quota starting") == []

    play(scene)


def test_two_nodes_that_share_the_store_of_limits_admit_no_more_together_than_one(play: Any):
    async def scene(bench: Any) -> None:
        await made(bench, runs_max=5)
        app = bench.app
        there = Quotas(app.engine.log, app.clock, app.limits.store, app.tenants)
        here = app.engine.quotas

        async def through(quotas: Quotas) -> str:
            app.engine.quotas = quotas  # each start takes its quotas before it first waits
            return await tried(bench)

        outcomes = Counter(await asyncio.gather(*(through((here, there)[n % 2]) for n in range(20))))

        assert outcomes == {"started": 5, "refused": 15}
        assert await unfinished(bench) == 5

    play(scene)


def test_there_is_room_again_when_a_run_has_ended_or_a_start_has_failed(play: Any):
    async def scene(bench: Any) -> None:
        await made(bench, runs_max=1)
        for _ in range(3):
            with pytest.raises(NotFound):
                await start(bench, workflow="nothing")
        run = await start(bench)
        with pytest.raises(OverQuota, match=r"The tenant acme has 1 runs that have not ended, and may have 1; start"):
            await start(bench)

        await bench.app.desk.cancel(run)
        await bench.finished(run)

        assert await tried(bench) == "started"

    play(scene)


def test_a_repeat_of_a_start_and_a_run_below_another_are_no_starts_of_a_tenant(play: Any):
    async def scene(bench: Any) -> None:
        await made(bench, runs_max=1)
        first = await start(bench, workflow="above", command_id="once")

        assert await start(bench, workflow="above", command_id="once") == first
        await bench.rest()
        assert await unfinished(bench) == 2

    play(scene)


def test_starts_a_minute_are_what_they_are_and_the_refusal_says_when(play: Any):
    async def scene(bench: Any) -> None:
        await made(bench, starts_per_minute=10)

        first = [await tried(bench) for _ in range(3)]
        with pytest.raises(OverQuota, match="may start 10 runs a minute and has") as refused:
            await start(bench)
        bench.clock.advance(to=bench.clock.now() + round(refused.value.retry_after_seconds * 1_000_000) + 1)

        assert first == ["started", "refused", "refused"]
        assert 5 < refused.value.retry_after_seconds <= 6
        assert await tried(bench) == "started"
        over_a_minute = []
        for _ in range(60):
            over_a_minute.append(await tried(bench))
            bench.clock.advance(to=bench.clock.now() + 1_000_000)
        assert Counter(over_a_minute)["started"] <= 10

    play(scene)


def test_a_month_that_is_spent_starts_nothing_more_and_the_quota_is_a_budget(play: Any):
    async def scene(bench: Any) -> None:
        await made(bench, spend_per_month=2_000)
        (budget,) = await bench.app.desk.budgets()
        assert (budget.rule.tenant, budget.rule.scope, budget.rule.period) == ("acme", "tenant", "month")
        assert await tried(bench) == "started"

        await bench.app.desk.set_tenant(Tenant(name="acme", spend_per_month=0))

        with pytest.raises(OverQuota, match=r"has spent \$0(\.0+)? of \$0"):
            await start(bench)
        await bench.app.desk.set_tenant(Tenant(name="acme"))
        assert await bench.app.desk.budgets() == []
        assert await tried(bench) == "started"

    play(scene)


def test_runs_that_take_too_much_room_keep_others_from_starting_until_they_are_counted_anew(play: Any):
    async def scene(bench: Any) -> None:
        await made(bench, storage_bytes_max=2_000)
        run = await start(bench)
        assert await tried(bench) == "started"  # counted a moment ago, when there was nothing

        bench.clock.advance(to=bench.clock.now() + 60_000_000)
        stored = await bench.log.stored_bytes("acme")
        await bench.app.desk.set_tenant(Tenant(name="acme", storage_bytes_max=stored))

        with pytest.raises(OverQuota, match=f"take about {stored:,} bytes of {stored:,}"):
            await start(bench)
        assert await bench.log.stored_bytes("bolt") == 0
        assert run

    play(scene)


def test_streams_are_counted_while_they_are_read(play: Any):
    async def scene(bench: Any) -> None:
        await made(bench, connections_max=2)
        quotas = bench.app.quotas
        await bench.app.tenants.of("acme")

        with quotas.connection("acme"), quotas.connection("acme"):
            with pytest.raises(OverQuota, match="reads 2 streams here, and may read 2"), quotas.connection("acme"):
                pass
            with quotas.connection("bolt"):
                pass
        with quotas.connection("acme"):
            assert (await bench.app.desk.tenant("acme")).connections == 1

    play(scene)


def test_requests_are_counted_for_each_client(play: Any):
    async def scene(bench: Any) -> None:
        await made(bench, requests_per_minute=20)
        quotas = bench.app.quotas

        waits = [await quotas.request("acme", "client:one") for _ in range(3)]

        assert [wait > 0 for wait in waits] == [False, False, True]
        assert await quotas.request("acme", "client:two") == 0
        assert await quotas.request("bolt", "client:one") == 0

    play(scene)


def test_a_schedule_over_quota_says_so_and_tries_again_at_its_next_time(play: Any):
    async def scene(bench: Any) -> None:
        from headgate.ports import Schedule

        await made(bench, runs_max=0)
        text = "name: nightly\nactivities:\n  one: {use: echo}\n"
        desk = bench.app.desk.of("acme", "client:one")
        await desk.schedule(Schedule(id="", name="n", workflow="", every_seconds=60), definition=text, files={})

        await bench.app.scheduler.fire(bench.clock.now() + 61_000_000)

        (schedule,) = await desk.schedules()
        assert "may have 0" in schedule.note
        assert schedule.next_at is not None

    play(scene)


def test_tenants_are_made_once_changed_and_listed(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tenants_module, "TENANTS_MAX", 2)

    async def scene(bench: Any) -> None:
        desk = bench.app.desk
        await desk.set_tenant(Tenant(name="acme", runs_max=3), new=True)
        with pytest.raises(Refused, match="There is a tenant 'acme' already"):
            await desk.set_tenant(Tenant(name="acme"), new=True)
        await desk.set_tenant(Tenant(name="bolt"), new=True)
        with pytest.raises(Refused, match="There are 2 tenants already"):
            await desk.set_tenant(Tenant(name="third"))
        for name in ("", "Acme", "a b", "a" * 64, "../etc"):
            with pytest.raises(Invalid, match="Expected a tenant's name"):
                await desk.set_tenant(Tenant(name=name))
        with pytest.raises(Invalid, match="Expected runs_max to be at least 0"):
            await desk.set_tenant(Tenant(name="acme", runs_max=-1))

        assert [(one.name, one.runs_max) for one in await desk.tenants()] == [("acme", 3), ("bolt", None)]
        with pytest.raises(NotFound, match="There is no tenant 'nobody'"):
            await desk.tenant("nobody")

    play(scene)


def test_a_start_request_of_a_view_counts_for_its_tenant(play: Any):
    async def scene(bench: Any) -> None:
        await made(bench, runs_max=0)
        with pytest.raises(OverQuota):
            await bench.app.desk.of("acme", "client:one").start(StartRequest(workflow="waits"))
        await bench.app.desk.of("bolt", "client:one").start(StartRequest(workflow="waits"))

    play(scene)
