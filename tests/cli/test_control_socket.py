"""The control socket: every verb and every error arrives at the other end as it was."""

import asyncio
import stat
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from headgate.api import socket as server_module
from headgate.api.socket import SocketServer
from headgate.client import client_frames
from headgate.client.address import Address, choose_address, parse_address
from headgate.client.frames import OwnerGone
from headgate.client.socket import SocketClient
from headgate.core.errors import Invalid, NotFound, Problem, Refused, Unavailable
from headgate.core.view import RunSummary, RunView
from headgate.ports import Changed, EventView, StartRequest, Tokens

VIEW = RunView(
    id="run1",
    workflow="w",
    definition="d",
    status="waiting",
    version=3,
    trace_id="t",
    mode="realtime",
    created_at=1,
    updated_at=2,
    cost=2**60,
    input={"a": [1, None, "ü"]},
)
SUMMARY = RunSummary(id="run1", workflow="w", definition="d", status="running", created_at=1, updated_at=1)


class Recorder:
    """A client that notes what it is asked, and answers or raises what it was told."""

    def __init__(self, answer=None):
        self.answer = answer
        self.asked = []
        self.watch_ended = asyncio.Event()

    def __getattr__(self, verb):
        async def ask(*arguments, **named):
            self.asked.append((verb, arguments, named))
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return ask

    async def watch(self, run, **named):
        self.asked.append(("watch", (run,), named))
        try:
            yield Changed(VIEW)
            yield Tokens("a", 1, 0, "word ")
            if run == "ends":
                return
            await asyncio.Event().wait()
        finally:
            self.watch_ended.set()


def over_socket(tmp_path, client, use):
    """Run `use(SocketClient, SocketServer)` against a server in front of `client`."""

    async def both():
        async with SocketServer(client, Address(path=str(tmp_path / "s.sock"))) as server:
            return await asyncio.wait_for(use(SocketClient(server.address), server), 20)

    return asyncio.run(both())


async def raw(server, line):
    reader, writer = await asyncio.open_unix_connection(server.address.path)
    writer.write(line)
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return msgspec.json.decode(answer)


@pytest.mark.parametrize(
    ("call", "expected", "answer"),
    [
        (lambda c: c.show("r", at=2), ("show", {"run": "r", "at": 2, "contents": True}), VIEW),
        (lambda c: c.runs(status="failed"), ("runs", {"status": "failed", "workflow": None, "limit": 50}), [SUMMARY]),
        (
            lambda c: c.events("r", after=4, limit=2, contents=False),
            ("events", {"run": "r", "after": 4, "limit": 2, "contents": False}),
            [EventView(version=5, at=1, type="run_started", content={"x": 1})],
        ),
        (
            lambda c: c.signal("r", "go", key="a", data=[1]),
            ("signal", {"run": "r", "name": "go", "key": "a", "data": [1]}),
            VIEW,
        ),
        (
            lambda c: c.decide("r", approved=False, by="me", comment="no"),
            ("decide", {"run": "r", "approved": False, "key": "", "by": "me", "comment": "no", "data": None}),
            VIEW,
        ),
        (lambda c: c.cancel("r", reason="x"), ("cancel", {"run": "r", "reason": "x"}), VIEW),
        (lambda c: c.pause("r"), ("pause", {"run": "r", "reason": ""}), VIEW),
        (lambda c: c.resume("r"), ("resume", {"run": "r"}), VIEW),
        (lambda c: c.retry("r"), ("retry", {"run": "r"}), VIEW),
        (lambda c: c.settled(), ("settled", {}), None),
    ],
)
def test_each_verb_arrives_with_its_arguments_and_its_answer_comes_back(tmp_path, call, expected, answer):
    recorder = Recorder(answer)

    received = over_socket(tmp_path, recorder, lambda client, _: call(client))

    assert recorder.asked == [(expected[0], (), expected[1])]
    assert received == answer


def test_a_started_run_is_known_to_have_been_handed_over(tmp_path):
    request = StartRequest(definition="name: w", input={"a": 1.5}, limit=10, labels={"k": "v"}, command_id="c")
    recorder = Recorder(SUMMARY)

    async def use(client, server):
        return await client.start(request), list(server.handed)

    received, handed = over_socket(tmp_path, recorder, use)

    assert (received, handed) == (SUMMARY, ["run1"])
    assert recorder.asked == [("start", (), {"request": request})]


@pytest.mark.parametrize(
    ("error", "branch", "code"),
    [
        (NotFound("There is no run 'x'."), NotFound, "not_found"),
        (Refused("Not now."), Refused, "refused"),
        (Unavailable("The disk is full."), Unavailable, "unavailable"),
        (Invalid("Two problems.", (Problem("here", line=3, column=4, source="f.yaml"),)), Invalid, "invalid"),
        (type("Taken", (Refused,), {"code": "taken"})("It is."), Refused, "taken"),
    ],
)
def test_an_error_keeps_branch_code_message_and_problems(tmp_path, error, branch, code):
    with pytest.raises(branch) as caught:
        over_socket(tmp_path, Recorder(error), lambda client, _: client.show("x"))

    assert (caught.value.code, caught.value.message) == (code, str(error))
    assert getattr(caught.value, "problems", ()) == getattr(error, "problems", ())


