"""Budgets above runs about which a person is asked."""

from __future__ import annotations

from typing import Any

from tests.engine.shared_budgets.shop import Shop, answer, rule

from headgate.ports import Admitted


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
