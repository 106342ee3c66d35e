"""What a worker says of its tasks, and is told of them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from tests.engine.worker_lab import QUICK, hanging

from headgate.core.errors import Refused, StaleAttempt
from headgate.core.values import Candidate, Price, Usage
from headgate.engine import task_context
from headgate.engine import worker as worker_module
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import CallRequest, Completed, Settlement

SCRIPT = b"models: {a: [{text: one}, {text: one}], b: [{text: two}]}\nprices: {m: {output: 1000}}"


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
