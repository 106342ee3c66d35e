"""What every queue keeps true (`ports.Queue`): tasks, claims, deadlines, in any order."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conformance.queue.lines import ADAPTERS, KINDS, StillClock, opened, places, take, task

from headgate.ports import Claim, Queue, Task
from headgate.queues.leases import ENTRIES_KEPT_MIN
from headgate.queues.memory import MemoryQueue
from headgate.testing.log_conformance import NOON, on_a_loop

# --- Offering and claiming --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_task_is_claimed_by_whoever_takes_it(kind: str):
    async with opened(kind) as line:
        await line.offer(task("a"))

        (claim,) = await take(line.queue)

        assert claim.task == task("a")
        assert (claim.worker_id, claim.claimed_at) == ("worker-1", NOON)
        assert claim.lease_until > NOON
        assert line.queue.claimed(claim.activity_id) == claim
        assert [held.task for held in await line.queue.claims_of("run-1")] == [claim.task]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_task_is_claimed_once(kind: str):
    async with opened(kind) as line:
        await line.offer(task("a"))

        claims = await asyncio.gather(*(take(line.queue) for _ in range(10)))

        assert [len(taken) for taken in claims] == [1] + [0] * 9


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_tasks_are_claimed_in_the_order_in_which_they_were_put(kind: str):
    async with opened(kind) as line:
        for name in "abcde":
            await line.offer(task(name))

        first, rest = await take(line.queue, 2), await take(line.queue, 10)

        assert places(first + rest) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_task_that_is_put_twice_is_claimed_once(kind: str):
    async with opened(kind) as line:
        await line.offer(task("a"))
        await line.offer(task("a"))
        claims = await take(line.queue, 10)
        await line.offer(task("a"))

        assert places(claims) == ["a"]
        assert await take(line.queue, 10) == []


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_another_attempt_of_the_same_place_is_another_task(kind: str):
    async with opened(kind) as line:
        await line.offer(task("a", attempt=1))
        await line.offer(task("a", attempt=2))

        claims = await take(line.queue, 10)

        assert [claim.task.attempt for claim in claims] == [1, 2]
        assert len({claim.activity_id for claim in claims}) == 2


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_task_may_be_put_again_when_its_claim_is_over(kind: str):
    async with opened(kind) as line:
        await line.offer(task("a"))
        (first,) = await take(line.queue)
        await line.over(first)
        await line.offer(task("a"))

        (second,) = await take(line.queue)

        assert second.activity_id != first.activity_id
        assert line.queue.claimed(first.activity_id) is None
        assert [held.task for held in await line.queue.claims_of("run-1")] == [second.task]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_worker_takes_only_from_the_queues_it_names(kind: str):
    async with opened(kind) as line:
        await line.offer(task("a", line="gpu"))
        await line.offer(task("b", line="mail"))

        assert await take(line.queue, 10, "default") == []
        assert places(await take(line.queue, 10, "default", "mail")) == ["b"]
        assert places(await take(line.queue, 10, "gpu")) == ["a"]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_claim_that_is_not_known_is_no_error(kind: str):
    async with opened(kind) as line:
        line.queue.finish("never")
        line.queue.set_deadline("never", NOON)

        assert line.queue.claimed("never") is None
        assert await line.queue.renew("never") is False
        assert line.queue.overdue(NOON + 1) == []


SECOND = 1_000_000


@on_a_loop
async def test_a_claim_that_nobody_renews_is_overdue_when_its_lease_is_over(queue: Queue, clock: StillClock):
    queue.put(task("a"))
    queue.put(task("b"))
    (claim, other) = await take(queue, 2)
    queue.set_deadline(claim.activity_id, NOON + 900 * SECOND)
    await queue.set_leases({claim.activity_id: 30 * SECOND})
    assert queue.next_deadline() == NOON + 30 * SECOND

    assert queue.overdue(NOON + 30 * SECOND - 1) == []
    assert queue.overdue(NOON + 30 * SECOND) == [claim]
    assert queue.overdue(NOON + 31 * SECOND) == []  # whoever asked sees to it
    assert queue.overdue(NOON + 33 * SECOND) == [claim]  # and has not, it seems
    queue.finish(claim.activity_id)

    assert queue.overdue(NOON + 40 * SECOND) == []
    assert queue.next_deadline() is None
    assert queue.overdue(NOON + 10_000 * SECOND) == []  # the other is kept by its process
    assert queue.claimed(other.activity_id) is other


@on_a_loop
async def test_a_lease_is_renewed_by_its_own_length_while_the_claim_lasts(queue: Queue, clock: StillClock):
    queue.put(task("a"))
    (claim,) = await take(queue)
    await queue.set_leases({claim.activity_id: 90 * SECOND})

    clock.time = NOON + 80 * SECOND
    assert await queue.renew(claim.activity_id)

    assert claim.lease_until == NOON + 170 * SECOND
    assert queue.overdue(NOON + 169 * SECOND) == []
    assert queue.next_deadline() == NOON + 170 * SECOND
    assert queue.overdue(NOON + 170 * SECOND) == [claim]
    queue.finish(claim.activity_id)
    assert not await queue.renew(claim.activity_id)


@on_a_loop
async def test_a_claim_past_its_deadline_and_its_lease_is_told_once(queue: Queue):
    queue.put(task("a"))
    (claim,) = await take(queue)
    queue.set_deadline(claim.activity_id, NOON + 5 * SECOND)
    await queue.set_leases({claim.activity_id: 5 * SECOND})

    assert queue.overdue(NOON + 5 * SECOND) == [claim]


@on_a_loop
async def test_leases_of_claims_that_have_ended_are_not_kept_for_ever(clock: StillClock):
    queue = MemoryQueue(clock)
    for number in range(5 * ENTRIES_KEPT_MIN):
        queue.put(task("a", run=f"run-{number}"))
        (claim,) = await take(queue)
        await queue.set_leases({claim.activity_id: 30 * SECOND})
        queue.finish(claim.activity_id)

    assert len(queue._leases._entries) <= ENTRIES_KEPT_MIN + 1


# --- Deadlines --------------------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_claim_is_overdue_from_its_deadline_on(queue: Queue):
    queue.put(task("a"))
    (claim,) = await take(queue)

    queue.set_deadline(claim.activity_id, NOON + 100)

    assert queue.next_deadline() == NOON + 100
    assert queue.overdue(NOON + 99) == []
    assert queue.overdue(NOON + 100) == [claim]


@on_a_loop
async def test_a_deadline_that_is_moved_counts_from_then_on(queue: Queue):
    queue.put(task("a"))
    (claim,) = await take(queue)
    queue.set_deadline(claim.activity_id, NOON + 100)

    queue.set_deadline(claim.activity_id, NOON + 300)

    assert queue.next_deadline() == NOON + 300
    assert queue.overdue(NOON + 200) == []
    queue.set_deadline(claim.activity_id, NOON + 50)
    assert queue.next_deadline() == NOON + 50
    assert queue.overdue(NOON + 60) == [claim]


@on_a_loop
async def test_a_claim_that_is_over_has_no_deadline(queue: Queue):
    queue.put(task("a"))
    queue.put(task("b"))
    early, late = await take(queue, 2)
    queue.set_deadline(early.activity_id, NOON + 1)
    queue.set_deadline(late.activity_id, NOON + 2)

    queue.finish(early.activity_id)

    assert queue.next_deadline() == NOON + 2
    assert queue.overdue(NOON + 10) == [late]
    queue.finish(late.activity_id)
    assert queue.next_deadline() is None


@on_a_loop
async def test_claims_that_end_before_their_deadline_leave_nothing_behind(queue: Queue):
    for number in range(5_000):
        queue.put(task(f"place-{number}"))
        (claim,) = await take(queue)
        queue.set_deadline(claim.activity_id, NOON + 3_600_000_000)
        queue.finish(claim.activity_id)

    assert isinstance(queue, MemoryQueue)
    kept = {name: len(part) for name, part in vars(queue).items() if hasattr(part, "__len__")}
    assert max(kept.values()) <= 1_001, kept


# --- Any order at all -------------------------------------------------------------------------------------------------


Steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "take", "finish", "drop"]),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    max_size=40,
)


@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
@given(steps=Steps)
def test_whatever_is_asked_no_task_is_under_two_claims_and_none_is_lost(
    adapter: str, steps: list[tuple[str, int, int]]
):
    async def story() -> None:
        queue = ADAPTERS[adapter](StillClock())
        line: list[Task] = []
        held: dict[Task, Claim] = {}
        for what, run, place in steps:
            wanted = task(str(place), run=f"run-{run}")
            if what == "put":
                queue.put(wanted)
                line += [wanted] if wanted not in held and wanted not in line else []
            elif what == "take":
                claims = await take(queue, place)
                assert [claim.task for claim in claims] == line[:place]
                held |= {claim.task: claim for claim in claims}
                del line[:place]
            elif what == "finish" and wanted in held:
                queue.finish(held.pop(wanted).activity_id)
            elif what == "drop":
                mine = [claim for claim in held.values() if claim.task.run_id == wanted.run_id]
                assert sorted(queue.drop(wanted.run_id), key=repr) == sorted(mine, key=repr)
                line = [left for left in line if left.run_id != wanted.run_id]
            assert queue.depth("default") == len(line)
            for claim in held.values():
                assert queue.claimed(claim.activity_id) is claim

    asyncio.run(story())
