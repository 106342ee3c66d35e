"""Whom a budget above runs concerns, and what is booked in it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.shared_budgets.shop import Shop, asked, rule

from headgate.core.errors import Invalid, NotFound
from headgate.core.values import Usage
from headgate.ports import Admitted, Completed, Denied


@pytest.mark.parametrize(
    ("scope", "concerned", "free"),
    [
        ("workflow:shop", {"name": "shop"}, {"name": "other"}),
        ("label:team=red", {"labels": {"team": "red"}}, {"labels": {"team": "blue"}}),
    ],
)
def test_a_budget_concerns_the_runs_of_its_scope_only(play: Any, scope: str, concerned: Any, free: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(50, scope))
        (inside,), (outside,) = await shop.open(**concerned), await shop.open(**free)

        refused, admitted = await shop.admit(inside), await shop.admit(outside)

        assert isinstance(refused, Denied)
        assert refused.error.code == "budget_exceeded"
        assert f"the budget of {scope} per day has $0.00000005 left" in refused.error.message
        assert isinstance(admitted, Admitted)

    play(scene, work=False)


@pytest.mark.parametrize("scope", ["model:acme/la*", "provider:acme"])
def test_a_budget_of_a_model_passes_over_that_model_only(play: Any, scope: str):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(50, scope))
        (claim,) = await shop.open()

        admitted = await shop.admit(claim, asked(60, "acme/large", "other/small"))

        assert admitted == Admitted("other/small", 60, ("acme/large",))
        assert await shop.stands(scope) == (50, 0, 0)

    play(scene, work=False)


def test_what_a_call_costs_is_booked_in_every_budget_that_concerns_it(play: Any, log: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        scopes = ["tenant", "workflow:shop", "label:team=red", "model:acme/*", "provider:acme"]
        for scope in scopes:
            await bench.app.budgets.set(rule(100, scope))
        await bench.app.budgets.set(rule(100, "tenant", "month"))
        (claim,) = await shop.open(labels={"team": "red"})

        await shop.admit(claim)
        held = [await shop.stands(scope) for scope in scopes]
        await shop.settle(claim, 45)

        assert held == [(100, 0, 60)] * 5
        assert [await shop.stands(scope) for scope in scopes] == [(100, 45, 0)] * 5
        assert await shop.stands("tenant", "month/2027-01") == (100, 45, 0)

    play(scene, log, work=False)


def test_calls_at_demo_prices_have_the_same_limit_and_an_account_of_their_own(play: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(100))
        real, demo, more = await shop.open(calls=3)

        assert isinstance(await shop.admit(real), Admitted)
        assert isinstance(await shop.admit(demo, asked(60, simulated=True)), Admitted)
        refused = await shop.admit(more, asked(101, simulated=True))

        assert isinstance(refused, Denied)
        assert (await shop.stands(), await shop.stands(demo=True)) == ((100, 0, 60), (100, 0, 60))

    play(scene, work=False)


def test_a_cost_that_a_worker_reports_is_booked_on_the_budgets_of_its_model(play: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        for scope in ("tenant", "model:acme/*"):
            await bench.app.budgets.set(rule(100, scope))
        (claim,) = await shop.open()

        usages = (Usage(provider="acme", model="large", cost_nano=7), Usage(provider="other", model="x", cost_nano=5))
        await shop.protocol.report([Completed(claim, 1, usages)], worker_id="w")

        assert (await shop.stands(), await shop.stands("model:acme/*")) == ((100, 12, 0), (100, 7, 0))

    play(scene, work=False)


def test_under_a_shared_budget_an_attempt_is_told_what_is_left(play: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(100))
        await bench.start("name: p\nactivities: {a: {use: x, queue: mine}}")

        (task,) = await shop.protocol.poll(["mine"], worker_id="w", count=1, wait_seconds=1)

        assert task.budget_remaining_nano == 100

    play(scene, work=False)


@pytest.mark.parametrize("scope", ["team", "workflow:", "label:x", "model:gpt", "tenant:x", "model:a/[b]"])
def test_a_scope_that_is_none_is_refused(play: Any, scope: str):
    async def scene(bench: Any) -> None:
        with pytest.raises(Invalid, match="Expected a scope to be tenant, workflow:NAME"):
            await bench.app.budgets.set(rule(100, scope))
        with pytest.raises(NotFound, match="There is no budget of tenant per day; there is none"):
            await bench.app.budgets.remove(rule(0))

    play(scene, work=False)
