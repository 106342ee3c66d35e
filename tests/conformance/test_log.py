"""What every log keeps true of appends and of its feed (`ports.Log`), asked of each adapter alike."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest
from tests.conformance.logs import DAY, HOUR, all_of, begun

from headgate.core.errors import Unavailable
from headgate.engine.audit import verify
from headgate.engine.lane import INLINE_BYTES_MAX
from headgate.ports import Log, Move, OverBudget
from headgate.testing.log_conformance import NOON, HandmadeRun, on_a_loop

# --- Appends ---------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_new_run_is_there_with_its_events_and_contents(log: Log):
    run = HandmadeRun(log, "run-1", unique_key="order-7")
    item = run.append([{"text": "hello"}, None, [1, 2]], attention_at=NOON + 5, tasks=2, cost=7, reserved=3)

    outcomes = await log.commit([item])

    run.settle(item, outcomes[0])
    assert outcomes == ["accepted"]
    assert await log.run("run-1") == run.row
    stored = await log.events(run.key)
    assert [tuple(row[1:]) for row in stored] == item.rows
    assert await log.contents(run.key, [1, 2, 3]) == {1: b'{"text":"hello"}', 3: b"[1,2]"}


@on_a_loop
async def test_an_append_moves_the_head_and_nothing_else_of_the_row(log: Log):
    run = await begun(log)
    before = await log.run("run-1")

    await run.commit([None, None], status="completed", finished_at=NOON + 9, error="none", simulated=True)

    row = await log.run("run-1")
    assert row is not None
    assert before is not None
    assert row.head == run.head
    assert (row.head.version, row.head.status, row.head.finished_at) == (3, "completed", NOON + 9)
    assert msgspec.structs.replace(row, head=before.head) == before


@on_a_loop
async def test_an_empty_batch_is_no_error(log: Log):
    assert await log.commit([]) == []


@on_a_loop
async def test_of_two_appends_with_one_expected_version_the_second_leaves_no_trace(log: Log):
    run = await begun(log)
    await log.commit([HandmadeRun(log, "other").append(moves=[Move("team", limit=100)])])
    first = run.append(["first"])
    second = run.append(["x" * (INLINE_BYTES_MAX + 1)], moves=[Move("team", reserve=5)], commands=["c-1"])

    outcomes = await log.commit([first, second])

    assert outcomes == ["accepted", "version_conflict"]
    assert await log.budget("team") == OverBudget("team", 100, 0, 0)
    assert await log.answer("default", "c-1") is None
    assert await log.contents(run.key, [2]) == {2: b'"first"'}
    assert len(await log.events(run.key)) == 2


@on_a_loop
async def test_of_many_concurrent_writers_of_one_version_exactly_one_wins(log: Log):
    run = await begun(log)

    outcomes = await asyncio.gather(*(log.commit([run.append([number])]) for number in range(20)))

    words = [outcome for (outcome,) in outcomes]
    assert sorted(map(str, words)) == ["accepted", *["version_conflict"] * 19]
    assert await log.contents(run.key, [2]) == {2: str(words.index("accepted")).encode()}
    assert await verify(log) == []


@pytest.mark.parametrize("expected", [0, 2, 99])
@on_a_loop
async def test_an_append_upon_another_version_than_the_run_has_conflicts(log: Log, expected: int):
    run = await begun(log)
    item = run.append()
    item.expected_version = expected

    assert await log.commit([item]) == ["version_conflict"]


@on_a_loop
async def test_an_append_to_a_run_that_is_not_there_conflicts(log: Log):
    item = HandmadeRun(log, "never").append()
    item.new = None

    assert await log.commit([item]) == ["version_conflict"]


@on_a_loop
async def test_one_batch_may_carry_appends_that_follow_each_other(log: Log):
    run = HandmadeRun(log, "run-1")
    first = run.append(["a"])
    run.settle(first, "accepted")
    second = run.append(["b"])

    assert await log.commit([first, second]) == ["accepted", "accepted"]
    assert await log.contents(run.key, [1, 2]) == {1: b'"a"', 2: b'"b"'}


@on_a_loop
async def test_a_refusal_touches_no_other_item_of_the_batch(log: Log):
    runs = [await begun(log, f"run-{number}") for number in range(6)]
    await log.commit([HandmadeRun(log, "owner").append(moves=[Move("team", limit=10)], commands=["c-1"])])
    stale = runs[0].append()
    assert await runs[0].commit() == "accepted"
    batch = [
        runs[1].append(["one"]),
        stale,
        runs[2].append(moves=[Move("team", reserve=11)]),
        runs[3].append(moves=[Move("team", reserve=4)]),
        runs[4].append(moves=[Move("team", reserve=1)], commands=["c-1"]),
        HandmadeRun(log, "run-1").append(),
        runs[5].append(["last"]),
    ]

    outcomes = await log.commit(batch)

    over = OverBudget("team", 10, 0, 0)
    assert outcomes == ["accepted", "version_conflict", over, "accepted", "repeated", "run_exists", "accepted"]
    heads = [row.head.version for row in reversed(await log.runs(limit=6 + 1)) if row.id.startswith("run-")]
    assert heads == [2, 2, 1, 2, 1, 2]
    assert await log.budget("team") == OverBudget("team", 10, 0, 4)


# --- Runs that may be there once -------------------------------------------------------------------------


@on_a_loop
async def test_a_second_run_of_the_same_id_is_refused_without_trace(log: Log):
    await begun(log, contents=("the first",))
    before = await all_of(log)

    outcome = await HandmadeRun(log, "run-1").commit(["x" * 70_000], moves=[Move("team", limit=3)])

    assert outcome == "run_exists"
    assert await all_of(log) == before


@on_a_loop
async def test_a_unique_key_is_held_by_one_run_of_a_tenant(log: Log):
    first = await begun(log, "run-1", unique_key="order-7")

    assert await HandmadeRun(log, "run-2", unique_key="order-7").commit() == "run_exists"
    assert await HandmadeRun(log, "run-3", unique_key="order-7", tenant="other").commit() == "accepted"
    assert await HandmadeRun(log, "run-4").commit() == "accepted"
    assert await HandmadeRun(log, "run-5").commit() == "accepted"
    assert await log.run("run-2") is None
    held = await log.run_by_unique_key("default", "order-7")
    assert held is not None
    assert held.key == first.key
    assert await log.run_by_unique_key("default", "") is None
    assert await log.run_by_unique_key("default", "order-8") is None


@pytest.mark.parametrize(("status", "freed"), [("completed", False), ("failed", True), ("cancelled", True)])
@on_a_loop
async def test_a_unique_key_is_free_again_when_its_run_did_not_succeed(log: Log, status: str, freed: bool):
    first = await begun(log, "run-1", unique_key="order-7")
    await first.commit(status=status, finished_at=NOON)

    outcome = await HandmadeRun(log, "run-2", unique_key="order-7").commit()

    assert outcome == ("accepted" if freed else "run_exists")
    held = await log.run_by_unique_key("default", "order-7")
    assert held is not None
    assert held.id == ("run-2" if freed else "run-1")


@pytest.mark.parametrize("commands", [[], ["retry-1"]])
@on_a_loop
async def test_a_failed_run_whose_unique_key_went_to_another_cannot_come_back(log: Log, commands: list[str]):
    first = await begun(log, "run-1", unique_key="order-7")
    await first.commit(status="failed", finished_at=NOON)
    second = await begun(log, "run-2", unique_key="order-7")
    bystander = await begun(log, "run-3")

    retried = first.append(status="running", finished_at=None, commands=commands)
    outcomes = await log.commit([retried, bystander.append()])

    assert outcomes == ["run_exists", "accepted"]
    held = await log.run_by_unique_key("default", "order-7")
    assert held is not None
    assert held.key == second.key


@on_a_loop
async def test_new_keys_are_never_given_twice(log: Log):
    run = await begun(log)

    keys = [log.new_key() for _ in range(100)]

    assert len({run.key, *keys}) == 101
    assert min(keys) > run.key


# --- Commands that are repeated --------------------------------------------------------------------------


@on_a_loop
async def test_a_command_id_is_answered_as_the_first_time(log: Log):
    run = await begun(log, commands=["start-1"])
    other = await begun(log, "run-2", tenant="other", commands=["start-1"])

    outcome = await run.commit(["again"], commands=["fresh", "start-1"])

    assert outcome == "repeated"
    assert len(await log.events(run.key)) == 1
    assert await log.answer("default", "start-1") == b"run-1"
    assert await log.answer("other", "start-1") == other.id.encode()
    assert await log.answer("default", "fresh") is None
    assert await log.answer("default", "unheard-of") is None


@on_a_loop
async def test_a_command_id_repeated_within_one_batch_is_accepted_once(log: Log):
    one, two = await begun(log, "run-1"), await begun(log, "run-2")

    outcomes = await log.commit([one.append(commands=["c"]), two.append(commands=["c"])])

    assert outcomes == ["accepted", "repeated"]


@on_a_loop
async def test_answers_are_kept_for_a_week_and_then_forgotten(log: Log):
    run = await begun(log, commands=["old"])
    await run.commit(commands=["younger"], at=NOON + DAY)

    await run.commit(commands=["within"], at=NOON + 7 * DAY)
    within = [await log.answer("default", name) for name in ("old", "younger")]
    repeated = await run.commit(commands=["old"], at=NOON + 7 * DAY + 2 * HOUR)

    assert within == [b"run-1", b"run-1"]
    assert repeated == "accepted"
    assert await log.answer("default", "younger") == b"run-1"
    await run.commit(commands=["later"], at=NOON + 9 * DAY)
    assert await log.answer("default", "younger") is None


# --- The feed --------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_follower_sees_every_event_once_and_each_runs_in_order(log: Log):
    written: dict[int, int] = {}
    seen: list[tuple[int, int, int]] = []
    finished = asyncio.Event()

    async def write(number: int) -> None:
        chance = random.Random(number)
        run = HandmadeRun(log, f"run-{number}")
        for _ in range(8):
            assert await run.commit([None] * chance.randint(1, 4)) == "accepted"
            for _ in range(chance.randint(0, 3)):
                await asyncio.sleep(0)
        written[run.key] = run.head.version

    async def follow() -> None:
        while True:
            last = finished.is_set()
            page = await log.feed(seen[-1][0] if seen else 0, 7)
            seen.extend((row.pos, row.run, row.version) for row in page)
            if last and not page:
                return
            await asyncio.sleep(0)

    follower = asyncio.create_task(follow())
    await asyncio.gather(*(write(number) for number in range(20)))
    finished.set()
    await follower

    positions = [pos for pos, _, _ in seen]
    assert positions == sorted(set(positions))
    assert len(seen) == sum(written.values())
    for key, versions in written.items():
        assert [version for _, run, version in seen if run == key] == list(range(1, versions + 1))


@on_a_loop
async def test_the_feed_is_paged_by_position_and_holds_no_refused_event(log: Log):
    assert await log.feed_end() == 0
    run = await begun(log, contents=(None, None, None))
    stale = run.append()
    await run.commit([None])
    await log.commit([stale])

    first = await log.feed(0, 3)
    rest = await log.feed(first[-1].pos, 100)

    assert [row.version for row in first] == [1, 2, 3]
    assert [row.version for row in rest] == [4]
    assert await log.feed(rest[-1].pos, 100) == []
    assert await log.feed_end() == rest[-1].pos


# --- The end ---------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_closed_log_refuses_and_closing_twice_is_no_error(log: Log):
    run = await begun(log)
    item = run.append()

    await log.close()
    await log.close()

    for refused in (log.commit([item]), log.run("run-1"), log.save_definition("v", "n", b"", NOON)):
        with pytest.raises(Unavailable, match="closed"):
            await refused
