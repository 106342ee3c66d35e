"""The Python client at a server of ours: runs, people, streams, repeats."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ForwardRef

import pytest
from tests.api.conftest import Desk, serving

import headgate
from headgate.app import App
from headgate.client import http_line
from headgate.client.http_line import ServerAway
from headgate.client.remote import Login, StartOptions, WantedRuns
from headgate.ports import SignalRequest, StartRequest
from headgate.stores.memory import MemoryLog

GREET = (
    "name: greet\ninputs: {name: string}\nactivities:\n  hello: {use: echo, with: {message: 'Hi {{ INPUT.name }}'}}\n"
)
ASK = """
name: ask
activities:
  sure: {use: approval, with: {title: Sure?}}
  after: {use: echo, depends_on: [sure], with: {comment: '{{ sure.comment }}'}}
"""
SUMMARY = """
name: summary
inputs: {text: string}
budget: 0.10
activities:
  short:
    use: llm_prompt
    streaming: true
    with: {model: demo/small, prompt: 'Summarise in one sentence: {{ INPUT.text }}'}
"""
TEXT = "The well gave water for nine months. In the tenth it ran dry, and a new pipe of two miles was laid."


def client_of(desk: Desk, **rest: object) -> headgate.AsyncClient:
    return headgate.AsyncClient(str(desk.client.base_url).removesuffix("/api/v1/"), **rest)


def test_a_run_is_started_waited_for_and_looked_at(play):
    async def scene(desk: Desk) -> None:
        async with client_of(desk) as server:
            deployed = await server.deploy(GREET)
            assert (deployed.name, deployed.unchanged) == ("greet", False)
            assert (await server.deploy(GREET)).unchanged
            result = await server.run("greet", {"name": "Ada"}, labels={"team": "a"})
            assert result.completed
            assert result.outputs == {"hello": {"message": "Hi Ada"}}
            view = await server.handle(result.id).show()
            assert view == await desk.app.desk.show(result.id)
            (known,) = await server.runs(workflow="greet")
            assert (known.id, known.labels) == (result.id, {"team": "a"})
            events = await server.client.events(result.id)
            assert events == await desk.app.desk.events(result.id)

    play(scene)


def test_what_it_cost_and_what_was_streamed_is_told_to_the_last_digit(play):
    async def scene(desk: Desk) -> None:
        async with client_of(desk) as server:
            await server.deploy(SUMMARY)
            handle = await server.start("summary", {"text": TEXT}, budget=Decimal("0.05"))
            text, ended = "", 0
            async for update in handle.stream():
                if isinstance(update, headgate.Tokens):
                    text += update.text
                ended += isinstance(update, headgate.Ended)
            view = await handle.show()
            assert text == view.activities[0].output["content"]
            assert ended == 1
            assert view.limit == 50_000_000
            rows = await handle.costs()
            assert rows == await desk.app.desk.spend(handle.id)
            assert sum(row.cost for row in rows) == view.cost > 0

    play(scene)


def test_a_person_decides_a_signal_comes_and_a_run_is_cancelled(play):
    async def scene(desk: Desk) -> None:
        async with client_of(desk) as server:
            await server.deploy(ASK)
            first, second = await server.start("ask"), await server.start("ask")
            await first.approve("sure", by="Ada", comment="yes")
            result = await first.result()
            assert result.outputs == {"after": {"comment": "yes"}}
            await second.cancel("not wanted")
            assert (await second.result()).status == "cancelled"
            with pytest.raises(headgate.Refused, match="is cancelled"):
                await second.approve("sure")

    play(scene)


def test_errors_are_those_that_the_server_raised(play):
    async def scene(desk: Desk) -> None:
        async with client_of(desk) as server:
            with pytest.raises(headgate.Invalid, match="activities") as caught:
                await server.deploy("name: x\nactivties: {}\n")
            assert caught.value.problems
            with pytest.raises(headgate.NotFound, match="no workflow 'nothing'"):
                await server.start("nothing")
            with pytest.raises(headgate.NotFound):
                await server.handle("no-such-run").status()
            await server.deploy(GREET)
            with pytest.raises(headgate.Invalid, match="input"):
                await server.start("greet", {"nome": "Ada"})
            with pytest.raises(headgate.Invalid, match="abc"):
                await server.start("greet", {"name": "Ada"}, budget="abc")

    play(scene)


@pytest.mark.parametrize(
    ("options", "function"),
    [
        (StartOptions, headgate.AsyncClient.start),
        (WantedRuns, headgate.AsyncClient.runs),
        (Login, headgate.AsyncClient),
    ],
)
def test_code_that_is_not_async_is_told_the_same_options_by_name_and_type(options: type, function: Callable[..., Any]):
    taken = inspect.signature(function).parameters.values()

    assert options.__annotations__ == {
        one.name: ForwardRef(one.annotation, module=options.__module__)
        for one in taken
        if one.kind is inspect.Parameter.KEYWORD_ONLY
    }


def test_a_signal_goes_with_a_start(play):
    async def scene(desk: Desk) -> None:
        async with client_of(desk) as server:
            await server.deploy(ASK)
            request = StartRequest(workflow="ask", unique_key="ann", signal=SignalRequest(name="said", data=1))

            run = await server.client.start(request)

            events = [event.type for event in await server.client.events(run.id)]
            assert "signal_received" in events

    play(scene)


def test_a_repeat_with_one_command_id_starts_once(play):
    async def scene(desk: Desk) -> None:
        async with client_of(desk) as server:
            await server.deploy(GREET)
            starts = [server.start("greet", {"name": "Ada"}, command_id="order-7") for _ in range(8)]
            assert len({handle.id for handle in await asyncio.gather(*starts)}) == 1

    play(scene)


def test_what_fails_on_the_way_is_asked_again_and_done_once():
    async def whole() -> None:
        async with App(MemoryLog(), environment={}) as app, serving(app) as desk:
            base = desk.client.base_url
            async with _Cutting(base.host, base.port) as proxy, headgate.AsyncClient(proxy.url) as server:
                await server.deploy(GREET)
                handles = [await server.start("greet", {"name": str(number)}) for number in range(12)]
                assert proxy.cut >= 6
                async with client_of(desk) as straight:
                    results = [await straight.handle(handle.id).result() for handle in handles]
                assert [result.outputs["hello"]["message"] for result in results] == [f"Hi {n}" for n in range(12)]
                assert len(await app.desk.runs(limit=100)) == 12

    asyncio.run(asyncio.wait_for(whole(), 60))


def test_a_watch_goes_on_over_connections_that_break():
    async def whole() -> None:
        async with App(MemoryLog(), environment={}, demo_pace_seconds=0.02) as app, serving(app) as desk:
            await desk.deploy(SUMMARY)
            base = desk.client.base_url
            async with (
                _Cutting(base.host, base.port, after_bytes=2_500) as proxy,
                headgate.AsyncClient(proxy.url) as server,
            ):
                handle = await server.start("summary", {"text": TEXT})
                text, ended = "", 0
                async for update in handle.stream():
                    match update:
                        case headgate.Tokens():
                            text += update.text
                        case headgate.Restarted():
                            text = ""
                        case headgate.Ended():
                            ended += 1
                assert text == (await app.desk.show(handle.id)).activities[0].output["content"]
                assert ended == 1
                assert proxy.cut

    asyncio.run(asyncio.wait_for(whole(), 60))


def test_a_server_that_is_away_is_named_meanwhile_and_when_patience_is_over(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(http_line, "TELL_AFTER_SECONDS", 0.0)

    async def whole() -> None:
        async with headgate.AsyncClient("http://127.0.0.1:9", patience_seconds=0.2) as server:
            with pytest.raises(ServerAway, match=r"127\.0\.0\.1:9 does not answer"):
                await server.start("greet")

    asyncio.run(whole())
    assert "127.0.0.1:9 does not answer" in caplog.text
    with pytest.raises(headgate.Invalid, match="http://"):
        headgate.Client("localhost:8720")
    with pytest.raises(headgate.Invalid, match="client_id and client_secret"):
        headgate.Client("http://localhost:8720", client_id="only")


def test_code_that_is_not_async_has_the_same(play):
    async def scene(desk: Desk) -> None:
        url = str(desk.client.base_url).removesuffix("/api/v1/")

        def program() -> None:
            with headgate.Client(url) as server:
                server.deploy(GREET)
                server.deploy(ASK)
                assert server.run("greet", {"name": "Bo"}).outputs == {"hello": {"message": "Hi Bo"}}
                with server.start("ask") as handle:
                    handle.approve("sure")
                    assert handle.result().completed
                assert server.handle(handle.id).status() == "completed"  # a closed handle closes no other
                assert [run.workflow for run in server.runs()] == ["ask", "greet"]

        await asyncio.to_thread(program)
        assert not [thread for thread in threading.enumerate() if thread.name == "headgate-bridge"]

    play(scene)


class _Cutting:
    """A proxy on loopback. It keeps every other answer to itself and cuts the connection, so that what was asked is
    done and nobody knows; with `after_bytes` it cuts each after so many bytes of an answer."""

    def __init__(self, host: str, port: int, *, after_bytes: int = 0) -> None:
        self._host, self._port, self._after = host, port, after_bytes
        self._server: asyncio.Server | None = None
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.cut = 0

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> _Cutting:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there, to = await asyncio.open_connection(self._host, self._port)
        up = asyncio.ensure_future(self._pump(reader, to))
        try:
            await (self._cut_long(there, writer) if self._after else self._cut_some(there, writer))
        except OSError:
            pass
        finally:
            up.cancel()
            writer.close()
            to.close()

    async def _cut_some(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await there.read(65_536):
            self._number += 1
            if self._number % 2:
                self.cut += 1
                return
            writer.write(data)
            await writer.drain()

    async def _cut_long(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = 0
        while data := await there.read(1_000):
            writer.write(data)
            await writer.drain()
            sent += len(data)
            if sent > self._after:
                self.cut += 1
                return

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
