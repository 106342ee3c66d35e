"""Workers in other processes: the worker protocol over the control socket, and what a broken connection comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headgate.api import worker_door
from headgate.api.socket import SocketServer
from headgate.api.worker_door import WorkerDoor
from headgate.client import worker as client_worker
from headgate.client import worker_frames
from headgate.client.address import Address
from headgate.client.frames import Request
from headgate.client.worker import SocketProtocol
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.errors import Invalid, Refused, StaleAttempt, Unavailable
from headgate.core.values import Candidate, Failure, Price, Usage
from headgate.engine.worker import Worker
from headgate.ports import (
    Admitted,
    CallRequest,
    Completed,
    Denied,
    Failed,
    Hit,
    Kept,
    Restarted,
    Settlement,
    Tokens,
)

PRICE = Price(input=1_000_000_000)
REQUEST = CallRequest("h", (Candidate("lab/m", 100, PRICE),))
ONE = "name: one\nactivities: {a: {use: work, queue: gpu, with: {n: 1}}}"
TEN = "name: ten\nactivities: {a: {use: work, queue: gpu, for_each: '{{INPUT.all}}', with: {n: '{{ITEM}}'}}}"
MANY = {"all": list(range(10))}


class Site:
    """An owner with its door, and the connections of workers to it."""

    def __init__(self, bench: Any, server: SocketServer, stack: AsyncExitStack) -> None:
        self.bench = bench
        self.server = server
        self.door = server.workers
        self._stack = stack

    def connect(self, name: str = "w", *, activities: tuple[str, ...] = ("work",)) -> SocketProtocol:
        protocol = SocketProtocol(lambda: self.server.address, worker_id=name, activities=activities)
        self._stack.push_async_callback(protocol.close)
        return protocol

    async def begin(self, definition: str = ONE, given: Any = None, **fields: Any) -> tuple[str, SocketProtocol, Any]:
        """Start a run and take its first task."""
        run_id, protocol = await self.bench.start(definition, given, **fields), self.connect()
        (task,) = await protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=5)
        return run_id, protocol, task


@pytest.fixture
def at(play: Any, tmp_path: Path) -> Callable[..., None]:
    """Return a function that plays a scene on an owner that takes workers and works on nothing by itself."""

    def run(scene: Callable[[Site], Awaitable[None]], *, work: bool = False, **settings: Any) -> None:
        async def whole(bench: Any) -> None:
            app = bench.app
            async with AsyncExitStack() as stack:
                door = WorkerDoor(app.protocol, lose=app.protocol.lose, keep=app.worker.accept)
                address = Address(path=str(tmp_path / "s.sock"))
                server = await stack.enter_async_context(SocketServer(app.desk, address, door))
                await scene(Site(bench, server, stack))

        play(whole, work=work, **settings)

    return run


async def kinds(site: Site, run_id: str, kind: type[e.Event]) -> list[Any]:
    return [event for event in await site.bench.events(run_id) if isinstance(event, kind)]


# --- The protocol -----------------------------------------------------------------------------------------


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


# --- Connections that break -------------------------------------------------------------------------------


async def cut(protocol: SocketProtocol) -> None:
    """Break the connection as the end of its process does."""
    protocol._link._writer.transport.abort()
    await asyncio.sleep(0)


def test_what_a_broken_connection_had_in_hand_is_offered_again_at_once_and_its_calls_are_forfeited(at: Any):
    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin()
        await protocol.admit(task.activity_id, call_id="c1", request=REQUEST)

        await cut(protocol)
        other = site.connect("other")
        (again,) = await other.poll(["gpu"], worker_id="other", count=1, wait_seconds=5)

        assert (again.place, again.attempt) == ("a", 2)
        (lost,) = await kinds(site, run_id, e.AttemptLost)
        (forfeit,) = await kinds(site, run_id, g.CallForfeited)
        assert (forfeit.call_id, forfeit.amount) == ("c1", 100)
        assert "worker w" in lost.reason
        assert "worker w" in forfeit.reason

    at(scene)


def test_a_report_after_a_reconnect_is_fenced_by_its_attempt_and_a_late_settlement_replaces_the_forfeit(at: Any):
    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin()
        await protocol.admit(task.activity_id, call_id="c1", request=REQUEST)
        await cut(protocol)
        (again,) = await site.connect("other").poll(["gpu"], worker_id="other", count=1, wait_seconds=5)

        await protocol.settle(task.activity_id, call_id="c1", settlement=Settlement.used(Usage(cost_nano=60)))
        (told,) = await protocol.report([Completed(task.activity_id, "late")], worker_id="w")

        assert again.attempt == 2
        assert "no longer waits for attempt 1" in told.stale
        assert await kinds(site, run_id, e.ActivityCompleted) == []
        (settled,) = await kinds(site, run_id, g.CallSettled)
        assert (settled.cost, settled.replaces) == (60, 100)

    at(scene)


def test_a_worker_whose_claim_is_gone_reports_nothing_of_it_also_where_its_attempt_is_still_the_current_one(at: Any):
    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin()
        site.bench.app.queue.finish(task.activity_id)  # as after a start of the owner, which remembers no claim
        with pytest.raises(StaleAttempt):
            await protocol.heartbeat(task.activity_id, worker_id="w")

        stopped = Failed(task.activity_id, Failure("cancelled", "the attempt was stopped", retryable=False))
        (told,) = await protocol.report([stopped], worker_id="w")

        assert told.stale
        assert await kinds(site, run_id, e.AttemptFailed) == []

    at(scene)


def test_tasks_that_were_on_their_way_to_a_worker_that_left_are_offered_again(at: Any):
    async def scene(site: Site) -> None:
        for _ in range(20):
            protocol = site.connect()
            polling = asyncio.ensure_future(protocol.poll(["gpu"], worker_id="w", count=5, wait_seconds=30))
            await site.bench.until(lambda: site.door.workers == {"w"})
            run_id = await site.bench.start(TEN, MANY)
            await cut(protocol)
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
            await site.bench.until(lambda: not site.door.workers)

            other = site.connect("other")
            done = 0
            while done < 10:
                tasks = await other.poll(["gpu"], worker_id="other", count=10, wait_seconds=5)
                await other.report([Completed(task.activity_id, 1) for task in tasks], worker_id="other")
                done += len(tasks)
            assert (await site.bench.finished(run_id)).head.status == "completed"
            await other.close()
            await site.bench.until(lambda: not site.door.workers)

    at(scene)


def test_when_the_owner_ends_its_workers_keep_what_they_have_in_hand(at: Any):
    async def scene(site: Site) -> None:
        run_id, protocol, _ = await site.begin()
        await site.server.__aexit__()
        assert await kinds(site, run_id, e.AttemptLost) == []
        with pytest.raises(Unavailable):
            await protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=0)

    at(scene)


def test_a_worker_that_says_nothing_for_too_long_is_gone(at: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_door, "SILENCE_SECONDS_MAX", 0.05)

    async def scene(site: Site) -> None:
        run_id, _, _ = await site.begin()
        await site.bench.until(lambda: not site.door.workers)
        await site.bench.until(lambda: site.bench.app.queue.depth("gpu") == 1)
        assert [event.place for event in await kinds(site, run_id, e.AttemptLost)] == ["a"]

    at(scene)


# --- Whole workers ----------------------------------------------------------------------------------------


def test_an_activity_that_the_worker_has_not_got_is_done_by_the_owner(at: Any):
    definition = """
