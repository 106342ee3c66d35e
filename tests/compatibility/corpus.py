"""The corpus: workflow files written for Kruxia Flow 0.8, and stories that say what each does when it runs here.

A file is run as it is, through a whole App on virtual time. Its models have their real names and scripted answers; its
requests go to a server on loopback, its queries to SQLite and PostgreSQL, its mail to a server here. In a story
`$HTTP`, `$SQLITE`, `$POSTGRES` and `$SMTP` stand for their addresses.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import asyncpg
import msgspec
from aiosmtpd.smtp import SMTP, Envelope, Session

from headgate.app import App
from headgate.authoring.document import plain
from headgate.authoring.yaml_text import read_yaml
from headgate.core.values import Failure
from headgate.core.view import RunView
from headgate.llm.demo import DemoProvider
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import Completed, EventView, Failed, ModelProvider, ModelRequest, StartRequest
from headgate.stores.sqlite import SqliteLog
from headgate.testing.case_script import price_from
from headgate.testing.clock import VirtualClock

__all__ = ["FILES", "Played", "Story", "files_beside", "perform", "read", "stories_of"]

FOLDER = Path(__file__).parent
FILES = sorted(path for path in (FOLDER / "files").iterdir() if path.is_file())
BESIDE = sorted((FOLDER / "files" / "scripts").glob("*.py"))
"""What files of the corpus refer to."""
VENDORS = ("openai", "anthropic", "google", "mistral", "azure", "ollama")
MOVES_MAX = 500
"""So many leaps of the clock, and a story is given up."""
TURNS_OF_REST = 60
"""So many turns of the loop, and what a moment has made due is under way."""
REAL_SECONDS_MAX = 60.0


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the server on loopback answers."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = {}


class Deed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signal from outside, sent when nothing happens by itself any more; `early`: at once, before anybody waits."""

    signal: str
    activity: str = ""
    data: Any = None
    early: bool = False


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must be so in the end. Maps need only have the keys that are given."""

    status: str = "completed"
    path: tuple[str, ...] | None = None
    """The activities in the order in which they completed, once for each round of a loop."""
    statuses: dict[str, str] = {}
    outputs: dict[str, Any] = {}
    """By activity."""
    failures: dict[str, str] = {}
    """Error codes by activity."""
    prompts: dict[str, list[list[str]]] = {}
    """By activity, for each call, texts that its prompt held."""
    requested: list[Any] | None = None
    """The requests that the server got: `{method, path, headers, body}`."""
    mails: list[str] | None = None
    """A text of each mail that was sent."""
    cost: float | None = None
    attempts: dict[str, int] = {}
    days: float | None = None
    """How long it took, at least."""


class Story(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One use of a file. `times`: it is run so often, one after the other; the last is looked at."""

    about: str
    input: Any = {}
    models: dict[str, list[dict[str, Any]]] = {}
    """Answers in order, by "provider/model", or by model or activity for all providers."""
    prices: dict[str, dict[str, Any]] = {}
    http: dict[str, list[Reply]] = {}
    """Replies in order by "METHOD /path"; the last one stays."""
    secrets: dict[str, str] = {}
    pools: dict[str, list[Any]] = {}
    """Outputs of a worker of somebody's own, in order, by queue; `{error: code}` is a failure."""
    deeds: list[Deed] = []
    times: int = 1
    tables: str = ""
    """Statements for the database of the story."""
    expect: Expectation = Expectation()


class Played(msgspec.Struct, frozen=True):
    """What came of a story."""

    view: RunView
    events: tuple[EventView, ...]
    asked: tuple[ModelRequest, ...]
    requested: tuple[dict[str, Any], ...]
    mails: tuple[str, ...]
    claimed: tuple[Any, ...]

    def outputs(self) -> dict[str, Any]:
        return {activity.key: activity.output for activity in self.view.activities}


def stories_of(path: Path, addresses: Mapping[str, str]) -> list[Story]:
    """Return the stories of a file, with the addresses put in their places."""
    text = (FOLDER / "expected" / f"{path.stem}.yaml").read_text(encoding="utf-8")
    for name, address in addresses.items():
        text = text.replace(f"${name}", address)
    return msgspec.convert(read(text), list[Story])


def read(text: str) -> Any:
    """Return what a text in YAML 1.2 (or JSON) holds: `off` is a text, as it is in a workflow file."""
    node, problems = read_yaml(text)
    assert problems == []
    return plain(node)


def files_beside() -> dict[str, str]:
    """Return the files that definitions of the corpus refer to, by their paths as seen from them."""
    return {f"scripts/{path.name}": path.read_text(encoding="utf-8") for path in BESIDE}


def perform(path: Path, number: int, folder: Path, postgres: str) -> tuple[Story, Played]:
    """Run one story of a file to its end; return both."""
    return asyncio.run(_performed(path, number, folder, postgres))


async def _performed(path: Path, number: int, folder: Path, postgres: str) -> tuple[Story, Played]:
    async with Server() as server, Mails() as mails:
        addresses = {
            "HTTP": server.url,
            "SQLITE": f"sqlite:///{folder / 'data.db'}",
            "POSTGRES": postgres,
            "SMTP": mails.url,
        }
        story = stories_of(path, addresses)[number]
        server.replies = {route: list(replies) for route, replies in story.http.items()}
        return story, await _Stage(path, story, folder, postgres).play(server, mails)


