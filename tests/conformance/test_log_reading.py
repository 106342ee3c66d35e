"""How runs, events, contents and definitions are read from every log, also within a tenant."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.conformance.logs import begun

from headgate.engine.lane import INLINE_BYTES_MAX
from headgate.ports import Log, Move, RunsWanted, SpendWanted
from headgate.testing.log_conformance import NOON, HandmadeRun, on_a_loop

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
async def test_runs_with_open_approvals_are_a_tenants_unfinished_ones_and_those_that_are_not_known(log: Log):
    runs = [await begun(log, f"asks-{n}", approvals=n) for n in range(4)]
    await begun(log, "works-too", tasks=2, approvals=1, status="running")
    await begun(log, "older", approvals=None)
    await begun(log, "over", approvals=None, status="failed", finished_at=NOON)
    await begun(log, "of-others", tenant="acme", approvals=1)

    first = await log.with_approvals("default", 2)
    rest = await log.with_approvals("default", 10, before=first[-1].key)

    assert [row.id for row in first + rest] == ["older", "works-too", "asks-3", "asks-2", "asks-1"]
    assert [row.head.approvals for row in first + rest] == [None, 1, 3, 2, 1]
    assert [row.id for row in await log.with_approvals("acme", 10)] == ["of-others"]
    await runs[2].commit(approvals=0)
    await log.commit([runs[3].append(approvals=0, moves=[Move("team", limit=9)])])
    assert [row.id for row in await log.with_approvals("default", 10, before=first[-1].key)] == ["asks-1"]


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