name: both
activities:
  theirs: {use: work, queue: gpu, with: {n: 1}}
  ours: {use: echo, with: {n: 2}, after: theirs}
"""

    async def scene(site: Site) -> None:
        worker = Worker(
            site.connect(),
            builtins={},
            activities={"work": lambda parameters, _: parameters["n"]},
            queues=("gpu", "std"),
        )
        working = asyncio.create_task(worker.run())
        run_id = await site.bench.start(definition)
        assert (await site.bench.finished(run_id)).head.status == "completed"
        done = await kinds(site, run_id, e.ActivityCompleted)
        assert [event.worker for event in done] == ["w", "built-in"]
        assert [await site.bench.output(run_id, key) for key in ("theirs", "ours")] == [1, {"n": 2}]
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await worker.close()

    at(scene)


def test_a_worker_that_drains_finishes_and_reports_what_it_has_begun_and_takes_nothing_new(at: Any):
    async def scene(site: Site) -> None:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def slow(parameters: dict[str, Any], _: Any) -> Any:
            begun.set()
            await may_end.wait()
            return parameters["n"]

        protocol = site.connect()
        worker = Worker(protocol, builtins={"work": slow}, queues=("gpu",), worker_id="w", slots=2)
        working = asyncio.create_task(worker.run())
        run_id = await site.bench.start(TEN.replace("gpu, for", "gpu, max_parallel: 10, for"), MANY)
        await asyncio.wait_for(begun.wait(), 10)
        await site.bench.until(lambda: len(worker._running) == 2)

        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert await worker.drain(0) is False
        may_end.set()
        assert await worker.drain(10) is True
        await protocol.close()

        assert len(await kinds(site, run_id, e.ActivityCompleted)) == 2
        assert await kinds(site, run_id, e.AttemptLost) == []
        await worker.close()

    at(scene)


# --- Who may work, and what may be said -------------------------------------------------------------------


def test_another_revision_of_the_protocol_is_refused_and_says_which(at: Any):
    async def scene(site: Site) -> None:
        protocol = site.connect()
        protocol._hello = msgspec.structs.replace(protocol._hello, protocol=99)
        with pytest.raises(Refused, match="speaks revision 99 of the worker protocol"):
            await protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=0)

    at(scene)


def test_a_name_that_is_taken_may_be_tried_again_later(at: Any):
    async def scene(site: Site) -> None:
        first, second = site.connect("same"), site.connect("same")
        assert await first.poll(["gpu"], worker_id="w", count=1, wait_seconds=0) == []
        with pytest.raises(Unavailable, match="'same' is here already"):
            await second.poll(["gpu"], worker_id="w", count=1, wait_seconds=0)
        await first.close()
        await site.bench.until(lambda: not site.door.workers)
        assert await second.poll(["gpu"], worker_id="w", count=1, wait_seconds=0) == []

    at(scene)


@pytest.mark.parametrize(
    ("verb", "arguments", "says"),
    [
        ("start", {}, "A worker has no verb 'start'"),
        ("admit", {"activity_id": "x"}, "admit: "),
        ("report", {"reports": [{"activity_id": "nonsense"}]}, None),
        ("begin_effect", {"activity_id": "nonsense", "what": "x"}, "is not an activity id"),
    ],
)
def test_what_cannot_be_understood_is_answered_and_the_connection_goes_on(
    at: Any, verb: str, arguments: dict[str, Any], says: str | None
):
    async def scene(site: Site) -> None:
        protocol = site.connect()
        link = await protocol._linked()
        if says is None:
            (told,) = await link.ask(verb, arguments)
            assert "is not an activity id" in told.stale
        else:
            with pytest.raises(Invalid, match=says):
                await link.ask(verb, arguments)
        link._writer.write(b"no json\n")
        assert await protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=0) == []

    at(scene)


def test_an_owner_that_takes_no_workers_says_so(at: Any):
    async def scene(site: Site) -> None:
        site.server.workers = None
        with pytest.raises(Invalid, match="no verb 'work'"):
            await site.connect().poll(["gpu"], worker_id="w", count=1, wait_seconds=0)

    at(scene)


def test_a_request_is_refused_where_too_many_are_under_way(at: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_door, "REQUESTS_MAX", 1)

    async def scene(site: Site) -> None:
        protocol = site.connect()
        polling = asyncio.ensure_future(protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=30))
        await site.bench.until(lambda: site.bench.app.queue._waiting)
        with pytest.raises(Unavailable, match="1 requests of this worker are under way"):
            await protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=0)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await site.bench.until(lambda: not site.bench.app.queue._waiting)

    at(scene)


def test_a_token_is_asked_of_workers_where_one_is_needed(at: Any):
    async def scene(site: Site) -> None:
        line = msgspec.json.encode(Request(1, "work", {"worker_id": "w", "activities": []}, "wrong")) + b"\n"
        site.server.address = msgspec.structs.replace(site.server.address, token="right")
        reader, writer = await asyncio.open_unix_connection(site.server.address.path)
        writer.write(line)
        assert b"The token is not that of the lock file" in await reader.readline()
        writer.close()

    at(scene)


def test_a_claim_that_was_brought_along_from_a_connection_before_is_lost_with_the_one_that_uses_it(at: Any):
    async def scene(site: Site) -> None:
        run_id, _, task = await site.begin()
        other = site.connect("other")
        await other.admit(task.activity_id, call_id="c1", request=REQUEST)

        await cut(other)
        await site.bench.until(lambda: site.bench.app.queue.depth("gpu") == 1)

        assert [event.attempt for event in await kinds(site, run_id, e.AttemptLost)] == [1]
        assert [event.call_id for event in await kinds(site, run_id, g.CallForfeited)] == ["c1"]

    at(scene)


def test_a_settlement_is_asked_for_again_until_there_is_an_owner(at: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_worker, "OWNER_PAUSE_SECONDS", 0.001)

    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin()
        await protocol.admit(task.activity_id, call_id="c1", request=REQUEST)
        await cut(protocol)
        found = [None, None, site.server.address]
        protocol._find = lambda: found.pop(0)

        await protocol.settle(task.activity_id, call_id="c1", settlement=Settlement.used(Usage(cost_nano=60)))

        assert [event.cost for event in await kinds(site, run_id, g.CallSettled)] == [60]

    at(scene)


def test_tasks_whose_poll_is_given_up_while_they_are_made_ready_are_offered_again(at: Any):
    async def scene(site: Site) -> None:
        engine, reading = site.bench.app.engine, asyncio.Event()

        async def never(*_: Any) -> Any:
            reading.set()
            await asyncio.Event().wait()

        await site.bench.start(TEN, MANY)
        load_values, engine.load_values = engine.load_values, never
        polling = asyncio.ensure_future(site.bench.app.protocol.poll(["gpu"], worker_id="w", count=3, wait_seconds=5))
        await asyncio.wait_for(reading.wait(), 10)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        engine.load_values = load_values

        tasks = await site.connect().poll(["gpu"], worker_id="w", count=10, wait_seconds=5)
        assert len(tasks) == 10

    at(scene)