def test_a_fault_of_ours_is_told_without_its_traceback_and_logged_with_it(tmp_path, caplog):
    with pytest.raises(Unavailable, match="A fault in Headgate: ZeroDivisionError"):
        over_socket(tmp_path, Recorder(ZeroDivisionError("x")), lambda client, _: client.show("x"))

    assert "a request of the control socket failed" in caplog.text


def test_a_watch_yields_updates_until_its_end(tmp_path):
    async def use(client, _):
        return [update async for update in client.watch("ends", tokens=True)]

    assert over_socket(tmp_path, Recorder(), use) == [Changed(VIEW), Tokens("a", 1, 0, "word ")]


def test_a_watcher_that_goes_ends_its_watch_at_the_owner(tmp_path):
    recorder = Recorder()

    async def use(client, _):
        async with aclosing(client.watch("stays")) as updates:
            await anext(updates)
        await recorder.watch_ended.wait()

    over_socket(tmp_path, recorder, use)

    assert recorder.watch_ended.is_set()


def test_a_watch_tells_when_the_owner_has_ended(tmp_path):
    async def both():
        async with SocketServer(Recorder(), Address(path=str(tmp_path / "s.sock"))) as server:
            updates = SocketClient(server.address).watch("stays")
            await anext(updates)
            await anext(updates)
        with pytest.raises(OwnerGone, match="has ended"):
            await anext(updates)

    asyncio.run(both())


def test_nobody_at_the_address_is_told_as_such(tmp_path):
    with pytest.raises(OwnerGone, match="Nobody answers"):
        asyncio.run(SocketClient(Address(path=str(tmp_path / "none.sock"))).show("x"))


def test_the_socket_is_the_users_alone_replaces_a_dead_one_and_is_removed(tmp_path):
    path = tmp_path / "s.sock"
    path.touch()

    async def use(client, _):
        return stat.S_IMODE(path.stat().st_mode)

    assert over_socket(tmp_path, Recorder(VIEW), use) == 0o600
    assert not path.exists()


def test_a_line_that_is_no_request_is_refused_and_the_next_connection_is_served(tmp_path):
    async def use(client, server):
        return await raw(server, b"hello\n"), await client.show("x")

    answer, view = over_socket(tmp_path, Recorder(VIEW), use)

    assert answer["error"]["branch"] == "invalid"
    assert "expected a request as a line of JSON" in answer["error"]["message"]
    assert view == VIEW


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id":1,"verb":"destroy"}\n', "There is no verb 'destroy'"),
        (b'{"id":1,"verb":"show","arguments":{"runn":"x"}}\n', "unknown field `runn`"),
        (b'{"id":1,"verb":"show","arguments":{}}\n', "missing required field `run`"),
        (b'{"id":1,"verb":"__class__","arguments":{}}\n', "There is no verb"),
    ],
)
def test_a_request_for_what_there_is_not_is_invalid(tmp_path, line, message):
    answer = over_socket(tmp_path, Recorder(VIEW), lambda _, server: raw(server, line))

    assert answer["id"] == 1
    assert message in answer["error"]["message"]


def test_a_line_longer_than_the_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "LINE_BYTES_MAX", 1_000)

    answer = over_socket(tmp_path, Recorder(VIEW), lambda _, server: raw(server, b"x" * 3_000 + b"\n"))

    assert "longer than 1000 bytes" in answer["error"]["message"]


def test_an_answer_longer_than_the_bound_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "LINE_BYTES_MAX", 1_000)
    long = msgspec.structs.replace(VIEW, error="x" * 2_000)

    with pytest.raises(Refused, match="more than 1000"):
        over_socket(tmp_path, Recorder(long), lambda client, _: client.show("x"))


def test_connections_beyond_the_bound_are_told_to_come_again(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 1)

    async def use(client, _):
        async with aclosing(client.watch("stays")) as updates:
            await anext(updates)
            with pytest.raises(Unavailable, match="connections are open already"):
                await client.show("x")

    over_socket(tmp_path, Recorder(VIEW), use)


def test_a_loopback_port_asks_for_the_token():
    async def both():
        async with SocketServer(Recorder(VIEW), Address(token="secret")) as server:
            assert server.address.port > 0
            assert parse_address(str(server.address)) == server.address
            assert await SocketClient(server.address).show("x") == VIEW
            with pytest.raises(Refused, match="token"):
                await SocketClient(msgspec.structs.replace(server.address, token="guess")).show("x")

    asyncio.run(both())


def test_a_path_too_long_for_a_socket_gets_a_short_one_in_a_private_folder(tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()

    address = choose_address(folder / "x.db")

    parent = Path(address.path).parent
    assert len(address.path) <= 100
    assert stat.S_IMODE(parent.stat().st_mode) == 0o700
    assert choose_address(tmp_path / "x.db").path == str(tmp_path.resolve() / "x.db.sock") or len(str(tmp_path)) > 80
    parent.rmdir()


def test_the_protocol_has_a_result_for_every_verb():
    assert client_frames.VERBS.keys() == client_frames.RESULTS.keys()
