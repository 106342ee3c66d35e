"""User activities: what blocks, hangs, cheats or leaks harms nobody but itself."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from headgate.core import events as e
from headgate.core.definition import Activity, Definition
from headgate.core.errors import Refused, StaleAttempt
from headgate.core.values import Candidate, Price, Usage
from headgate.engine import task_context
from headgate.engine import worker as worker_module
from headgate.engine.clock import WallClock
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import Attempt, CallRequest, Completed, Settlement

QUICK = "name: quick\nactivities: {a: {use: echo, with: {n: 1}}, b: {use: echo, after: [a]}}"
BLOCKS = "name: blocks\nactivities: {a: {use: blocks}}"
SCRIPT = b"models: {a: [{text: one}, {text: one}], b: [{text: two}]}\nprices: {m: {output: 1000}}"
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


def hanging() -> tuple[Any, threading.Event, threading.Event]:
    """Return an activity that hangs, and what says that it has begun and that it was cancelled."""
    begun, cancelled = threading.Event(), threading.Event()

    async def hangs(parameters: Any, context: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    return hangs, begun, cancelled


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


def test_a_worker_is_told_to_stop_when_the_run_is_cancelled(play):
    hangs, begun, cancelled = hanging()

    async def scene(bench: Any) -> None:
        run_id = await bench.start("name: t\nactivities: {a: {use: hangs}, b: {use: echo, after: [a]}}")
        await bench.until(begun.is_set)

        await bench.app.desk.cancel(run_id)

        assert (await bench.finished(run_id)).head.status == "cancelled"
        await bench.until(cancelled.is_set)

    play(scene, activities={"hangs": hangs})


def test_a_report_that_is_repeated_or_of_a_stranger_changes_nothing(play):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(QUICK)
        (task,) = await bench.app.protocol.poll(["std"], worker_id="w", count=1, wait_seconds=1)

        for output in ("first", "second"):
            await bench.app.protocol.report([Completed(task.activity_id, output)], worker_id="w")
        strange = await bench.app.protocol.report(
            [Completed("no/such", 1), Completed(f"{run_id}/a/9/x", 1), Completed("nobody/a/1/x", 1)], worker_id="w"
        )

        assert await bench.output(run_id, "a") == "first"
        assert all(acknowledged.stale for acknowledged in strange)
        with pytest.raises(StaleAttempt):
            await bench.app.protocol.heartbeat(task.activity_id, worker_id="w")

    play(scene, work=False)


def test_every_event_of_a_run_carries_its_trace_id(play):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(QUICK)
        row = await bench.finished(run_id)

        events = await bench.events(run_id)
        assert len(events) >= 5
        assert {event.trace_id for event in events} == {row.trace_id}

    play(scene)


@pytest.mark.parametrize("kind", ["built in", "of a user"])
def test_an_attempt_that_waits_for_a_person_keeps_no_slot_from_those_that_work(play, monkeypatch, kind: str):
    monkeypatch.setattr(task_context, "WAITS_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(worker_module, "BUILT_IN_SLOTS" if kind == "built in" else "USER_SLOTS", 1)
    use = "llm_prompt" if kind == "built in" else "asks"
    prompt = "with: {model: scripted/m, prompt: hello, max_tokens: 20}"
    dear = f"name: dear\nbudget: {{limit: 0.000001, action: ask}}\nactivities: {{a: {{use: {use}, {prompt}}}}}"
    other = f"name: other\nactivities: {{b: {{use: {use}, {prompt}}}}}"

    async def asks(parameters, context):
        call_id, admission = await context.admit(CallRequest("h", (Candidate("m/m", 2_000, Price(1, 1)),)))
        await context.settle(call_id, Settlement.used(Usage(cost_nano=2_000)))
        return type(admission).__name__

    async def scene(bench: Any) -> None:
        first, second = await bench.start(dear), await bench.start(dear)
        for run_id in (first, second):
            await bench.until(lambda run_id=run_id: bench.app.engine.loaded(run_id).run.asking_calls)

        working = await bench.start(other)

        assert (await bench.finished(working)).head.status == "completed"
        for run_id in (first, second):
            await bench.app.desk.raise_budget(run_id, to=10**9)
            assert (await bench.finished(run_id)).head.status == "completed"

    play(scene, activities={"asks": asks}, scripted=ScriptedProvider.from_file(SCRIPT))


def test_the_lease_of_a_task_is_kept_while_it_is_worked_on_and_no_longer(play, monkeypatch):
    monkeypatch.setattr(worker_module, "FIRST_HEARTBEAT_SECONDS", 0.0)
    beats: list[str] = []

    async def waits(parameters: Any, context: Any) -> str:
        await asyncio.wrap_future(kept)
        return "kept"

    kept: Future[None] = Future()

    async def scene(bench: Any) -> None:
        protocol = bench.app.protocol

        async def heartbeat(activity_id: str, *, worker_id: str, progress: Any = None) -> float:
            beats.append(activity_id)
            return 0.0 if len(beats) < 3 else 3_600.0

        monkeypatch.setattr(protocol, "heartbeat", heartbeat)
        run_id = await bench.start("name: t\nactivities: {a: {use: waits}}")
        await bench.until(lambda: len(beats) == 3)
        kept.set_result(None)

        assert (await bench.finished(run_id)).head.status == "completed"
        assert {beat.split("/")[0] for beat in beats} == {run_id}
        await bench.until(lambda: not [task for task in asyncio.all_tasks() if "_keep_lease" in repr(task)])

    play(scene, activities={"waits": waits})


@pytest.mark.parametrize("said", [{"page": 3}, float("nan")])
def test_what_an_activity_says_of_its_progress_goes_along_with_the_next_heartbeat(play, monkeypatch, said: Any):
    monkeypatch.setattr(worker_module, "FIRST_HEARTBEAT_SECONDS", 0.01)

    def works(parameters: Any, context: Any) -> None:
        context.progress({"page": 1})
        context.progress(said)
        assert heard.wait(30)

    async def scene(bench: Any) -> None:
        run_id = await bench.start("name: t\nactivities: {a: {use: works}}")
        await bench.until(lambda: bool(bench.app.protocol.progress_of(run_id)))

        told = bench.app.protocol.progress_of(run_id)["a"]
        heard.set()

        assert told == said or "NaN" in told["left_out"]
        assert (await bench.finished(run_id)).head.status == "completed"
        await bench.until(lambda: not bench.app.protocol.progress_of(run_id))

    heard = threading.Event()
    play(scene, activities={"works": works})


def test_a_report_that_is_refused_takes_no_other_along(play, monkeypatch):
    async def scene(bench: Any) -> None:
        report = bench.app.protocol.report

        async def picky(reports: Any, *, worker_id: str) -> Any:
            if any(one.output == "bad" for one in reports):
                raise Refused("not this one")
            return await report(reports, worker_id=worker_id)

        monkeypatch.setattr(bench.app.protocol, "report", picky)
        await bench.start("name: t\nactivities: {bad: {use: gives, with: {it: bad}}}")
        others = [
            await bench.start(f"name: t{n}\nactivities: {{a: {{use: gives, with: {{it: good}}}}}}") for n in range(5)
        ]

        for run_id in others:
            assert (await bench.finished(run_id)).head.status == "completed"

    async def gives(parameters: Any, context: Any) -> str:
        both.append(parameters["it"])
        while len(both) < 6:  # noqa: ASYNC110 - all end together
            await asyncio.sleep(0.001)
        return parameters["it"]

    both: list[str] = []
    play(scene, activities={"gives": gives})


def test_tasks_that_end_together_are_reported_together(play):
    together: list[int] = []
    begun: list[str] = []
    go = asyncio.Event()

    async def waits(parameters: Any, context: Any) -> str:
        begun.append(context.task.place)
        await go.wait()
        return context.task.place

    async def scene(bench: Any) -> None:
        report = bench.app.protocol.report

        async def counted(reports: Any, *, worker_id: str) -> Any:
            together.append(len(reports))
            return await report(reports, worker_id=worker_id)

        bench.app.protocol.report = counted
        bench.app.worker._builtins = {**bench.app.worker._builtins, "echo": waits}  # ours run on the engine's loop
        bench.app.worker._plain = frozenset()
        run_id = await bench.start("name: t\nactivities: {a: {use: echo}, b: {use: echo}, c: {use: echo}}")
        await bench.until(lambda: len(begun) == 3)
        go.set()

        assert (await bench.finished(run_id)).head.status == "completed"
        assert together == [3]

    play(scene)
