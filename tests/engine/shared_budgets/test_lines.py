"""Calls of several runs that wait for room in one budget."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.shared_budgets.shop import Shop, answer, asked, rule

from headgate.ports import Admitted, Denied


async def drop(*futures: asyncio.Future[Any]) -> None:
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)


@pytest.mark.parametrize(("cost", "limit", "happen"), [(100, 1_000, 10), (10, 1_000, 91)])
def test_of_a_hundred_branches_of_several_runs_exactly_those_happen_that_fit(
    play: Any, log: Any, cost: int, limit: int, happen: int
):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(limit))
        runs = [await shop.open(calls=25) for _ in range(4)]
        made: list[str] = []

        async def call(claim: str) -> None:
            if isinstance(await shop.admit(claim, asked(100)), Admitted):
                limit_, spent, reserved = await shop.stands()
                assert spent + reserved <= limit_
                await asyncio.sleep(0)
                made.append(claim)
                await shop.settle(claim, cost)

        async with asyncio.timeout(60):
            await asyncio.gather(*(call(claim) for claims in zip(*runs, strict=True) for claim in claims))

        assert len(made) == happen
        assert await shop.stands() == (limit, cost * happen, 0)

    play(scene, log, work=False)


def test_a_call_of_another_run_is_woken_in_its_turn(play: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(100))
        (holder,), (first,), (second,), (late,) = [await shop.open() for _ in range(4)]
        await shop.admit(holder)
        waiting = [shop.ask(first)]
        await shop.waits(first)
        waiting.append(shop.ask(second))
        await shop.waits(second)
        waiting.append(shop.ask(late, asked(5)))
        await shop.waits(late)  # it would fit, but others came before it

        await shop.settle(holder, None)
        assert isinstance(await answer(waiting[0]), Admitted)
        assert not waiting[1].done()
        await shop.settle(first, 30)

        assert isinstance(await answer(waiting[1]), Admitted)
        assert isinstance(await answer(waiting[2]), Admitted)
        assert await shop.stands() == (100, 30, 65)

    play(scene, work=False)


def test_a_call_that_no_longer_fits_beside_what_is_spent_is_refused_and_the_next_one_looked_at(play: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(100))
        (holder,), (large,), (small,) = [await shop.open() for _ in range(3)]
        await shop.admit(holder)
        waiting = [shop.ask(large)]
        await shop.waits(large)
        waiting.append(shop.ask(small, asked(30)))
        await shop.waits(small)

        await shop.settle(holder, 60)

        assert isinstance(await answer(waiting[0]), Denied)
        assert isinstance(await answer(waiting[1]), Admitted)

    play(scene, work=False)


def test_a_call_that_nobody_waits_for_any_more_keeps_nobody_waiting(play: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(100))
        (holder,), (gone,), (next_,) = [await shop.open() for _ in range(3)]
        await shop.admit(holder)
        left = shop.ask(gone)
        await shop.waits(gone)
        waiting = shop.ask(next_, asked(40))
        await shop.waits(next_)

        await drop(left)

        assert isinstance(await answer(waiting), Admitted)

    play(scene, work=False)


def test_a_higher_limit_wakes_who_waits_and_a_removed_budget_does_too(play: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(100))
        (holder,), (first,), (second,) = [await shop.open() for _ in range(3)]
        await shop.admit(holder)
        one = shop.ask(first)
        await shop.waits(first)
        two = shop.ask(second)
        await shop.waits(second)

        stands = await bench.app.budgets.set(rule(120))
        assert isinstance(await answer(one), Admitted)
        assert stands.rule.limit == 120
        assert not two.done()
        await bench.app.budgets.remove(rule(0))

        assert isinstance(await answer(two), Admitted)

    play(scene, work=False)
