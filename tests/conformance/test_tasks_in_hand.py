"""What a table keeps true of tasks that were born in a node's hands, each its run's only one (`ports.TaskTable`, 4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.postgres_logs import sql
from tests.task_tables import LEASE_SECONDS, age, claim, nodes, offer, task

from headgate.ports import Append, Length, Move
from headgate.stores.postgres import PostgresLog
from headgate.testing.log_conformance import HandmadeRun, on_a_loop


async def commit(log: PostgresLog, run: HandmadeRun, item: Append) -> None:
    (outcome,) = await log.commit([item])
    assert outcome == "accepted"
    run.settle(item, outcome)


def next_of(run: HandmadeRun, place: str = "", *, ends: str = "", node: str = "one", **rest: Any) -> Append:
    """Return an append that ends a task and schedules the next in a node's hands."""
    item = run.append(["next"], tasks=1 if place else 0, **rest)
    if ends:
        item.over = [(run.id, ends, 1)]
    if place:
        item.offers = [offer(place, run=run.id, node=node, held=True)]
    return item


async def begun(log: PostgresLog, place: str = "a", *, run_id: str = "run-1", node: str = "one") -> HandmadeRun:
    """Return a run that has this task in a node's hands."""
    await log.tasks.stay_alive(node)
    run = HandmadeRun(log, run_id)
    await commit(log, run, next_of(run, place, node=node))
    return run


async def age_nodes(seconds: float) -> None:
    """Let it be so long since nodes said that they are alive."""
    await sql(f"update nodes set alive_until = alive_until - {int(seconds * 1e6)}")


async def rows() -> list[tuple[str, int, str]]:
    return [tuple(row) for row in await sql("select place, attempt, holder from queue order by place")]


# --- Without a row -------------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_runs_only_task_costs_no_row_from_its_birth_to_its_end():
    async with nodes() as (log, other):
        run = await begun(log)
        assert await rows() == []
        assert await other.tasks.holds([task("a"), task("a", attempt=2)], "one") == [True, False]
        assert await other.tasks.holds([task("a")], "two") == [False]
        (known,) = await other.tasks.claims_of("run-1")
        assert known.task == task("a")
        assert await other.tasks.lengths() == [Length("std", 0, 1)]
        assert await claim(other, "two") == []

        await commit(log, run, next_of(run, "b", ends="a"))
        assert await other.tasks.holds([task("a"), task("b")], "one") == [False, True]

        await commit(log, run, next_of(run, ends="b"))
        assert await rows() == []
        assert await other.tasks.claims_of("run-1") == []
        assert await other.tasks.lengths() == []


@on_a_loop
async def test_an_append_that_changes_no_task_leaves_it_where_it_is():
    async with nodes(1) as (log,):
        run = await begun(log)

        await commit(log, run, run.append(["a remark"]))

        assert (await rows(), await log.tasks.holds([task("a")], "one")) == ([], [True])


@on_a_loop
async def test_an_append_that_is_refused_changes_nothing_in_hand():
    async with nodes(1) as (log,):
        run = await begun(log)
        late = next_of(run, "c", ends="a")
        await commit(log, run, run.append(["a remark"]))

        assert await log.commit([late]) == ["version_conflict"]

        assert await log.tasks.holds([task("a"), task("c")], "one") == [True, False]


@on_a_loop
@pytest.mark.parametrize("alone", [True, False])
async def test_an_append_that_is_judged_by_itself_keeps_tasks_as_one_among_many_does(alone: bool):
    async with nodes(1) as (log,):
        run = await begun(log)
        moves = [Move("budget", reserve=1, spend=0, limit=10)] if alone else []

        await commit(log, run, next_of(run, "b", ends="a", node="two", moves=moves))

        assert (await rows(), await log.tasks.holds([task("a"), task("b")], "two")) == ([], [False, True])


@on_a_loop
async def test_of_two_appends_of_a_run_in_one_batch_both_tell_what_becomes_of_its_tasks():
    async with nodes(1) as (log,):
        await log.tasks.stay_alive("one")
        run = HandmadeRun(log, "run-1")
        first = next_of(run, "a")
        run.settle(first, "accepted")
        second = run.append(["more"], tasks=2)
        second.offers = [offer("b", node="one", held=True)]

        assert await log.commit([first, second]) == ["accepted", "accepted"]

        assert await log.tasks.holds([task("a"), task("b")], "one") == [True, True]


# --- With one ------------------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_second_task_makes_rows_of_both_and_their_ends_remove_them():
    async with nodes(1) as (log,):
        run = await begun(log)
        second = run.append(["more"], tasks=2)
        second.offers = [offer("b", node="one", held=True)]
        await commit(log, run, second)
        assert await rows() == [("a", 1, "one"), ("b", 1, "one")]
        one_less = run.append(["less"], tasks=1)
        one_less.over = [("run-1", "a", 1)]
        await commit(log, run, one_less)
        assert await rows() == [("b", 1, "one")]

        await commit(log, run, next_of(run, "c", ends="b"))

        assert (await rows(), await log.tasks.holds([task("c")], "one")) == ([], [True])


@on_a_loop
async def test_a_free_task_that_follows_one_in_hand_is_a_row():
    async with nodes() as (log, other):
        run = await begun(log)
        follows = run.append(["free"], tasks=1)
        follows.over, follows.offers = [("run-1", "a", 1)], [offer("b")]

        await commit(log, run, follows)

        assert await claim(other, "two") == [task("b")]
        assert await log.tasks.holds([task("a")], "one") == [False]


@on_a_loop
async def test_a_run_that_is_resumed_elsewhere_leaves_its_task_in_the_hands_it_is_in():
    async with nodes() as (log, other):
        run = await begun(log)
        resumes = next_of(run, "a", node="two")
        resumes.resumes = True

        await commit(other, run, resumes)

        assert await rows() == [("a", 1, "one")]


