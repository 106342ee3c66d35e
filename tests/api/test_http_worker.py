"""The worker protocol over HTTP: the worker is ours, the server is real, and nothing else joins them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.api.conftest import Desk, serving

import headgate
from headgate.app import App, stateless_activities
from headgate.client.http_line import HttpLine
from headgate.client.http_worker import HttpProtocol
from headgate.engine.worker import Worker
from headgate.stores.memory import MemoryLog

CHAIN = """
name: chain
inputs: {n: integer}
activities:
  one: {use: double, with: {n: '{{ INPUT.n }}'}, depends_on: []}
  two: {use: double, with: {n: '{{ one.n }}'}, depends_on: [one]}
  last: {use: echo, depends_on: [two], with: {is: '{{ two.n }}'}}
"""
ASK = """
name: asks
inputs: {text: string}
budget: 0.10
activities:
  short:
    use: llm_prompt
    streaming: true
    with: {model: demo/small, prompt: 'Summarise in one sentence: {{ INPUT.text }}', max_tokens: 200}
"""
TEXT = "The well gave water for nine months. In the tenth it ran dry, and a new pipe of two miles was laid."


@headgate.activity
async def double(n: int) -> dict[str, int]:
    return {"n": 2 * n}


@headgate.activity
async def fails(n: int) -> int:
    raise headgate.Attempt.failed("not_today", f"{n} is too many", retryable=False)


given: list[object] = []
"""What the next call of `gives` returns."""


async def gives(parameters: dict[str, object], context: object) -> object:
    return given.pop()


OURS = {"double": double, "fails": fails}


@asynccontextmanager
async def worker_at(url: str, **rest: object) -> AsyncGenerator[Worker]:
    from headgate.sdk.activity import collect_activities

    async with stateless_activities({}, prices_in=Path("/nonexistent"), **rest) as builtins:
        activities = collect_activities(OURS.values()) | {"gives": gives}
        protocol = HttpProtocol(HttpLine(url), activities=[*builtins, *activities])
        worker = Worker(protocol, builtins=builtins, activities=activities, worker_id="w1")
        working = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await worker.close()
            await protocol.close()


def play(scene, **rest) -> None:
    async def whole() -> None:
        names = {"double": double, "fails": fails, "gives": gives}
        async with App(MemoryLog(), environment={}, activities=names, work=False, **rest) as app, serving(app) as desk:
            url = str(desk.client.base_url).removesuffix("/api/v1/")
            async with worker_at(url), headgate.AsyncClient(url) as server, asyncio.timeout(60):
                await scene(desk, server)

    asyncio.run(whole())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing tells a test when a queue has changed
        await asyncio.sleep(0.01)


def test_tasks_go_out_and_outcomes_come_back():
    async def scene(desk: Desk, server: headgate.AsyncClient) -> None:
        await server.deploy(CHAIN)
        handles = [await server.start("chain", {"n": n}) for n in range(20)]
        results = [await handle.result() for handle in handles]
        assert [result.outputs for result in results] == [{"last": {"is": 4 * n}} for n in range(20)]
        view = await handles[0].show()
        assert {place.worker for place in view.activities} == {"w1"}

    play(scene)


def test_a_failure_is_told_with_its_code():
    async def scene(desk: Desk, server: headgate.AsyncClient) -> None:
        await server.deploy("name: bad\nactivities:\n  x: {use: fails, with: {n: 9}}\n")
        result = await server.run("bad")
        view = await server.handle(result.id).show()
        assert (result.status, view.activities[0].error_code) == ("failed", "not_today")
        assert "9 is too many" in view.activities[0].error

    play(scene)


@pytest.mark.parametrize("output", [{"x": float("nan")}, object(), {None: 1}])
def test_an_output_that_json_cannot_hold_fails_its_activity_at_once(output: object):
    given.append(output)

    async def scene(desk: Desk, server: headgate.AsyncClient) -> None:
        await server.deploy("name: odd\nactivities:\n  x: {use: gives, retry: 3}\n")
        result = await server.run("odd")
        view = await server.handle(result.id).show()
        assert (view.activities[0].error_code, view.activities[0].attempt) == ("invalid_output", 1)

    play(scene)


def test_a_model_call_is_admitted_streamed_and_settled_by_the_server():
    async def scene(desk: Desk, server: headgate.AsyncClient) -> None:
        await server.deploy(ASK)
        handle = await server.start("asks", {"text": TEXT})
        text = ""
        async for update in handle.stream():
            if isinstance(update, headgate.Restarted):
                text = ""
            if isinstance(update, headgate.Tokens):
                text += update.text
        view = await handle.show()
        assert view.status == "completed"
        assert text == view.activities[0].output["content"]
        (row,) = await handle.costs()
        assert (row.kind, row.cost > 0, view.reserved) == ("call", True, 0)

    play(scene)


def test_a_call_above_the_budget_is_denied():
    async def scene(desk: Desk, server: headgate.AsyncClient) -> None:
        await server.deploy(ASK.replace("0.10", "0.000001"))
        result = await server.run("asks", {"text": TEXT})
        view = await server.handle(result.id).show()
        assert view.activities[0].error_code == "budget_exceeded"
        assert await server.handle(result.id).costs() == []

    play(scene)


def test_what_the_worker_has_not_is_done_by_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    async def scene(desk: Desk, server: headgate.AsyncClient) -> None:
        await server.deploy(
            "name: keeps\nactivities:\n  write: {use: file_write, with: {path: a.txt, content: kept}}\n"
        )
        result = await server.run("keeps")
        view = await server.handle(result.id).show()
        assert (result.status, view.activities[0].worker) == ("completed", "built-in")

    play(scene)


def test_a_worker_that_goes_while_it_waits_gets_no_task():
    async def scene(desk: Desk, server: headgate.AsyncClient) -> None:
        await server.deploy("name: q\nactivities:\n  x: {use: double, worker: far, with: {n: 1}}\n")
        gone = HttpProtocol(HttpLine(str(desk.client.base_url)), activities=["double"])
        polling = asyncio.create_task(gone.poll(["far"], worker_id="gone", count=1, wait_seconds=30))
        await until(lambda: desk.app.queue.waiting("far") == 1)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await until(lambda: desk.app.queue.waiting("far") == 0)
        handle = await server.start("q")
        here = HttpProtocol(HttpLine(str(desk.client.base_url)), activities=["double"])
        (task,) = await here.poll(["far"], worker_id="here", count=5, wait_seconds=30)
        assert task.workflow_id == handle.id
        await gone.close()
        await here.close()

    play(scene)


LOOK = "name: look\ninputs: {url: string}\nactivities:\n  at: {use: http_request, with: {url: '{{ INPUT.url }}'}}\n"


@pytest.mark.slow
@pytest.mark.parametrize(("reachable", "code"), [("", "address_refused"), ("127.0.0.1", "")])
def test_the_command_works_for_a_server_and_drains(tmp_path: Path, reachable: str, code: str):
    (tmp_path / "mine.py").write_text(
        "import headgate\n\n@headgate.activity\nasync def double(n: int) -> dict[str, int]:\n    return {'n': 2 * n}\n"
    )
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(tmp_path)])),
        "HEADGATE_PRIVATE_ADDRESSES": reachable,
    }
    command = [sys.executable, "-m", "headgate"]
    server = subprocess.Popen(
        [*command, "dev", "--port", "0", "--no-worker", "--activities", "mine"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    worker = None
    try:
        assert server.stderr is not None
        url = next(found[1] for line in server.stderr if (found := re.search(r"Listening at (\S+?)/api", line)))
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        worker = subprocess.Popen([*command, "worker", "--url", url, "mine"], cwd=elsewhere, env=environment)
        with headgate.Client(url) as there:
            there.deploy(CHAIN)
            assert there.run("chain", {"n": 5}).outputs == {"last": {"is": 20}}
            there.deploy(LOOK)
            looked = there.run("look", {"url": f"{url}/api/v1/health"})
            assert there.handle(looked.id).show().activities[0].error_code == code
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        assert not (elsewhere / ".headgate").exists()
    finally:
        for process in (worker, server):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
