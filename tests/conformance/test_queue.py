"""What every queue keeps true (`ports.Queue`), asked of each adapter alike: the one in memory, and the one of many
processes in front of rows (whose table has more to keep true, `test_task_table.py`)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.postgres_logs import empty_postgres_log

from headgate.ports import Claim, Clock, Length, Offer, Queue, Task
from headgate.queues.leases import ENTRIES_KEPT_MIN
from headgate.queues.memory import MemoryQueue
from headgate.queues.store import StoreQueue
from headgate.stores.postgres import PostgresLog
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


class Line(NamedTuple):
    """A queue, and how tasks come into it and leave it: by themselves, or as rows of appends."""

    queue: Queue
    log: PostgresLog | None

    async def offer(self, task: Task) -> None:
        if self.log is None:
            self.queue.put(task)
            return
        assert isinstance(self.queue, StoreQueue)
        await self.log.tasks.add(
            [Offer(task.run_id, task.place, task.attempt, task.queue, 1, "", held=False, tenant=task.tenant)]
        )
        self.queue.wake([task.queue])

    async def over(self, claim: Claim) -> None:
        self.queue.finish(claim.activity_id)
        if self.log is not None:
            assert isinstance(self.queue, StoreQueue)
            await self.log.tasks.remove([claim.task], self.queue.node)


KINDS = ("memory", "store")


@asynccontextmanager
async def opened(kind: str) -> AsyncGenerator[Line]:
    """Yield a queue of this kind, with nothing in it."""
    if kind == "memory":
        yield Line(MemoryQueue(StillClock()), None)
        return
    log = empty_postgres_log()
    queue = StoreQueue(log.tasks, StillClock())
    try:
        yield Line(queue, log)
    finally:
        await queue.close()
        await log.close()


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


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_tenants_worker_gets_that_tenants_tasks_alone(kind: str):
    async with opened(kind) as line:
        await line.offer(task("a", tenant="acme"))
        await line.offer(task("b", run="run-2", tenant="bolt"))

        nobodys = await line.queue.take(["default"], worker_id="w", count=9, wait_seconds=0, tenant="other")
        bolts = await line.queue.take(["default"], worker_id="w", count=9, wait_seconds=0, tenant="bolt")

        assert nobodys == []
        assert [claim.task for claim in bolts] == [task("b", run="run-2", tenant="bolt")]
        assert places(await take(line.queue, 9)) == ["a"]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_whoever_waits_for_one_tenant_is_not_woken_by_the_task_of_another(kind: str):
    async with opened(kind) as line:
        take = line.queue.take
        acme = asyncio.create_task(take(["default"], worker_id="w", count=1, wait_seconds=LONG, tenant="acme"))
        bolt = asyncio.create_task(take(["default"], worker_id="w", count=1, wait_seconds=LONG, tenant="bolt"))
        await asyncio.sleep(0)

        await line.offer(task("b", tenant="bolt"))

        assert places(await bolt) == ["b"]
        assert not acme.done()
        await line.offer(task("a", run="run-2", tenant="acme"))
        assert places(await acme) == ["a"]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_its_lengths_tell_what_waits_and_what_is_held_in_each_queue(kind: str):
    async with opened(kind) as line:
        assert await line.queue.lengths() == []
        for place in ("a", "b", "c"):
            await line.offer(task(place))
        await line.offer(task("d", run="run-2", line="gpu"))
        (claim,) = await take(line.queue)

        lengths = await line.queue.lengths()
        await line.over(claim)

        assert lengths == [Length("default", 2, 1), Length("gpu", 1, 0)]
        assert await line.queue.lengths() == [Length("default", 2, 0), Length("gpu", 1, 0)]


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


# --- Waiting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_take_that_waits_is_woken_by_a_task(kind: str):
    async with opened(kind) as line:
        waiting = await started(take(line.queue, wait=LONG))

        await line.offer(task("a"))

        assert places(await asyncio.wait_for(waiting, 5)) == ["a"]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_each_of_many_waiting_takes_gets_a_task_of_its_own(kind: str):
    async with opened(kind) as line:
        waiting = [await started(take(line.queue, wait=LONG)) for _ in range(10)]

        for number in range(10):
            await line.offer(task(f"place-{number}"))
        claims = await asyncio.wait_for(asyncio.gather(*waiting), 5)

        assert sorted(Counter(place for taken in claims for place in places(taken)).values()) == [1] * 10


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_task_of_another_queue_wakes_nobody(kind: str):
    async with opened(kind) as line:
        waiting = await started(take(line.queue, 1, "gpu", wait=LONG))

        await line.offer(task("a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert not waiting.done()
        await line.offer(task("b", line="gpu"))
        assert places(await asyncio.wait_for(waiting, 5)) == ["b"]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_take_returns_empty_handed_when_its_time_is_over(kind: str):
    async with opened(kind) as line:
        assert await asyncio.wait_for(take(line.queue, wait=0.001), 5) == []
        await line.offer(task("a"))

        assert places(await take(line.queue)) == ["a"]


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


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_take_that_is_cancelled_loses_no_task(kind: str):
    async with opened(kind) as line:
        waiting = await started(take(line.queue, wait=LONG))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        await line.offer(task("a"))

        # What the cancelled one has asked of the rows meanwhile may have got it, and is given back.
        assert places(await take(line.queue, wait=LONG)) == ["a"]


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
