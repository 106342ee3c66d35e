"""The built-in worker runs activities of yours, whatever they do."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest
from tests.engine.worker_lab import QUICK, hanging

from headgate.core import events as e
from headgate.core.definition import Activity, Definition
from headgate.engine.clock import WallClock
from headgate.ports import Attempt

BLOCKS = "name: blocks\nactivities: {a: {use: blocks}}"
TIMER = "name: timer\nactivities: {w: {use: wait, with: {duration: 20ms}}}"


@pytest.mark.parametrize("kind", ["a plain function", "a coroutine function that blocks its loop"])
def test_a_user_activity_that_blocks_starves_nothing(play, kind: str):
    release, begun = threading.Event(), threading.Event()

    def plain(parameters: Any, context: Any) -> str:
        begun.set()
        assert release.wait(30)
        return "released"

    async def blocking(parameters: Any, context: Any) -> str:
        return plain(parameters, context)

    async def scene(bench: Any) -> None:
        blocked = await bench.start(BLOCKS)
        await bench.until(begun.is_set)

        others = [await bench.start(QUICK) for _ in range(20)]
        for run_id in [*others, await bench.start(TIMER)]:
            assert (await bench.finished(run_id)).head.status == "completed"
        (claim,) = await bench.app.queue.claims_of(blocked)
        before = claim.lease_until
        await asyncio.sleep(0.002)
        assert await bench.app.protocol.heartbeat(claim.activity_id, worker_id="built-in") > 0
        assert claim.lease_until > before
        assert (await bench.app.desk.show(blocked)).status == "running"

        release.set()
        assert (await bench.finished(blocked)).head.status == "completed"
        assert await bench.output(blocked, "a") == "released"

    function = plain if kind == "a plain function" else blocking
    play(scene, activities={"blocks": function}, clock=WallClock())


def test_many_that_block_leave_room_for_everything_that_is_not_user_code(play):
    release = threading.Event()

    def blocks(parameters: Any, context: Any) -> None:
        assert release.wait(30)

    async def scene(bench: Any) -> None:
        blocked = [await bench.start(BLOCKS) for _ in range(80)]

        quick = await bench.start(QUICK)
        assert (await bench.finished(quick)).head.status == "completed"

        release.set()
        for run_id in blocked:
            assert (await bench.finished(run_id)).head.status == "completed"

    play(scene, activities={"blocks": blocks})


def test_an_attempt_that_takes_too_long_is_cancelled_and_fails_as_timed_out(play):
    hangs, begun, cancelled = hanging()

    async def scene(bench: Any) -> None:
        run_id = await bench.start("name: t\nactivities: {a: {use: hangs, timeout: 10s, retry: 1}}")
        await bench.until(begun.is_set)
        assert not cancelled.is_set()

        bench.clock.advance(seconds=11)

        row = await bench.finished(run_id)
        assert row.head.status == "failed"
        assert "ran for more than its 10 s" in row.head.error
        await bench.until(cancelled.is_set)

    play(scene, activities={"hangs": hangs})


def test_a_plain_function_that_takes_too_long_is_given_up_and_its_result_discarded(play):
    begun, release = threading.Event(), threading.Event()

    def slow(parameters: Any, context: Any) -> str:
        first = not begun.is_set()
        begun.set()
        if first:
            assert release.wait(30)
            return "too late"
        return "in time"

    async def scene(bench: Any) -> None:
        retry = "{max_attempts: 2, base_seconds: 1}"
        run_id = await bench.start(f"name: t\nactivities: {{a: {{use: slow, timeout: 10s, retry: {retry}}}}}")
        await bench.until(begun.is_set)

        bench.clock.advance(seconds=11)
        await bench.until(lambda: bench.app.engine.loaded(run_id).run.timers)
        release.set()
        bench.clock.advance(seconds=2)

        assert (await bench.finished(run_id)).head.status == "completed"
        assert await bench.output(run_id, "a") == "in time"

    play(scene, activities={"slow": slow})


def test_an_activity_that_the_worker_does_not_know_fails_at_once_and_names_those_it_has(play):
    definition = Definition(name="t", activities=(Activity(key="a", name="mystery"),))

    async def scene(bench: Any) -> None:
        row = await bench.finished(await bench.start(definition))

        assert row.head.status == "failed"
        assert "this worker has no activity 'mystery'; it has " in row.head.error
        assert "echo" in row.head.error

    play(scene)


def test_an_activity_that_changes_its_parameters_corrupts_nothing(play):
    def vandal(parameters: dict[str, Any], context: Any) -> str:
        parameters["deep"]["list"].clear()
        parameters["given"]["n"] = "changed"
        return "done"

    text = """
