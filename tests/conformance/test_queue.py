"""What every queue keeps true (`ports.Queue`), asked of each adapter alike."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.ports import Claim, Clock, Queue, Task
from headgate.queues.memory import MemoryQueue
from headgate.testing.log_conformance import NOON, on_a_loop

ADAPTERS: dict[str, Callable[[Clock], Queue]] = {"memory": MemoryQueue}
LONG = 30.0
"""Seconds that no test waits for: whoever waits is woken."""


class StillClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> int:
        return self.time

    async def wait(self, until: int | None, wake: asyncio.Event) -> None:
        raise AssertionError("a queue has nothing to wait for but tasks")


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture(params=sorted(ADAPTERS))
def queue(request: pytest.FixtureRequest, clock: StillClock) -> Queue:
    return ADAPTERS[request.param](clock)


def task(
    place: str = "a", *, run: str = "run-1", attempt: int = 1, line: str = "default", tenant: str = "default"
) -> Task:
    return Task(line, run, place, attempt, tenant)


async def take(queue: Queue, count: int = 1, *lines: str, wait: float = 0.0) -> list[Claim]:
    return await queue.take(lines or ("default",), worker_id="worker-1", count=count, wait_seconds=wait)


async def started(waiting: Coroutine[Any, Any, list[Claim]]) -> asyncio.Task[list[Claim]]:
    """Start a take, and return when it waits."""
    begun = asyncio.create_task(waiting)
    await asyncio.sleep(0)
    assert not begun.done()
    return begun


def places(claims: list[Claim]) -> list[str]:
    return [claim.task.place for claim in claims]


# --- Tenants ---------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_tenants_worker_gets_that_tenants_tasks_alone(queue: Queue):
    queue.put(task("a", tenant="acme"))
    queue.put(task("b", run="run-2", tenant="bolt"))

    nobodys = await queue.take(["default"], worker_id="w", count=9, wait_seconds=0, tenant="other")
    bolts = await queue.take(["default"], worker_id="w", count=9, wait_seconds=0, tenant="bolt")

    assert nobodys == []
    assert places(bolts) == ["b"]
    assert queue.depth("default") == 1


@on_a_loop
async def test_whoever_waits_for_one_tenant_is_not_woken_by_the_task_of_another(queue: Queue):
    acme = await started(queue.take(["default"], worker_id="w", count=1, wait_seconds=LONG, tenant="acme"))
    bolt = await started(queue.take(["default"], worker_id="w", count=1, wait_seconds=LONG, tenant="bolt"))

    queue.put(task("b", tenant="bolt"))

    assert places(await bolt) == ["b"]
    assert not acme.done()
    queue.put(task("a", run="run-2", tenant="acme"))
    assert places(await acme) == ["a"]


@on_a_loop
async def test_tenants_take_turns_with_a_worker_of_all(queue: Queue):
    for number in range(4):
        queue.put(task(f"a{number}", tenant="acme"))
    for number in range(2):
        queue.put(task(f"b{number}", run="run-2", tenant="bolt"))

    claims = await take(queue, 3) + await take(queue, 9)

    assert places(claims) == ["a0", "b0", "a1", "b1", "a2", "a3"]
    assert queue.depth("default") == 0


@on_a_loop
async def test_tasks_that_are_taken_back_leave_those_of_other_tenants(queue: Queue):
    queue.put(task("a", tenant="acme"))
    queue.put(task("b", run="run-2", tenant="bolt"))

    queue.drop("run-1")

    assert queue.depth("default") == 1
    assert places(await take(queue, 9)) == ["b"]


@on_a_loop
async def test_ids_of_claims_do_not_tell_how_many_there_were(queue: Queue):
    for number in range(3):
        queue.put(task(f"a{number}"))

    endings = [int(claim.activity_id.rpartition("/")[2], 16) for claim in await take(queue, 3)]

    assert min(abs(one - other) for one in endings for other in endings if one is not other) > 1_000


# --- Offering and claiming -------------------------------------------------------------------------------


@on_a_loop
async def test_a_task_is_claimed_by_whoever_takes_it(queue: Queue, clock: StillClock):
    queue.put(task("a"))

    (claim,) = await take(queue)

    assert claim.task == task("a")
    assert (claim.worker_id, claim.claimed_at) == ("worker-1", NOON)
    assert claim.lease_until > clock.now()
    assert queue.claimed(claim.activity_id) == claim
    assert queue.claims_of("run-1") == [claim]


@on_a_loop
async def test_a_task_is_claimed_once(queue: Queue):
    queue.put(task("a"))

    claims = await asyncio.gather(*(take(queue) for _ in range(10)))

    assert [len(taken) for taken in claims] == [1] + [0] * 9


@on_a_loop
async def test_tasks_are_claimed_in_the_order_in_which_they_were_put(queue: Queue):
    for name in "abcde":
        queue.put(task(name))

    first, rest = await take(queue, 2), await take(queue, 10)

    assert places(first + rest) == ["a", "b", "c", "d", "e"]


@on_a_loop
async def test_a_task_that_is_put_twice_is_claimed_once(queue: Queue):
    queue.put(task("a"))
    queue.put(task("a"))
    offered = queue.depth("default")
    claims = await take(queue, 10)
    queue.put(task("a"))

    assert offered == 1
    assert places(claims) == ["a"]
    assert await take(queue, 10) == []
    assert queue.depth("default") == 0


@on_a_loop
async def test_another_attempt_of_the_same_place_is_another_task(queue: Queue):
    queue.put(task("a", attempt=1))
    queue.put(task("a", attempt=2))

    claims = await take(queue, 10)

    assert [claim.task.attempt for claim in claims] == [1, 2]
    assert len({claim.activity_id for claim in claims}) == 2


@on_a_loop
async def test_a_task_may_be_put_again_when_its_claim_is_over(queue: Queue):
    queue.put(task("a"))
    (first,) = await take(queue)
    queue.finish(first.activity_id)
    queue.put(task("a"))

    (second,) = await take(queue)

    assert second.activity_id != first.activity_id
    assert queue.claimed(first.activity_id) is None
    assert queue.claims_of("run-1") == [second]


@on_a_loop
async def test_a_worker_takes_only_from_the_queues_it_names(queue: Queue):
    queue.put(task("a", line="gpu"))
    queue.put(task("b", line="mail"))

    assert await take(queue, 10, "default") == []
    assert places(await take(queue, 10, "default", "mail")) == ["b"]
    assert (queue.depth("gpu"), queue.depth("mail"), queue.depth("never")) == (1, 0, 0)


@on_a_loop
async def test_a_claim_that_is_not_known_is_no_error(queue: Queue):
    queue.finish("never")
    queue.set_deadline("never", NOON)

    assert queue.claimed("never") is None
    assert queue.renew("never", NOON) is False
    assert queue.overdue(NOON + 1) == []


@on_a_loop
async def test_a_lease_is_renewed_while_the_claim_lasts(queue: Queue):
    queue.put(task("a"))
    (claim,) = await take(queue)

    renewed = queue.renew(claim.activity_id, NOON + 99)
    now = queue.claimed(claim.activity_id)
    queue.finish(claim.activity_id)

    assert renewed
    assert now is not None
    assert now.lease_until == NOON + 99
    assert not queue.renew(claim.activity_id, NOON + 100)


# --- Waiting ---------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_take_that_waits_is_woken_by_a_task(queue: Queue):
    waiting = await started(take(queue, wait=LONG))

    queue.put(task("a"))

    assert places(await asyncio.wait_for(waiting, 5)) == ["a"]


@on_a_loop
async def test_each_of_many_waiting_takes_gets_a_task_of_its_own(queue: Queue):
    waiting = [await started(take(queue, wait=LONG)) for _ in range(10)]

    for number in range(10):
        queue.put(task(f"place-{number}"))
    claims = await asyncio.wait_for(asyncio.gather(*waiting), 5)

    assert sorted(Counter(place for taken in claims for place in places(taken)).values()) == [1] * 10


@on_a_loop
async def test_a_task_of_another_queue_wakes_nobody(queue: Queue):
    waiting = await started(take(queue, 1, "gpu", wait=LONG))

    queue.put(task("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert not waiting.done()
    queue.put(task("b", line="gpu"))
    assert places(await asyncio.wait_for(waiting, 5)) == ["b"]


@on_a_loop
async def test_a_take_returns_empty_handed_when_its_time_is_over(queue: Queue):
    assert await asyncio.wait_for(take(queue, wait=0.001), 5) == []
    queue.put(task("a"))

    assert places(await take(queue)) == ["a"]


@on_a_loop
async def test_a_take_whose_task_was_snatched_waits_on(queue: Queue):
    waiting = await started(take(queue, wait=LONG))

    queue.put(task("a"))
    snatched = await take(queue)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert places(snatched) == ["a"]
    assert not waiting.done()
    queue.put(task("b"))
    assert places(await asyncio.wait_for(waiting, 5)) == ["b"]


@on_a_loop
async def test_a_take_that_is_cancelled_loses_no_task(queue: Queue):
    waiting = await started(take(queue, wait=LONG))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    queue.put(task("a"))

    assert places(await take(queue)) == ["a"]


@on_a_loop
async def test_a_take_that_is_cancelled_as_it_is_woken_wakes_the_next_one(queue: Queue):
    first = await started(take(queue, wait=LONG))
    second = await started(take(queue, wait=LONG))

    queue.put(task("a"))
    first.cancel()

    assert places(await asyncio.wait_for(second, 5)) == ["a"]
    with pytest.raises(asyncio.CancelledError):
        await first


# --- Taking back -----------------------------------------------------------------------------------------


@on_a_loop
async def test_a_drop_takes_back_what_nobody_has_claimed_and_names_the_rest(queue: Queue):
    for name in "abc":
        queue.put(task(name))
    queue.put(task("d", run="run-2"))
    (claim,) = await take(queue)

    held = queue.drop("run-1")

    assert held == [claim]
    assert queue.depth("default") == 1
    assert places(await take(queue, 10)) == ["d"]
    assert queue.drop("never") == []


@on_a_loop
async def test_a_task_that_was_dropped_and_put_again_is_claimed_once(queue: Queue):
    for _ in range(3):
        queue.put(task("a"))
        queue.drop("run-1")
    queue.put(task("a"))
    offered = queue.depth("default")

    claims = await take(queue, 10)

    assert offered == 1
    assert places(claims) == ["a"]


@on_a_loop
async def test_a_task_that_was_put_again_stands_behind_the_others(queue: Queue):
    queue.put(task("a"))
    queue.put(task("b", run="run-2"))
    queue.drop("run-1")
    queue.put(task("a"))

    assert places(await take(queue, 10)) == ["b", "a"]


# --- Deadlines -------------------------------------------------------------------------------------------


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


# --- Any order at all ------------------------------------------------------------------------------------

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
