"""Runs shown from memory: the same as from the log, never what is not durable, and nothing of what was erased."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.conftest import Bench

from headgate.api import showing
from headgate.core.errors import HeadgateError
from headgate.core.values import Failure
from headgate.core.view import RunView
from headgate.ports import Completed, Failed
from headgate.stores.sqlite import SqliteLog

STORY = """
name: story
inputs: {n: integer}
budget: 1.00
activities:
  first: {use: work, queue: far, depends_on: [], retry: 2, with: {n: '{{ INPUT.n }}'}}
  each: {use: work, queue: far, depends_on: [first], for_each: '{{ [1, 2, 3] }}', with: {n: '{{ ITEM }}'}}
  sure: {use: approval, depends_on: [first], with: {timeout: 1h}}
  pause: {use: wait, depends_on: [first], with: {seconds: 60}}
  word: {wait_for: go, depends_on: [first]}
  last: {use: work, queue: far, depends_on: [each, sure, pause, word], with: {a: '{{ each }}'}}
"""
ACTS = (
    "complete",
    "fail",
    "pause",
    "resume",
    "signal",
    "approve",
    "refuse",
    "wait",
    "retry",
    "cancel",
    "complete",
    "complete",
)


def shown(view: RunView | None) -> bytes:
    return msgspec.json.encode(view)


async def act(bench: Bench, run_id: str, what: str) -> None:
    desk, protocol = bench.app.desk, bench.app.protocol
    match what:
        case "complete" | "fail":
            tasks = await protocol.poll(["far"], worker_id="w", count=1, wait_seconds=0)
            failure = Failure("odd", "it would not")
            reports = [
                Completed(task.activity_id, {"of": task.place})
                if what == "complete"
                else Failed(task.activity_id, failure)
                for task in tasks
            ]
            await protocol.report(reports, worker_id="w")
        case "signal":
            await desk.signal(run_id, "go", data={"x": [1, 2.5, None]})
        case "approve" | "refuse":
            await desk.decide(run_id, approved=what == "approve", by="ann", comment="hm")
        case "wait":
            bench.clock.advance(to=bench.clock.now() + 20_000_000)
        case _:
            await getattr(desk, what)(run_id)


async def same(bench: Bench, run_id: str) -> int:
    """Compare both forms; return how many of them memory had."""
    desk, found = bench.app.desk, 0
    for contents in (True, False):
        here = await desk.in_memory(run_id, contents=contents)
        if here is not None:
            found += 1
            assert shown(here) == shown(await desk._reader.show(run_id, contents=contents))
    return found


@settings(deadline=None, max_examples=60)
@given(story=st.lists(st.sampled_from(ACTS), min_size=4, max_size=30))
def test_a_run_in_memory_is_shown_as_the_log_has_it(story: list[str]):
    async def whole() -> None:
        bench = Bench(work=False)
        async with bench.app:
            run_id = await bench.start(STORY, {"n": 7})
            await bench.rest()
            assert await same(bench, run_id) == 2
            for what in story:
                with suppress(HeadgateError):  # it may not be done now
                    await act(bench, run_id, what)
                await bench.rest()
                found = await same(bench, run_id)
                ended = (await bench.app.engine.log.run(run_id)).head.finished_at
                assert found == 2 or ended
        assert bench.app.engine.failures == []

    asyncio.run(whole())


ONE = "name: one\nactivities: {a: {use: work, queue: far, with: {n: 1}}}"


def play(scene: Any, log: Any = None) -> None:
    async def whole() -> None:
        bench = Bench(log, work=False)
        async with bench.app:
            await scene(bench)

    asyncio.run(whole())


async def ended_run(bench: Bench) -> str:
    run_id = await bench.start(ONE)
    await bench.app.desk.show(run_id)  # somebody looks
    await act(bench, run_id, "complete")
    return run_id


def test_whoever_looks_between_a_decision_and_its_commit_is_shown_what_is_durable():
    async def scene(bench: Bench) -> None:
        run_id = await bench.start(ONE)
        lane = bench.app.engine.loaded(run_id)
        signalling = asyncio.ensure_future(bench.app.desk.signal(run_id, "early"))
        await asyncio.sleep(0)  # it is decided
        assert not lane.durable
        before = lane.head.version

        views = await asyncio.gather(*(bench.app.desk.in_memory(run_id, contents=True) for _ in range(3)))

        assert {view.version for view in views} == {before + 1} == {lane.head.version}
        assert bench.app.desk.showing._at_commit == {}
        await signalling

    play(scene)


def test_whoever_has_started_a_run_is_shown_its_start_until_its_next_commit_without_waiting_for_that():
    async def scene(bench: Bench) -> None:
        desk = bench.app.desk
        run_id = await bench.start(ONE)
        started = bench.app.engine.loaded(run_id).head.version
        desk.showing.begun(run_id)
        other = await bench.start(ONE)
        desk.showing.begun(other)
        for each in (run_id, other):
            signalling = asyncio.ensure_future(desk.signal(each, "early"))
            await asyncio.sleep(0)  # it is decided
            assert not bench.app.engine.loaded(each).durable
            if each == run_id:
                look = desk.of("default", "client").in_memory(each, contents=True)
                with pytest.raises(StopIteration) as answered:
                    look.send(None)  # it waits for nothing
                assert answered.value.value.version == started
            await signalling

        signalling = asyncio.ensure_future(desk.signal(other, "again"))
        await asyncio.sleep(0)
        view = await desk.in_memory(other, contents=True)
        assert view.version == started + 2  # of its second commit: that it had begun was forgotten at the first
        await signalling

    play(scene)


def test_where_the_commit_does_not_come_the_log_is_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(showing, "COMMIT_SECONDS_MAX", 0.01)

    async def scene(bench: Bench) -> None:
        run_id = await bench.start(ONE)
        lane = bench.app.engine.loaded(run_id)
        held, commit = asyncio.Event(), bench.log.commit

        async def slow(batch: Any) -> Any:
            await held.wait()
            return await commit(batch)

        bench.log.commit = slow
        signalling = asyncio.ensure_future(bench.app.desk.signal(run_id, "early"))
        await asyncio.sleep(0)  # it is decided
        assert not lane.durable

        view = await bench.app.desk.show(run_id)

        assert view.version == lane.head.version == lane.run.version - 1
        assert bench.app.desk.showing._at_commit == {}
        held.set()
        await signalling

    play(scene)


def test_a_run_that_somebody_looked_at_is_shown_from_memory_once_after_its_end_unless_it_goes_on():
    async def scene(bench: Bench) -> None:
        desk = bench.app.desk
        run_id, unseen = await ended_run(bench), await bench.start(ONE)
        await act(bench, unseen, "complete")

        assert await same(bench, run_id) == 1
        assert await same(bench, run_id) == 0
        assert await desk.in_memory(unseen, contents=True) is None

        failed = await bench.start(ONE)
        await desk.show(failed)
        for _ in range(4):
            await act(bench, failed, "fail")
            bench.clock.advance(to=bench.clock.now() + 3_600_000_000)
            await bench.rest()
        await desk.retry(failed)
        assert (await desk.in_memory(failed, contents=True)).status == "running"

    play(scene)


def test_what_is_kept_of_runs_that_ended_has_a_maximum(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(showing, "KEPT_MAX", 2)
    monkeypatch.setattr(showing, "LOOKED_AT_MAX", 5)

    async def scene(bench: Bench) -> None:
        runs = [await ended_run(bench) for _ in range(4)]
        kept = [await bench.app.desk.in_memory(run_id, contents=True) for run_id in runs]
        assert [view is not None for view in kept] == [False, False, True, True]

        monkeypatch.setattr(showing, "KEPT_BYTES_MAX", 10)
        large = await ended_run(bench)
        assert await bench.app.desk.in_memory(large, contents=True) is None

        for _ in range(9):
            await bench.app.desk.show(await bench.start(ONE))
        assert len(bench.app.desk.showing._looked_at) == 5

    play(scene)


def test_another_tenant_finds_nothing_in_memory():
    async def scene(bench: Bench) -> None:
        ended, running = await ended_run(bench), await bench.start(ONE)
        for run_id in (ended, running):
            assert await bench.app.desk.of("other", "client").in_memory(run_id, contents=True) is None
            assert await bench.app.desk.of("default", "client").in_memory(run_id, contents=True) is not None

    play(scene)


def test_what_was_erased_is_not_in_memory_any_more(tmp_path: Path):
    async def scene(bench: Bench) -> None:
        run_id = await ended_run(bench)
        await bench.app.desk.erase([run_id])

        view = await bench.app.desk.show(run_id)
        assert (view.erased, view.activities[0].output) == (True, None)

    play(scene, SqliteLog(tmp_path / "a.db"))
