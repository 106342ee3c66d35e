"""What every log keeps true (`ports.Log`), asked of each adapter alike."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.postgres_logs import empty_postgres_log

from headgate.core.errors import Unavailable
from headgate.engine.audit import verify
from headgate.engine.lane import INLINE_BYTES_MAX
from headgate.ports import Append, Head, Log, Move, Opening, OverBudget, RunsWanted, SpendRow, SpendTotal, SpendWanted
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog
from headgate.testing.log_conformance import NOON, HandmadeRun, on_a_loop

ADAPTERS: dict[str, Callable[[Path], Log]] = {
    "memory": lambda _: MemoryLog(),
    "postgres": lambda _: empty_postgres_log(),
    "sqlite": lambda folder: SqliteLog(folder / "log.db"),
}
HOUR = 3_600 * 1_000_000
DAY = 24 * HOUR


@pytest.fixture(params=sorted(ADAPTERS))
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    made = ADAPTERS[request.param](tmp_path)
    yield made
    asyncio.run(made.close())


async def begun(log: Log, run_id: str = "run-1", contents: tuple[Any, ...] = (None,), **rest: Any) -> HandmadeRun:
    """Return a run with its first events in the log."""
    named = {name: rest.pop(name) for name in ("tenant", "workflow", "unique_key", "created_at") if name in rest}
    run = HandmadeRun(log, run_id, **named)
    assert await run.commit(contents, **rest) == "accepted"
    return run


async def all_of(log: Log) -> tuple[Any, ...]:
    """Return everything that a refused append might have left a trace in."""
    rows = await log.runs(limit=1_000)
    return rows, await log.feed(0, 1_000), await log.budget("team")


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


# --- Budgets ---------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_budget_is_made_once_and_keeps_its_first_limit(log: Log):
    run = await begun(log, moves=[Move("team", limit=100)])

    await run.commit(moves=[Move("team", limit=900)])

    assert await log.budget("team") == OverBudget("team", 100, 0, 0)
    assert await log.budget("nobody") is None


@on_a_loop
async def test_a_reservation_is_admitted_up_to_the_limit_and_not_beyond(log: Log):
    run = await begun(log, moves=[Move("team", limit=100)])

    first = await run.commit(moves=[Move("team", reserve=60)])
    beyond = await run.commit(moves=[Move("team", reserve=41)])
    exactly = await run.commit(moves=[Move("team", reserve=40)])

    assert (first, exactly) == ("accepted", "accepted")
    assert beyond == OverBudget("team", 100, 0, 60)
    assert await log.budget("team") == OverBudget("team", 100, 0, 100)


@on_a_loop
async def test_a_settlement_is_booked_even_above_the_limit_and_stops_the_next(log: Log):
    run = await begun(log, moves=[Move("team", limit=100)])
    await run.commit(moves=[Move("team", reserve=90)])

    settled = await run.commit(moves=[Move("team", reserve=-90, spend=130)])
    after = await run.commit(moves=[Move("team", reserve=1)])

    assert settled == "accepted"
    assert after == OverBudget("team", 100, 130, 0)


@on_a_loop
async def test_budgets_move_together_or_not_at_all(log: Log):
    run = await begun(log, moves=[Move("a", limit=100), Move("b", limit=10), Move("c", limit=100)])

    outcome = await run.commit(moves=[Move("c", reserve=50), Move("b", reserve=11), Move("a", reserve=50)])

    assert outcome == OverBudget("b", 10, 0, 0)
    left = [await log.budget(name) for name in "abc"]
    assert left == [OverBudget("a", 100, 0, 0), OverBudget("b", 10, 0, 0), OverBudget("c", 100, 0, 0)]


@on_a_loop
async def test_moves_of_one_budget_are_made_in_their_order(log: Log):
    run = await begun(log, moves=[Move("team", limit=10), Move("team", reserve=10)])

    outcome = await run.commit(moves=[Move("team", reserve=-10, spend=4), Move("team", reserve=6)])
    refused = await run.commit(moves=[Move("team", reserve=1), Move("team", reserve=-6)])

    assert outcome == "accepted"
    assert refused == OverBudget("team", 10, 4, 6)


@on_a_loop
async def test_a_budget_that_was_never_made_admits_nothing(log: Log):
    run = await begun(log)

    assert await run.commit(moves=[Move("nobody", reserve=1)]) == OverBudget("nobody", 0, 0, 0)
    assert await run.commit(moves=[Move("nobody", reserve=-1, spend=1)]) == "accepted"


@on_a_loop
async def test_a_hundred_concurrent_reservations_never_pass_the_limit(log: Log):
    await begun(log, "owner", moves=[Move("team", limit=10)])
    runs = [await begun(log, f"run-{number}") for number in range(100)]

    outcomes = await asyncio.gather(*(run.commit(moves=[Move("team", reserve=1)]) for run in runs))

    assert outcomes.count("accepted") == 10
    assert outcomes.count(OverBudget("team", 10, 0, 10)) == 90
    assert await log.budget("team") == OverBudget("team", 10, 0, 10)


@on_a_loop
async def test_a_reservation_that_is_meant_to_goes_beyond_the_limit(log: Log):
    run = await begun(log, moves=[Move("team", limit=100)])

    assert await run.commit(moves=[Move("team", reserve=130, beyond=True)]) == "accepted"
    assert await run.commit(moves=[Move("team", reserve=1)]) == OverBudget("team", 100, 0, 130)


@on_a_loop
async def test_a_limit_that_is_set_holds_for_a_budget_that_is_there(log: Log):
    run = await begun(log, moves=[Move("team", limit=100), Move("team", reserve=40)])

    await run.commit(moves=[Move("team", limit=50, sets=True), Move("new", limit=7, sets=True)])

    assert await log.budget("team") == OverBudget("team", 50, 0, 40)
    assert await log.budget("new") == OverBudget("new", 7, 0, 0)


@pytest.mark.parametrize(
    ("opening", "spent"),
    [
        ({}, 2 + 16 + 32 + 64),
        ({"since": NOON + 1}, 32),
        ({"until": NOON + 1}, 2 + 16 + 64),
        ({"simulated": True}, 4),
        ({"tenant": "other"}, 8),
        ({"workflow": "letters"}, 2 + 16 + 32 + 64),
        ({"workflow": "bills"}, 0),
        ({"label": ("team", "red")}, 16),
        ({"label": ("team", "re")}, 0),
        ({"model": "acme/l*"}, 2 + 16 + 32),
        ({"model": "acme/large"}, 2 + 16 + 32),
        ({"model": "acme/?"}, 0),
        ({"provider": "ac*"}, 2 + 16 + 32),
        ({"provider": "b"}, 64),
    ],
)
@on_a_loop
async def test_a_budget_begins_with_what_the_spend_rows_of_its_scope_hold(log: Log, opening: Any, spent: int):
    run = await begun(log, moves=[Move("team", limit=5), Move("team", reserve=3, spend=1)])
    rows = [
        {"cost": 2},
        {"cost": 4, "simulated": True},
        {"cost": 8, "tenant": "other"},
        {"cost": 16, "labels": '{"team":"red"}'},
        {"cost": 32, "at": NOON + 1},
        {"cost": 64, "provider": "b", "model": "c"},
    ]
    costs = [run.spent(part=number, **fields) for number, fields in enumerate(rows)]
    await run.commit(spend=costs)
    wanted = Opening(**{"tenant": "default", "since": NOON - DAY, "until": NOON + DAY} | opening)

    moves = [Move("team", limit=500, opening=wanted), Move("other", limit=7, opening=wanted), Move("other", spend=1)]
    (outcome,) = await log.commit([Append(0, 0, [], Head("", 0, b"", None, 0, 0, 0, 0, None, ""), moves=moves)])

    assert outcome == "accepted"
    assert await log.budget("team") == OverBudget("team", 500, spent, 3)
    assert await log.budget("other") == OverBudget("other", 7, spent + 1, 0)
    assert [row.id for row in await log.runs()] == ["run-1"]


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


# --- Reading ---------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_runs_events_are_read_in_pages(log: Log):
    run = await begun(log, contents=(None,) * 10)
    await begun(log, "run-2", contents=(None,) * 3)

    pages = [await log.events(run.key, after=after, limit=4) for after in (0, 4, 8, 10)]

    assert [[row.version for row in page] for page in pages] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10], []]
    assert {row.run for page in pages for row in page} == {run.key}
    assert await log.events(999_999) == []


@pytest.mark.parametrize("size", [1, INLINE_BYTES_MAX - 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 1_000_000])
@on_a_loop
async def test_a_content_of_any_size_reads_back_from_wherever_it_is_kept(log: Log, size: int):
    text = b'"' + b"x" * (size - 2) + b'"' if size > 1 else b"7"
    run = await begun(log, contents=(msgspec.json.decode(text), None))

    row = (await log.events(run.key))[0]

    assert (row.content is None) == (size > INLINE_BYTES_MAX)
    assert await log.contents(run.key, [1, 2, 3]) == {1: text}
    assert await log.contents(run.key + 1, [1]) == {}
    assert await log.contents(run.key, []) == {}


@on_a_loop
async def test_one_large_content_may_stand_in_several_events_and_runs(log: Log):
    large = "y" * (INLINE_BYTES_MAX + 1)
    one = await begun(log, "run-1", contents=(large, large))
    two = await begun(log, "run-2", contents=(large,))
    await one.commit([large])

    found = [await log.contents(run.key, [1, 2, 3]) for run in (one, two)]

    assert [sorted(contents) for contents in found] == [[1, 2, 3], [1]]
    assert {len(content) for contents in found for content in contents.values()} == {len(large) + 2}


@on_a_loop
async def test_runs_are_listed_newest_first_filtered_and_in_pages(log: Log):
    runs = [await begun(log, f"run-{n}", workflow="even" if n % 2 == 0 else "odd") for n in range(6)]
    await runs[4].commit(status="completed", finished_at=NOON)

    listed = await log.runs(limit=4)
    rest = await log.runs(limit=4, before=listed[-1].key)

    assert [row.id for row in listed + rest] == ["run-5", "run-4", "run-3", "run-2", "run-1", "run-0"]
    assert [row.id for row in await log.runs(RunsWanted(workflow="even"))] == ["run-4", "run-2", "run-0"]
    assert [row.id for row in await log.runs(RunsWanted(status="completed"))] == ["run-4"]
    assert [row.id for row in await log.runs(RunsWanted(status="running", workflow="even"), limit=1)] == ["run-2"]
    assert await log.runs(RunsWanted(workflow="neither")) == []
    assert [row.id for row in await log.runs(limit=2, offset=3)] == ["run-2", "run-1"]
    assert await log.count_runs() == 6
    assert await log.count_runs(RunsWanted(workflow="even", status="running")) == 2


@on_a_loop
async def test_what_has_not_ended_is_counted_by_status_whosever_it_is(log: Log):
    assert await log.unfinished() == {}
    runs = [await begun(log, f"run-{n}", tenant="acme" if n % 2 else "bolt") for n in range(5)]
    await runs[0].commit(status="completed", finished_at=NOON)
    await runs[1].commit(status="paused")

    assert await log.unfinished() == {"running": 3, "paused": 1}


@on_a_loop
async def test_runs_are_found_by_when_they_began_and_by_what_stands_in_their_row(log: Log):
    for number in range(3):
        await begun(log, f"run-{number}", created_at=NOON + number, unique_key=f"key-{number}%")

    assert [row.id for row in await log.runs(RunsWanted(since=NOON + 1))] == ["run-2", "run-1"]
    assert [row.id for row in await log.runs(RunsWanted(until=NOON + 1))] == ["run-0"]
    assert [row.id for row in await log.runs(RunsWanted(text="key-1%"))] == ["run-1"]
    assert [row.id for row in await log.runs(RunsWanted(text="run-"))] == ["run-2", "run-1", "run-0"]
    assert await log.runs(RunsWanted(text="RUN-")) == []
    assert await log.count_runs(RunsWanted(since=NOON + 1, until=NOON + 2, text="run")) == 1


@on_a_loop
async def test_ids_are_found_by_how_they_begin(log: Log):
    for run_id in ("ab1", "ab2", "ab~3", "abé", "ac1", "a%", "a_1"):
        await begun(log, run_id)

    assert await log.matching("ab", limit=10) == ["ab1", "ab2", "ab~3", "abé"]
    assert await log.matching("ab") == ["ab1", "ab2"]
    assert await log.matching("ab1") == ["ab1"]
    assert await log.matching("a%") == ["a%"]
    assert await log.matching("a_", limit=10) == ["a_1"]
    assert await log.matching("AB") == []
    assert len(await log.matching("", limit=100)) == 7


@on_a_loop
async def test_busy_runs_are_the_unfinished_ones_with_tasks(log: Log):
    tasks = [await begun(log, f"tasks-{n}", tasks=n) for n in range(4)]
    await begun(log, "over", tasks=1, status="failed", finished_at=NOON)

    first = await log.busy(0, 2)
    rest = await log.busy(first[-1].key, 2)

    assert [row.id for row in first + rest] == ["tasks-1", "tasks-2", "tasks-3"]
    await tasks[2].commit(tasks=0)
    assert [row.id for row in await log.busy(0, 10)] == ["tasks-1", "tasks-3"]


@on_a_loop
async def test_due_runs_are_those_whose_time_has_come_earliest_first(log: Log):
    for name, at in {"late": 300, "soon": 100, "never": None, "now": 0, "mid": 200}.items():
        await begun(log, name, attention_at=at)

    assert await log.due(0, 10) == ["now"]
    assert await log.due(200, 10) == ["now", "soon", "mid"]
    assert await log.due(200, 2) == ["now", "soon"]
    assert await log.due(1_000, 10) == ["now", "soon", "mid", "late"]


@on_a_loop
async def test_the_next_attention_is_the_earliest_one_that_is_later(log: Log):
    assert await log.next_attention(0) is None
    early = await begun(log, "early", attention_at=100)
    await begun(log, "late", attention_at=200)
    await begun(log, "never")

    assert [await log.next_attention(after) for after in (0, 99, 100, 200)] == [100, 100, 200, None]
    await early.commit(attention_at=None)
    assert await log.next_attention(0) == 200


@on_a_loop
async def test_what_is_not_there_reads_as_nothing(log: Log):
    assert await log.run("nobody") is None
    assert await log.runs() == []
    assert await log.feed(0, 10) == []
    assert await log.busy(0, 10) == []
    assert await log.definition("nothing") is None


# --- Definitions -----------------------------------------------------------------------------------------


@on_a_loop
async def test_the_definition_deployed_last_is_the_newest_of_its_name(log: Log):
    assert await log.save_definition("v1", "letters", b"one", NOON) is True
    assert await log.save_definition("v2", "letters", b"two", NOON + 1) is True
    assert await log.save_definition("w1", "other", b"other", NOON + 2) is True

    assert await log.definition("letters") == ("v2", b"two")
    assert await log.definition("letters", "v1") == ("v1", b"one")
    assert await log.definition("letters", "w1") is None
    assert await log.definition("letters", "v3") is None

    assert await log.save_definition("v1", "letters", b"one", NOON + 3) is False
    assert await log.definition("letters") == ("v1", b"one")


@on_a_loop
async def test_definitions_are_listed_by_name_the_newest_of_each(log: Log):
    await log.save_definition("v1", "letters", b"one", NOON)
    await log.save_definition("v2", "letters", b"two", NOON + 1)
    await log.save_definition("w1", "other", b"other", NOON + 2)
    await log.save_definition("v1", "letters", b"one", NOON + 3)

    assert await log.definitions() == [("letters", "v1", NOON + 3, b"one"), ("other", "w1", NOON + 2, b"other")]
    assert [name for name, *_ in await log.definitions(limit=1)] == ["letters"]
    assert [name for name, *_ in await log.definitions(after="letters")] == ["other"]


@on_a_loop
async def test_a_definition_may_be_saved_while_appends_are_under_way(log: Log):
    run = await begun(log)

    results = await asyncio.gather(
        log.commit([run.append()]),
        log.save_definition("v1", "letters", b"one", NOON),
        log.commit([HandmadeRun(log, "run-2").append()]),
    )

    assert results == [["accepted"], True, ["accepted"]]
    assert await log.definition("letters") == ("v1", b"one")


# --- Tenants ---------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_definition_is_its_tenants_alone_though_another_has_the_same_content(log: Log):
    assert await log.save_definition("v1", "letters", b"one", NOON, tenant="acme") is True
    assert await log.save_definition("v1", "letters", b"one", NOON + 1, tenant="bolt") is True
    assert await log.save_definition("v2", "letters", b"two", NOON + 2, tenant="bolt") is True
    assert await log.save_definition("w1", "secret", b"three", NOON + 3, tenant="bolt") is True

    assert await log.definition("letters", tenant="acme") == ("v1", b"one")
    assert await log.definition("letters", tenant="bolt") == ("v2", b"two")
    assert await log.definition("letters", "v2", tenant="acme") is None
    assert await log.definition("secret", tenant="acme") is None
    assert await log.definition("letters") is None
    assert await log.definitions(tenant="acme") == [("letters", "v1", NOON, b"one")]
    assert [name for name, *_ in await log.definitions(tenant="bolt")] == ["letters", "secret"]
    assert await log.definitions() == []
    assert await log.save_definition("v1", "letters", b"one", NOON + 4, tenant="bolt") is False
    assert await log.definitions(tenant="acme") == [("letters", "v1", NOON, b"one")]


@on_a_loop
async def test_runs_are_listed_counted_and_found_within_a_tenant(log: Log):
    for number, tenant in enumerate(("acme", "bolt", "acme", "bolt", "bolt")):
        await begun(log, f"run-{number}", tenant=tenant, unique_key=f"order-{number}")

    acme, bolt = RunsWanted(tenant="acme"), RunsWanted(tenant="bolt")

    assert [row.id for row in await log.runs(acme)] == ["run-2", "run-0"]
    assert [row.id for row in await log.runs(bolt, limit=2)] == ["run-4", "run-3"]
    assert [row.id for row in await log.runs(RunsWanted(tenant="acme", text="run-"))] == ["run-2", "run-0"]
    assert (await log.count_runs(acme), await log.count_runs(bolt), await log.count_runs()) == (2, 3, 5)
    assert await log.count_runs(RunsWanted(tenant="nobody")) == 0
    assert await log.matching("run-", limit=10, tenant="acme") == ["run-0", "run-2"]
    assert await log.matching("run-1", tenant="acme") == []
    assert len(await log.matching("run-", limit=10)) == 5


@on_a_loop
async def test_runs_that_have_not_ended_are_listed_and_counted_apart(log: Log):
    for number in range(4):
        await begun(log, f"run-{number}", finished_at=NOON if number % 2 else None)

    assert [row.id for row in await log.runs(RunsWanted(unfinished=True))] == ["run-2", "run-0"]
    assert await log.count_runs(RunsWanted(unfinished=True)) == 2
    assert await log.count_runs(RunsWanted(unfinished=True, tenant="acme")) == 0


@on_a_loop
async def test_what_a_tenant_stores_is_counted_with_large_contents_and_without_those_of_others(log: Log):
    run = await begun(log, "run-1", contents=("x" * 1_000,), tenant="acme")
    small = await log.stored_bytes("acme")
    await begun(log, "run-2", contents=("y" * 500_000,), tenant="bolt")
    await run.commit(["z" * (INLINE_BYTES_MAX + 1_000)])

    assert 1_000 < small < 5_000
    assert await log.stored_bytes("acme") - small > INLINE_BYTES_MAX + 1_000
    assert await log.stored_bytes("bolt") > 500_000
    assert await log.stored_bytes("nobody") == 0


@on_a_loop
async def test_what_is_spent_is_added_up_within_a_tenant(log: Log):
    for number, tenant in enumerate(("acme", "bolt")):
        run = await begun(log, f"run-{number}", tenant=tenant)
        await run.commit(spend=[run.spent(10**number)])

    async def cost(**wanted: Any) -> int:
        return sum(total.cost for total in await log.spend_totals("run", SpendWanted(**wanted)))

    assert (await cost(tenant="acme"), await cost(tenant="bolt"), await cost()) == (1, 10, 11)
    assert await cost(tenant="acme", runs=("run-1",)) == 0
    assert await cost(tenant="nobody") == 0


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


# --- Any batches at all ----------------------------------------------------------------------------------

Moves = st.lists(
    st.builds(
        Move,
        st.sampled_from(["team", "month"]),
        reserve=st.integers(-5, 8),
        spend=st.integers(0, 4),
        limit=st.sampled_from([None, None, 10, 20]),
        beyond=st.sampled_from([False, False, True]),
        sets=st.sampled_from([False, False, True]),
    ),
    max_size=3,
)


class Asked(msgspec.Struct, frozen=True):
    """One append to be tried: of which run, upon its head or an older one, and what travels with it."""

    run: int
    stale: bool
    moves: list[Move]
    command: str
    contents: list[int | None]


Asks = st.builds(
    Asked,
    st.integers(0, 3),
    st.sampled_from([False, False, False, True]),
    Moves,
    st.sampled_from(["", "", "c-1", "c-2", "c-3"]),
    st.lists(st.one_of(st.none(), st.integers()), min_size=1, max_size=3),
)


class Model:
    """What a log must hold, in a few words."""

    def __init__(self) -> None:
        self.versions: dict[int, int] = {}
        self.budgets: dict[str, list[int]] = {}
        self.commands: set[str] = set()

    def expect(self, item: Append) -> object:
        version = self.versions.get(item.run, 0)
        if item.new is None and (version != item.expected_version or version == 0):
            return "version_conflict"
        if item.new is not None and version:
            return "run_exists"
        budgets = {name: list(numbers) for name, numbers in self.budgets.items()}
        for move in sorted(item.moves, key=lambda move: move.budget):
            if move.limit is not None:
                budgets.setdefault(move.budget, [move.limit, 0, 0])
                if move.sets:
                    budgets[move.budget][0] = move.limit
            limit, spent, reserved = budgets.get(move.budget, [0, 0, 0])
            if (
                move.reserve > 0
                and not (move.beyond and move.budget in budgets)
                and spent + reserved + move.reserve + move.spend > limit
            ):
                return OverBudget(move.budget, limit, spent, reserved)
            if move.budget in budgets:
                budgets[move.budget] = [limit, spent + move.spend, reserved + move.reserve]
        names = {name for _, name, _, _ in item.commands}
        if names & self.commands:
            return "repeated"
        self.budgets = budgets
        self.commands |= names
        self.versions[item.run] = version + len(item.rows)
        return "accepted"


def asked(runs: list[HandmadeRun], older: list[Head], ask: Asked) -> Append:
    run = runs[ask.run]
    newest = run.head
    run.head = older[ask.run] if ask.stale else newest
    item = run.append(ask.contents, moves=ask.moves, commands=[ask.command] if ask.command else [])
    run.head = newest
    return item


async def try_stories(log: Log, batches: list[list[Asked]]) -> None:
    runs = [HandmadeRun(log, f"run-{number}") for number in range(4)]
    older = [run.head for run in runs]
    model = Model()
    for batch in batches:
        items = [asked(runs, older, ask) for ask in batch]
        older = [run.head for run in runs]
        expected = [model.expect(item) for item in items]

        assert await log.commit(items) == expected

        for ask, item, outcome in zip(batch, items, expected, strict=True):
            if outcome == "accepted":
                runs[ask.run].settle(item, "accepted")
    stored = {row.key: row.head for row in await log.runs()}
    assert stored == {run.key: run.head for run in runs if run.head.version}
    assert {key: head.version for key, head in stored.items()} == model.versions
    assert len(await log.feed(0, 10_000)) == sum(model.versions.values())
    for name, (limit, spent, reserved) in model.budgets.items():
        assert await log.budget(name) == OverBudget(name, limit, spent, reserved)
    assert await verify(log) == []


@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
@settings(max_examples=50)
@given(batches=st.lists(st.lists(Asks, max_size=6), max_size=5))
def test_any_batches_leave_what_a_few_words_say(adapter: str, batches: list[list[Asked]]):
    async def story() -> None:
        with tempfile.TemporaryDirectory() as folder:
            log = ADAPTERS[adapter](Path(folder))
            try:
                await try_stories(log, batches)
            finally:
                await log.close()

    asyncio.run(story())


# --- What was spent ----------------------------------------------------------------------------------------


@on_a_loop
async def test_spend_rows_are_there_with_their_events_and_in_their_order(log: Log):
    run = await begun(log)
    rows = [run.spent(-7, kind="forfeit"), run.spent(12, part=1, estimated=True, simulated=True, labels='{"a":"b"}')]
    counts = [*(name for name in SpendRow._fields if name.endswith("_tokens")), "estimated_input"]
    rows += [run.spent(3, part=2, tier="flex", **{name: 10**number for number, name in enumerate(counts)})]

    await run.commit(spend=rows)

    assert await log.spend("run-1") == rows
    assert await log.spend("another") == []


@on_a_loop
async def test_a_refused_append_leaves_no_spend_row(log: Log):
    run = await begun(log, moves=[Move("team", limit=10)])
    late = run.append(spend=[run.spent(5)])
    poor = run.append(spend=[run.spent(6)], moves=[Move("team", reserve=11)])
    await run.commit(spend=[run.spent(1)])

    outcomes = await log.commit([late])
    poor.expected_version = run.head.version
    outcomes += await log.commit([poor])

    assert outcomes[0] == "version_conflict"
    assert outcomes[1] == OverBudget("team", 10, 0, 0)
    assert [row.cost for row in await log.spend("run-1")] == [1]


@on_a_loop
async def test_every_bucket_of_tokens_is_added_up_and_estimated_calls_are_counted(log: Log):
    run = await begun(log)
    counts = [name for name in SpendTotal._fields if name.endswith("_tokens")]
    tokens = {name: 10**number for number, name in enumerate(counts)}
    await run.commit(spend=[run.spent(1, **tokens), run.spent(2, part=1, tier="batch", estimated=True, **tokens)])

    (total,) = await log.spend_totals("run", SpendWanted())

    assert len(counts) == 9
    assert {name: getattr(total, name) for name in counts} == {name: 2 * value for name, value in tokens.items()}
    assert (total.calls, total.estimated) == (2, 1)
    assert [(one.name, one.cost) for one in await log.spend_totals("tier", SpendWanted())] == [("batch", 2), ("", 1)]


@on_a_loop
async def test_the_newest_rows_tell_what_inputs_were_estimated_at(log: Log):
    run = await begun(log)
    told = {"estimated_input": 120}
    await run.commit(spend=[run.spent(1, **told, input_tokens=7)])
    rows = [run.spent(1, at=NOON + 1), run.spent(2, part=1, at=NOON + 2, estimated=True, **told)]
    await run.commit(spend=[*rows, run.spent(3, part=2, at=NOON + 3, model="m", **told)])

    assert await log.estimates(10) == [("acme", "m", 120, 100), ("acme", "large", 120, 7)]
    assert await log.estimates(3) == [("acme", "m", 120, 100)]


@on_a_loop
async def test_totals_are_exact_by_every_property_and_demo_prices_apart(log: Log):
    run = await begun(log)
    big = 4_000_000_000_000_000_001
    await run.commit(spend=[run.spent(big), run.spent(2, part=1, model="small"), run.spent(3, part=2, simulated=True)])
    await run.commit(
        spend=[
            run.spent(4, activity="ask", at=NOON + DAY, prompt="v2", labels='{"team":"ops"}'),
            run.spent(0, part=1, kind="cached", saved=9, input_tokens=0, output_tokens=0, cache_read_tokens=0),
        ]
    )

    assert {
        by: [(total.name, total.simulated, total.cost) for total in await log.spend_totals(by, SpendWanted())]
        for by in ("activity", "run", "workflow", "model", "provider", "day", "prompt", "kind", "label:team")
    } == {
        "activity": [("answer", False, big + 2), ("ask", False, 4), ("answer", True, 3)],
        "run": [("run-1", False, big + 6), ("run-1", True, 3)],
        "workflow": [("letters", False, big + 6), ("letters", True, 3)],
        "model": [("acme/large", False, big + 4), ("acme/large", True, 3), ("acme/small", False, 2)],
        "provider": [("acme", False, big + 6), ("acme", True, 3)],
        "day": [("2026-01-01", False, big + 2), ("2026-01-02", False, 4), ("2026-01-01", True, 3)],
        "prompt": [("", False, big + 2), ("v2", False, 4), ("", True, 3)],
        "kind": [("call", False, big + 6), ("call", True, 3), ("cached", False, 0)],
        "label:team": [("", False, big + 2), ("ops", False, 4), ("", True, 3)],
    }
    assert await log.spend_totals("run", SpendWanted()) == [
        SpendTotal("run-1", False, 3, 1, 300, 150, 60, 0, 20, big + 6, 9),
        SpendTotal("run-1", True, 1, 0, 100, 50, 20, 0, 5, 3, 0),
    ]


@on_a_loop
async def test_only_wanted_rows_are_added_up(log: Log):
    run = await begun(log)
    other = await begun(log, "run-2", workflow="bills")
    await run.commit(spend=[run.spent(1, labels='{"team":"ops","x":"1"}'), run.spent(2, part=1, at=NOON + DAY)])
    await other.commit(spend=[other.spent(4, labels='{"team":"ops"}')])

    async def cost(**wanted: Any) -> int:
        return sum(total.cost for total in await log.spend_totals("run", SpendWanted(**wanted)))

    assert await cost() == 7
    assert await cost(runs=("run-1",)) == 3
    assert await cost(runs=("run-1", "run-2")) == 7
    assert await cost(since=NOON + 1) == 2
    assert await cost(until=NOON + DAY) == 5
    assert await cost(workflow="bills") == 4
    assert await cost(labels={"team": "ops"}) == 5
    assert await cost(labels={"team": "ops", "x": "1"}) == 1
    assert await cost(runs=("nobody",)) == 0


@on_a_loop
async def test_a_runs_totals_hold_those_of_the_runs_below_it(log: Log):
    run = await begun(log)
    for name, parent in (("child", "run-1"), ("grandchild", "child"), ("stranger", "")):
        below = HandmadeRun(log, name)
        below.row = msgspec.structs.replace(below.row, parent=parent)
        await below.commit(spend=[below.spent(10)])
    await run.commit(spend=[run.spent(1)])

    totals = await log.spend_totals("run", SpendWanted(runs=("run-1",)))

    assert [(total.name, total.cost) for total in totals] == [("child", 10), ("grandchild", 10), ("run-1", 1)]


@on_a_loop
async def test_spend_rows_are_replaced_run_by_run_and_as_often_as_one_likes(log: Log):
    run = await begun(log)
    other = await begun(log, "run-2")
    await run.commit(spend=[run.spent(1), run.spent(2, part=1)])
    await other.commit(spend=[other.spent(4)])

    for _ in range(2):
        await log.replace_spend("run-1", [run.spent(8, version=2)])

    assert [row.cost for row in await log.spend("run-1")] == [8]
    assert [row.cost for row in await log.spend("run-2")] == [4]