@on_a_loop
async def test_a_cancelled_run_has_nothing_in_hand_and_no_row():
    async with nodes(1) as (log,):
        run = await begun(log)
        cancelled = run.append(["cancelled"], tasks=1)
        cancelled.over = [("run-1", "", 0)]

        await commit(log, run, cancelled)

        assert (await rows(), await log.tasks.claims_of("run-1")) == ([], [])


@on_a_loop
async def test_a_task_in_hand_is_renewed_by_any_node_and_has_a_lease_from_then_on():
    async with nodes() as (log, other):
        await begun(log)

        assert await other.tasks.renew([task("a"), task("a")], ["one", "two"]) == [True, False]

        assert await rows() == [("a", 1, "one")]
        await age(LEASE_SECONDS + 1)
        assert [found.task for found in await other.tasks.overdue("two", 10)] == [task("a")]


@on_a_loop
async def test_a_row_that_was_made_of_a_task_in_hand_goes_with_its_end():
    async with nodes() as (log, other):
        run = await begun(log)
        await other.tasks.renew([task("a")], ["one"])

        await commit(log, run, next_of(run, "b", ends="a"))

        assert (await rows(), await log.tasks.holds([task("a"), task("b")], "one")) == ([], [False, True])


@on_a_loop
async def test_what_is_done_with_a_row_is_done_with_a_task_in_hand():
    async with nodes() as (log, other):
        for run_id in ("released", "removed", "lent", "theirs"):
            await begun(log, run_id=run_id)

        await log.tasks.release([task("a", run="released")], "one")
        await log.tasks.remove([task("a", run="removed")], "one")
        await log.tasks.set_leases([task("a", run="lent")], "one", [90_000_000])
        await other.tasks.release([task("a", run="theirs")], "two")  # not theirs to release

        assert await claim(other, "two") == [task("a", run="released")]
        assert await log.tasks.holds([task("a", run=name) for name in ("removed", "lent", "theirs")], "one") == [
            *(False, True, True)
        ]
        await age(LEASE_SECONDS + 1)
        assert {found.task.run_id for found in await other.tasks.overdue("three", 10)} == {"theirs", "released"}


@on_a_loop
async def test_a_task_in_hand_that_is_put_back_as_lost_stays_in_the_hands_it_is_in():
    async with nodes() as (log, other):
        await begun(log)

        await other.tasks.add([offer("a")])

        assert await rows() == [("a", 1, "one")]


@on_a_loop
async def test_a_row_is_made_of_a_task_while_its_node_goes_on():
    async with nodes() as (log, other):
        run = await begun(log, "p0")
        going = True

        async def renew() -> None:
            while going:
                await other.tasks.renew([task(f"p{number}") for number in range(100)], ["one"] * 100)

        renewing = asyncio.create_task(renew())
        for number in range(100):
            await commit(log, run, next_of(run, f"p{number + 1}", ends=f"p{number}"))
        going = False
        await renewing

        held = await log.tasks.holds([task(f"p{number}") for number in range(101)], "one")
        assert held == [False] * 100 + [True]
        assert set(await rows()) <= {("p100", 1, "one")}


# --- The node dies -------------------------------------------------------------------------------------------------


@on_a_loop
async def test_what_a_node_had_in_hand_is_overdue_when_it_was_silent_for_a_lease():
    async with nodes() as (log, other):
        await begun(log, run_id="dead")
        await begun(log, run_id="alive", node="three")
        await age_nodes(LEASE_SECONDS - 1)
        await log.tasks.stay_alive("three")
        assert await other.tasks.overdue("two", 10) == []

        await age_nodes(2)
        (found,) = await other.tasks.overdue("two", 10)

        assert (found.task, found.deadline_passed) == (task("a", run="dead"), False)
        assert await other.tasks.holds([task("a", run="dead")], "two") == [True]
        assert await log.tasks.holds([task("a", run="dead")], "one") == [False]
        assert await log.tasks.renew([task("a", run="dead")], ["one"]) == [False]


@on_a_loop
async def test_a_node_that_looks_for_the_dead_is_alive_itself():
    async with nodes(1) as (log,):
        await begun(log)
        await age_nodes(LEASE_SECONDS + 1)

        assert await log.tasks.overdue("one", 10) == []

        assert await log.tasks.holds([task("a")], "one") == [True]


@on_a_loop
async def test_of_many_that_find_a_node_dead_at_once_each_gets_tasks_of_its_own():
    async with nodes(4) as logs:
        for number in range(30):
            await begun(logs[0], run_id=f"run-{number}")
        await age_nodes(LEASE_SECONDS + 1)

        found = await asyncio.gather(*(log.tasks.overdue(f"n{number}", 25) for number, log in enumerate(logs)))
        found += [await log.tasks.overdue(f"n{number}", 25) for number, log in enumerate(logs)]

        runs = [one.task.run_id for share in found for one in share]
        assert sorted(runs) == sorted(f"run-{number}" for number in range(30))


@on_a_loop
async def test_a_task_in_the_hands_of_a_node_that_nobody_knows_is_missing():
    async with nodes(1) as (log,):
        await begun(log, run_id="known")
        await begun(log, run_id="lost", node="two")
        await sql("delete from nodes where node = 'two'")

        assert await log.tasks.missing(1 << 62, 10) == ["lost"]


@on_a_loop
async def test_the_tasks_of_a_run_that_ended_before_its_node_died_are_nobodys():
    async with nodes() as (log, other):
        run = await begun(log)
        await commit(log, run, next_of(run, ends="a"))
        await age_nodes(LEASE_SECONDS + 1)

        assert await other.tasks.overdue("two", 10) == []
        assert await rows() == []
