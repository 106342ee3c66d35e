"""The worker protocol over the control socket."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.engine.worker_door.site import ONE, REQUEST, TEN, Site, kinds

from headgate.api import worker_door
from headgate.client import worker as client_worker
from headgate.client import worker_frames
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.errors import StaleAttempt
from headgate.core.values import Usage
from headgate.ports import (
    Admitted,
    Completed,
    Denied,
    Hit,
    Kept,
    Restarted,
    Settlement,
    Tokens,
)


def test_a_task_is_worked_on_by_another_worker_and_its_report_is_durable_when_it_is_acknowledged(at: Any):
    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin()
        assert (task.parameters, task.activity_name, task.attempt) == ({"n": 1}, "work", 1)

        (told,) = await protocol.report([Completed(task.activity_id, {"done": [1.5, None]})], worker_id="w")

        assert (told.activity_id, told.stale) == (task.activity_id, "")
        assert await site.bench.output(run_id, "a") == {"done": [1.5, None]}
        (done,) = await kinds(site, run_id, e.ActivityCompleted)
        assert done.worker == "w"
        (again,) = await protocol.report([Completed(task.activity_id, 2)], worker_id="w")
        assert await kinds(site, run_id, e.ActivityCompleted) == [done]
        assert again.activity_id == task.activity_id

    at(scene)


def test_a_poll_is_held_open_until_a_task_is_due_and_nothing_else_waits_for_it(at: Any):
    async def scene(site: Site) -> None:
        protocol = site.connect()
        polling = asyncio.ensure_future(protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=30))
        with pytest.raises(StaleAttempt):
            await protocol.heartbeat("r/a/1/x", worker_id="w")
        assert not polling.done()

        await site.bench.start(ONE)

        (task,) = await polling
        assert await protocol.heartbeat(task.activity_id, worker_id="w") == 10.0

    at(scene)


def test_calls_are_admitted_denied_and_settled_as_in_the_owners_own_process(at: Any):
    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin(limit=150)

        admitted = await protocol.admit(task.activity_id, call_id="c1", request=REQUEST)
        await protocol.settle(task.activity_id, call_id="c1", settlement=Settlement.used(Usage(cost_nano=60)))
        denied = await protocol.admit(task.activity_id, call_id="c2", request=REQUEST)

        assert admitted == Admitted("lab/m", 100)
        assert isinstance(denied, Denied)
        assert denied.error.code == "budget_exceeded"
        (settled,) = await kinds(site, run_id, g.CallSettled)
        assert settled.cost == 60

    at(scene)


def test_a_hit_and_what_is_to_be_kept_pass_too(at: Any):
    text = "name: t\nactivities: {a: {use: llm_prompt, with: {model: demo/small, prompt: x}, cache: true}}"

    async def scene(site: Site) -> None:
        asked = msgspec.structs.replace(REQUEST, reuse=("asked",))
        for number in range(2):
            await site.bench.start(text)
            protocol = site.connect(f"w{number}", activities=("llm_prompt",))
            (task,) = await protocol.poll(["std"], worker_id="w", count=1, wait_seconds=5)
            answer = await protocol.admit(task.activity_id, call_id="c", request=asked)
            if number:
                assert answer == Hit("lab/m", ({"a": [1, 2]},))
            else:
                settlement = Settlement.used(Usage(cost_nano=60), answers=(Kept({"a": [1, 2]}),))
                await protocol.settle(task.activity_id, call_id="c", settlement=settlement)

    at(scene)


def test_more_calls_may_wait_for_money_than_a_connection_is_long_and_the_settlement_that_frees_it_gets_through(at: Any):
    definition = TEN.replace("gpu, for_each", "gpu, max_parallel: 200, for_each")

    async def scene(site: Site) -> None:
        run_id = await site.bench.start(definition, {"all": list(range(200))}, limit=100)
        protocol = site.connect()
        tasks = await protocol.poll(["gpu"], worker_id="w", count=200, wait_seconds=5)
        asking = [
            asyncio.ensure_future(protocol.admit(task.activity_id, call_id=task.activity_id, request=REQUEST))
            for task in tasks
        ]

        async def use(answer: asyncio.Future[Any], task: Any) -> None:
            assert isinstance(await answer, Admitted)
            settlement = Settlement("never_sent")
            await protocol.settle(task.activity_id, call_id=task.activity_id, settlement=settlement)

        await asyncio.gather(*(use(answer, task) for answer, task in zip(asking, tasks, strict=True)))
        assert len(tasks) == 200
        assert len(await kinds(site, run_id, g.CallWaiting)) > worker_door.WORKERS_MAX

    at(scene)


def test_a_text_of_which_a_piece_was_dropped_is_taken_back_and_one_that_begins_again_is_told(
    at: Any, monkeypatch: pytest.MonkeyPatch
):
    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin()
        reader = site.bench.app.streams.subscribe(run_id)
        protocol.stream(task.activity_id, "Half a ")
        assert isinstance(await reader.next(), Tokens)

        with monkeypatch.context() as crowded:
            crowded.setattr(client_worker, "STREAM_BYTES_MAX", -1)
            protocol.stream(task.activity_id, "sen")
        protocol.stream(task.activity_id, "tence")
        assert isinstance(await reader.next(), Restarted)
        protocol.restart_stream(task.activity_id)
        protocol.stream(task.activity_id, "Whole")

        chunk = await reader.next()
        assert isinstance(chunk, Tokens)
        assert (chunk.text, chunk.offset) == ("Whole", 0)

    at(scene)


def test_streamed_text_arrives_in_order_and_before_the_report_that_follows_it(at: Any):
    async def scene(site: Site) -> None:
        _, protocol, task = await site.begin()
        said: list[str] = []
        publish = site.bench.app.streams.publish

        def noting(run: str, place: str, epoch: int, text: str) -> None:
            said.append(text)
            publish(run, place, epoch, text)

        site.bench.app.streams.publish = noting
        for number in range(1_000):
            protocol.stream(task.activity_id, f"{number} ")
        await protocol.report([Completed(task.activity_id, 1)], worker_id="w")

        assert "".join(said).split() == [str(number) for number in range(1_000)]
        assert len(said) < 100

    at(scene)


def test_an_effect_is_begun_in_the_log(at: Any):
    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin()
        await protocol.begin_effect(task.activity_id, what="a mail")
        assert [event.what for event in await kinds(site, run_id, e.EffectBegun)] == ["a mail"]

    at(scene)


def test_an_output_that_is_too_long_fails_the_attempt_and_says_so(at: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_frames, "OUTPUT_BYTES_MAX", 5_000)

    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin()
        await protocol.report([Completed(task.activity_id, "x" * 6_000)], worker_id="w")
        (failed,) = await kinds(site, run_id, e.AttemptFailed)
        assert (failed.error.code, failed.error.retryable) == ("invalid_output", False)

    at(scene)


@pytest.mark.parametrize("output", [float("nan"), {"deep": [1, float("inf")]}, object(), "\ud800"])
def test_an_output_that_json_cannot_hold_fails_its_attempt_and_no_other(at: Any, output: Any):
    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin()
        other = await site.bench.start(ONE.replace("one", "other"))
        (second,) = await protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=5)

        reports = [Completed(task.activity_id, output), Completed(second.activity_id, "fine")]
        await protocol.report(reports, worker_id="w")

        (failed,) = await kinds(site, run_id, e.AttemptFailed)
        assert (failed.error.code, failed.error.retryable) == ("invalid_output", False)
        assert await site.bench.output(other, "a") == "fine"

    at(scene)
