"""What a budget above runs has spent is exact, when rules come and go and days end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.shared_budgets.shop import Shop, answer, asked, rule

from headgate.ports import Admitted, Completed, Denied
from headgate.stores.sqlite import SqliteLog


def test_a_rule_that_is_set_while_calls_are_under_way_counts_each_of_them_once(play: Any, log: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        settled, under_way, forfeited = await shop.open(calls=3)
        for claim in (settled, under_way, forfeited):
            await shop.admit(claim)
        await shop.settle(settled, 40)

        stands = await bench.app.budgets.set(rule(200))
        await shop.settle(under_way, 50)
        await shop.protocol.report([Completed(forfeited, 1)], worker_id="w")

        assert stands.spent == 40
        assert await shop.stands() == (200, 150, 0)

    play(scene, log, work=False)


def test_a_rule_that_is_set_in_the_middle_of_a_crowd_counts_every_call_once(play: Any, log: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        claims = [claim for _ in range(4) for claim in await shop.open(calls=10)]

        async def call(claim: str) -> None:
            if isinstance(await shop.admit(claim, asked(10)), Admitted):
                await shop.settle(claim, 10)

        calls = [asyncio.ensure_future(call(claim)) for claim in claims]
        for _ in range(7):
            await asyncio.sleep(0)
        await bench.app.budgets.set(rule(10_000))
        await asyncio.gather(*calls)

        assert await shop.stands() == (10_000, 400, 0)

    play(scene, log, work=False)


def test_a_rule_that_comes_back_in_the_same_period_begins_with_all_that_was_spent(play: Any, log: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(500))
        with_it, without, held = await shop.open(calls=3)
        await shop.admit(held)
        await shop.admit(with_it)
        await shop.settle(with_it, 50)
        await bench.app.budgets.remove(rule(0))
        await shop.admit(without)
        await shop.settle(without, 20)

        await bench.app.budgets.set(rule(500))
        again = await shop.stands()
        await shop.settle(held, 5)

        assert again == (500, 70, 60)
        assert await shop.stands() == (500, 75, 0)

    play(scene, log, work=False)


def test_a_call_that_was_admitted_before_midnight_settles_on_its_own_day(play: Any, log: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(100))
        (before,), (after,) = await shop.open(), await shop.open()
        await shop.admit(before)

        bench.clock.advance(seconds=86_400)
        assert isinstance(await shop.admit(after, asked(90)), Admitted)
        await shop.settle(before, 55)

        assert await shop.stands() == (100, 55, 0)
        assert await shop.stands("tenant", "day/2027-01-16") == (100, 0, 90)

    play(scene, log, work=False)


@pytest.mark.parametrize("action", ["abort", "ask"])
def test_who_waits_goes_on_when_the_next_day_begins(play: Any, action: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(100, action=action))
        (holder,), (waiter,) = await shop.open(), await shop.open()
        await shop.admit(holder)
        if action == "ask":
            await shop.settle(holder, 60)
        waiting = shop.ask(waiter)
        await (shop.asks if action == "ask" else shop.waits)(waiter)
        await bench.until(lambda: bench.clock.next_alarm is not None)

        bench.clock.advance(seconds=86_400)

        assert isinstance(await answer(waiting), Admitted)
        assert await shop.stands("tenant", "day/2027-01-16") == (100, 0, 60)

    play(scene, work=False)


def test_rules_and_what_is_spent_of_them_outlive_the_process(tmp_path: Any, play: Any):
    async def first(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(100, warn_percent=80, by="ann"))
        (claim,) = await shop.open()
        await shop.admit(claim)
        await shop.settle(claim, 50)

    async def second(bench: Any) -> None:
        (stands,) = await bench.app.desk.budgets()
        assert (stands.rule.limit, stands.rule.by, stands.spent) == (100, "ann", 50)
        (claim,) = await Shop(bench).open()
        assert isinstance(await Shop(bench).admit(claim), Denied)

    play(first, SqliteLog(tmp_path / "log.db"), work=False)
    play(second, SqliteLog(tmp_path / "log.db"), work=False)


def test_under_the_action_alert_a_shared_budget_admits_beyond_its_limit_and_says_so_once(play: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(100, action="alert", warn_percent=50))
        (claim,) = await shop.open()

        for number in (1, 2, 3):
            assert isinstance(await shop.admit(claim, number=number), Admitted)
            await shop.settle(claim, 60, number=number)

        assert await shop.stands() == (100, 180, 0)
        events = await bench.events(claim.partition("/")[0])
        alerts = [(event.percent, event.spent) for event in events if event.type == "budget_alert"]
        assert alerts == [(50, 60), (100, 60)]

    play(scene, work=False)
