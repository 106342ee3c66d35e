"""Two nodes whose clocks are apart, and a budget that both move."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.shared_budgets.shop import Shop, asked, rule
from tests.engine.two_nodes.nodes import Node, play, within

from headgate.engine.budget_scopes import budget_id
from headgate.ports import Admitted, Tenant

# --- Clocks that are apart --------------------------------------------------------------------------------------------


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


# --- Budgets ----------------------------------------------------------------------------------------------------------


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