class _Stage:
    """The App that a story is played on."""

    def __init__(self, path: Path, story: Story, folder: Path, postgres: str) -> None:
        self._path = path
        self._postgres = postgres
        self._story = story
        self._clock = VirtualClock()
        self._providers = _providers(story)
        self._claimed: list[Any] = []
        self._app = App(
            SqliteLog(folder / "log.db"),
            clock=self._clock,
            providers=self._providers,
            environment={f"KRUXIAFLOW_SECRET_{name.upper()}": value for name, value in story.secrets.items()},
            folder=folder / "state",
        )

    async def play(self, server: Server, mails: Mails) -> Played:
        app, run_id = self._app, ""
        if self._story.tables:
            await _execute(self._postgres, self._story.tables)
        async with app, asyncio.timeout(REAL_SECONDS_MAX):
            outside = [asyncio.create_task(self._work(queue, list(out))) for queue, out in self._story.pools.items()]
            for _ in range(self._story.times):
                run_id = await self._run_once()
            view = await app.desk.show(run_id)
            events = await app.desk.events(run_id)
            for task in outside:
                task.cancel()
            await asyncio.gather(*outside, return_exceptions=True)
        assert app.engine.failures == []
        asked = [call for one in self._providers.values() if isinstance(one, ScriptedProvider) for call in one.calls]
        return Played(
            view, tuple(events), tuple(asked), tuple(server.requested), tuple(mails.taken), tuple(self._claimed)
        )

    async def _run_once(self) -> str:
        desk = self._app.desk
        request = StartRequest(
            definition=self._path.read_text(encoding="utf-8"),
            source=self._path.name,
            input=self._story.input,
            files=files_beside(),
        )
        run_id = (await desk.start(request)).id
        deeds = sorted(self._story.deeds, key=lambda deed: not deed.early)
        for _ in range(MOVES_MAX):
            if deeds and deeds[0].early:
                await self._do(run_id, deeds.pop(0))
                continue
            await desk.settled()
            if (await desk.show(run_id, contents=False)).finished_at:
                assert not deeds, f"the run has ended, and nobody waited for {deeds}"
                return run_id
            if deeds:
                await self._do(run_id, deeds.pop(0))
            else:
                await self._let_time_pass()
        raise AssertionError(f"no end after {MOVES_MAX} leaps of the clock")

    async def _let_time_pass(self) -> None:
        """Leap to the next moment for which somebody waits; whoever looks after times may yet have to take note."""
        for _ in range(TURNS_OF_REST):
            await asyncio.sleep(0)
        alarm = self._clock.next_alarm
        assert alarm is not None, "nothing happens any more, and the run has not ended"
        self._clock.advance(to=alarm)
        for _ in range(TURNS_OF_REST):
            await asyncio.sleep(0)

    async def _do(self, run_id: str, deed: Deed) -> None:
        await self._app.desk.signal(run_id, deed.signal, key=deed.activity, data=deed.data)

    async def _work(self, queue: str, outputs: list[Any]) -> None:
        """Be a worker of somebody's own: it polls its queue, and reports the outputs of the story."""
        protocol = self._app.protocol
        while True:
            for task in await protocol.poll([queue], worker_id="theirs", count=1, wait_seconds=3600):
                self._claimed.append(task)
                output = outputs.pop(0)
                report = (
                    Failed(task.activity_id, msgspec.convert(output["error"], type=Failure))
                    if isinstance(output, dict) and "error" in output
                    else Completed(task.activity_id, output)
                )
                await protocol.report([report], worker_id="theirs")


async def _execute(url: str, statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


def _providers(story: Story) -> dict[str, ModelProvider]:
    """Return every vendor's name with the answers of the story behind it; demo is itself."""
    prices = {name: price_from(name, price) for name, price in story.prices.items()}
    found: dict[str, ModelProvider] = {"demo": DemoProvider()}
    for vendor in VENDORS:
        mine = f"{vendor}/"
        found[vendor] = ScriptedProvider(
            {key.removeprefix(mine): answers for key, answers in story.models.items() if _is_of(key, mine)},
            {key.removeprefix(mine): price for key, price in prices.items() if _is_of(key, mine)},
            name=vendor,
        )
    return found


def _is_of(key: str, mine: str) -> bool:
    return "/" not in key or key.startswith(mine)


class Mails:
    """A mail server that keeps what it takes."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.url = ""

    async def __aenter__(self) -> Mails:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, loop=loop), "127.0.0.1", 0)
        self.url = f"smtp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}?tls=none"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        self.taken.append(cast("bytes", envelope.content).decode())
        return "250 OK"


class Server:
    """A small HTTP server on loopback: replies from lists, by method and path."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Reply]] = {}
        self.requested: list[dict[str, Any]] = []
        self._connections: list[asyncio.StreamWriter] = []
        self._serving: list[asyncio.Task[None]] = []
        self.url = ""

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.close()
        await asyncio.gather(*self._serving)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.append(writer)
        self._serving.append(cast("asyncio.Task[None]", asyncio.current_task()))
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                method, path, _ = head[0].split(" ")
                self.requested.append({"method": method, "path": path, "headers": headers, "body": _read(body)})
                writer.write(self._reply(method, path))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _reply(self, method: str, path: str) -> bytes:
        replies = self.replies.get(f"{method} {path}") or self.replies.get(f"{method} {path.partition('?')[0]}") or []
        reply = Reply({"error": "no such page"}, 404) if not replies else replies[0]
        if len(replies) > 1:
            replies.pop(0)
        is_text = isinstance(reply.body, str)
        content = reply.body.encode() if is_text else json.dumps(reply.body).encode()
        kind = "text/plain" if is_text else "application/json"
        lines = [f"HTTP/1.1 {reply.status} Reply", f"content-length: {len(content)}", f"content-type: {kind}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


def _read(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode()
