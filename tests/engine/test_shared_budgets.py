"""Budgets above runs: rules by scope and period, lines across runs, what is exact when rules come and days end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headgate.core.errors import Invalid, NotFound
from headgate.core.values import Candidate, Price, Usage
from headgate.ports import Admitted, BudgetRule, CallRequest, Completed, Denied, Settlement
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog

DAY = 86_400 * 1_000_000
TODAY = "2027-01-15"
"""The virtual clock's."""


def asked(worst: int = 60, *models: str, simulated: bool = False) -> CallRequest:
    price = Price(1, 1, simulated=simulated)
    return CallRequest("h", tuple(Candidate(model, worst, price) for model in models or ("acme/large",)))


def rule(limit: int, scope: str = "tenant", period: Any = "day", **fields: Any) -> BudgetRule:
    return BudgetRule(scope=scope, period=period, limit=limit, **fields)


class Shop:
    """Runs whose activities a test works on by hand."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.protocol = bench.app.protocol
        self.ids: list[str] = []
        """The claim of each call, by its number."""

    async def open(self, name: str = "shop", *, calls: int = 1, **fields: Any) -> list[str]:
        """Start a run of so many activities; return their claims."""
        keys = ", ".join(f"a{number}: {{use: x, queue: mine, timeout_seconds: 300000}}" for number in range(calls))
        await self.bench.start(f"name: {name}\nactivities: {{{keys}}}", **fields)
        tasks = await self.protocol.poll(["mine"], worker_id="w", count=calls, wait_seconds=1)
        return [task.activity_id for task in tasks]

    async def admit(self, claim: str, request: CallRequest | None = None, *, number: int = 1) -> Any:
        return await self.protocol.admit(claim, call_id=f"{claim}/{number}", request=request or asked())

    def ask(self, claim: str, request: CallRequest | None = None) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self.admit(claim, request))

    async def settle(self, claim: str, cost: int | None, *, number: int = 1, model: str = "acme/large") -> None:
        provider, _, name = model.partition("/")
        usage = Usage(provider=provider, model=name, cost_nano=cost)
        settlement = Settlement("never_sent") if cost is None else Settlement.used(usage)
        await self.protocol.settle(claim, call_id=f"{claim}/{number}", settlement=settlement)

    async def stands(self, scope: str = "tenant", start: str = f"day/{TODAY}", *, demo: bool = False) -> Any:
        found = await self.bench.log.budget(f"default/{scope}/{start}" + ("/demo" if demo else ""))
        return None if found is None else (found.limit, found.spent, found.reserved)

    def run_of(self, claim: str) -> Any:
        lane = self.bench.app.engine.loaded(claim.partition("/")[0])
        return None if lane is None else lane.run

    async def waits(self, claim: str) -> None:
        await self.bench.until(lambda: (run := self.run_of(claim)) is not None and run.waiting_calls)

    async def asks(self, claim: str) -> None:
        await self.bench.until(lambda: (run := self.run_of(claim)) is not None and run.asking_calls)


@pytest.fixture(params=["memory", "sqlite"])
def log(request: Any, tmp_path: Any) -> Any:
    return MemoryLog() if request.param == "memory" else SqliteLog(tmp_path / "log.db")


async def answer(future: asyncio.Future[Any]) -> Any:
    return await asyncio.wait_for(future, 5)


async def drop(*futures: asyncio.Future[Any]) -> None:
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)


# --- Scopes ---------------------------------------------------------------------------------------------------------


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


# --- Lines ----------------------------------------------------------------------------------------------------------


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


# --- Exact --------------------------------------------------------------------------------------------------------


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


# --- Asking -------------------------------------------------------------------------------------------------------


def test_a_call_that_asks_about_a_shared_budget_goes_on_when_it_is_raised(play: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.app.budgets.set(rule(50, action="ask"))
        (claim,) = await shop.open()
        waiting = shop.ask(claim)
        await shop.asks(claim)
        view = await bench.app.desk.show(claim.partition("/")[0])

        await bench.app.budgets.set(rule(60, action="ask"))

        assert view.status == "waiting"
        assert "`headgate budget set tenant 0.00000006 --per day`" in view.waiting_for
        assert isinstance(await answer(waiting), Admitted)

    play(scene, work=False)


def test_a_call_that_asks_goes_on_when_the_run_is_raised_and_fails_when_a_person_refuses(play: Any):
    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        text = "name: p\nbudget: {limit: 0.00000005, action: ask}\nactivities: {a: {use: x, queue: mine}}"
        runs = [await bench.start(text) for _ in range(2)]
        tasks = await shop.protocol.poll(["mine"], worker_id="w", count=2, wait_seconds=1)
        claims = [task.activity_id for task in tasks]
        waiting = [shop.ask(claim) for claim in claims]
        for claim in claims:
            await shop.asks(claim)

        await bench.app.desk.raise_budget(runs[0], more=10, by="ann")
        await bench.app.desk.refuse_calls(runs[1], by="bob")

        assert isinstance(await answer(waiting[0]), Admitted)
        listed = {run.id: run.limit for run in await bench.app.desk.runs()}
        assert listed == {runs[0]: 60, runs[1]: 50}
        refused = await answer(waiting[1])
        assert refused.error.code == "budget_exceeded"
        assert refused.error.message.startswith("bob refused: acme/large would cost up to $0.00000006")

    play(scene, work=False)


def test_the_budget_of_a_tree_is_raised_with_that_of_its_run_also_for_a_child_that_asks(play: Any):
    parent = (
        "name: p\nbudget: {limit: 0.00000005, action: ask}\n"
        "activities: {sub: {workflow: child}, other: {use: x, queue: mine}}"
    )

    async def scene(bench: Any) -> None:
        shop = Shop(bench)
        await bench.start("name: child\nactivities: {c: {use: x, queue: child}}")
        await shop.protocol.poll(["child"], worker_id="w", count=1, wait_seconds=1)
        run_id = await bench.start(parent)
        (task,) = await shop.protocol.poll(["child"], worker_id="w", count=1, wait_seconds=5)
        waiting = shop.ask(task.activity_id)
        await shop.asks(task.activity_id)
        child = await bench.app.desk.show(task.workflow_id)

        await bench.app.desk.raise_budget(run_id, to=60)

        assert f"`headgate budget raise {run_id} --to 0.00000006`" in child.waiting_for
        assert isinstance(await answer(waiting), Admitted)

    play(scene, work=False)