name: t
activities:
  source: {use: echo, with: {list: [1, 2, 3]}}
  one: {use: vandal, with: {deep: "{{ source }}", given: "{{ INPUT }}"}}
  two: {use: echo, after: [one], with: {seen: "{{ source.list }}", given: "{{ INPUT.n }}"}}
"""

    async def scene(bench: Any) -> None:
        run_id = await bench.start(text.replace('"{{ source }}"', '{list: "{{ source.list }}"}'), {"n": 5})
        assert (await bench.finished(run_id)).head.status == "completed"

        assert await bench.output(run_id, "source") == {"list": [1, 2, 3]}
        assert await bench.output(run_id, "two") == {"seen": [1, 2, 3], "given": 5}

    play(scene, activities={"vandal": vandal})


@pytest.mark.parametrize("output", [float("nan"), {"deep": [1, float("inf")]}, {1, 2, object()}])
def test_an_output_that_json_cannot_hold_fails_the_activity_and_is_not_retried(play, output: Any):
    async def scene(bench: Any) -> None:
        run_id = await bench.start("name: t\nactivities: {a: {use: odd, retry: 3}}")
        row = await bench.finished(run_id)

        (failed,) = [event for event in await bench.events(run_id) if isinstance(event, e.AttemptFailed)]
        assert failed.error.code == "invalid_output"
        assert "JSON" in row.head.error

    play(scene, activities={"odd": lambda parameters, context: output})


@pytest.mark.parametrize("kind", ["a plain function", "a coroutine function"])
def test_an_activity_that_calls_exit_fails_and_takes_nobody_along(play, kind: str):
    def plain(parameters: Any, context: Any) -> None:
        sys.exit("no such option")

    async def later(parameters: Any, context: Any) -> None:
        sys.exit(3)

    async def fine(parameters: Any, context: Any) -> str:
        return "still here"

    async def scene(bench: Any) -> None:
        row = await bench.finished(await bench.start("name: t\nactivities: {a: {use: leaves, retry: 1}}"))
        assert row.head.status == "failed"
        assert "SystemExit" in row.head.error

        other = await bench.start("name: u\nactivities: {a: {use: fine}}")
        assert (await bench.finished(other)).head.status == "completed"

    play(scene, activities={"leaves": plain if kind == "a plain function" else later, "fine": fine})


def test_a_secret_reaches_the_activity_and_nothing_that_is_stored(play):
    seen: list[str] = []

    def leaks(parameters: dict[str, Any], context: Any) -> Any:
        seen.append(parameters["key"])
        if parameters["way"] == "output":
            return {"echoed": f"Bearer {parameters['key']}", parameters["key"]: [parameters["key"]]}
        if parameters["way"] == "exception":
            raise ValueError(f"could not log in with {parameters['key']}")
        raise Attempt.failed("denied", f"denied: {parameters['key']}", retryable=False)

    async def scene(bench: Any) -> None:
        for way in ("output", "exception", "failure"):
            given = f"{{way: {way}, key: '{{{{ SECRET.KEY }}}}'}}"
            run_id = await bench.start(f"name: t\nactivities: {{a: {{use: leaks, retry: 1, with: {given}}}}}")
            await bench.finished(run_id)

            assert seen[-1] == "s3cr3t-value"
            stored = await bench.stored(run_id)
            assert b"s3cr3t-value" not in stored
            assert b"[secret]" in stored

    play(scene, activities={"leaks": leaks}, environment={"HEADGATE_SECRET_KEY": "s3cr3t-value"})
