"""A site of real processes: `headgate serve` nodes on one database, `headgate worker --url` processes, a model that
keeps a bill, and a witness, which is a worker too and remembers what it was told.

Nodes keep their port from start to start, as they would behind a supervisor, so that clients and workers who insist
find them again. All share one journal of what was done.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import asyncpg
import httpx2
from tests.e2e.model_server import INPUT_NANO, OUTPUT_NANO, ModelServer
from tests.postgres_logs import emptied
from tests.servers import PrivatePostgres

from headgate.client.http import HttpClient
from headgate.client.http_line import ClientLogin, HttpLine
from headgate.client.http_worker import HttpProtocol
from headgate.core.errors import HeadgateError
from headgate.ports import Acknowledged, Completed, Log
from headgate.stores.places import open_log, place_of
from headgate.testing.crashes import Journal

__all__ = ["LEASE_SECONDS", "LOOK_SECONDS", "PATIENCE_SECONDS", "Process", "Site", "Witness"]

LEASE_SECONDS = 12.0
PATIENCE_SECONDS = float(os.environ.get("HTTP_SITE_PATIENCE_SECONDS", "90"))
"""How long anything is waited for."""
LOOK_SECONDS = 0.05
ROOT = Path(__file__).parents[2]
ACTIVITIES = Path(__file__).with_name("witnessed_activities.py")
SCHEMA = "http_site"
SCOPES = "runs:read,runs:write,definitions:write,workers"


class Process:
    """One `headgate …` that can be begun again. What it says is in `said`."""

    def __init__(self, name: str, folder: Path, words: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self.url = ""
        self._words = words
        self._environment = environment
        self._folder = folder / name
        self._folder.mkdir()
        self._said = folder / f"{name}.txt"
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.short_leases", f"{LEASE_SECONDS:g}", *self._words],
                cwd=self._folder,
                env=self._environment,
                stdout=said,
                stderr=said,
            )

    @property
    def begun(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def end(self) -> int:
        """Tell it to end; return how it did."""
        self.signal(signal.SIGTERM)
        process, self._process = self._process, None
        assert process is not None
        return await asyncio.to_thread(process.wait, PATIENCE_SECONDS)

    @property
    def said(self) -> str:
        return self._said.read_text()[-3_000:] if self._said.exists() else ""

    async def ready(self) -> None:
        """Return when a node says that runs can be started. One that found no database when it began is begun again,
        as by `Restart=` of its unit."""
        async with httpx2.AsyncClient(timeout=5) as client:

            async def is_ready() -> bool:
                assert self._process is not None
                if self._process.poll() is not None:
                    assert "cannot be reached" in self.said, f"{self.name} has ended; it said:\n{self.said}"
                    self.begin()
                with suppress(httpx2.TransportError):
                    return (await client.get(f"{self.url}/api/v1/health/ready")).status_code == 200
                return False

            await until(is_ready, f"{self.name} is ready", self)


class Site:
    """Made of a PostgreSQL server, or without one of a file; then there is one node. `address`: what nodes know it by,
    where that is not its own. `nap_seconds`: what models and activities take at most, so that some are under way
    whenever something is killed."""

    def __init__(
        self,
        folder: Path,
        server: PrivatePostgres | None = None,
        *,
        seed: int = 1,
        nap_seconds: float = 0.2,
        model: ModelServer | None = None,
        address: str = "",
    ) -> None:
        self.folder = folder
        self.server = server
        self.model = model or ModelServer(seed, lambda number, key: time.sleep(random.uniform(0, nap_seconds)))
        self.nodes: list[Process] = []
        self.workers: list[Process] = []
        self.journal = folder / "journal"
        self._nap_seconds = nap_seconds
        self._database = f"{address or server.url}?schema={SCHEMA}" if server is not None else str(folder / "hg.db")
        self._environment: dict[str, str] = {}
        self._login = ClientLogin("", "")
        self._lines: list[HttpLine] = []

    async def __aenter__(self) -> Self:
        if self.server is not None:
            await emptied(self.server.url, SCHEMA)
        (self.folder / "prices.yaml").write_text(
            f"fake/m: {{input: {INPUT_NANO / 1e3}, output: {OUTPUT_NANO / 1e3}}}\n"
        )
        self.model.__enter__()
        plain = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
        self._environment = plain | {
            "HEADGATE_DB": self._database,
            "HEADGATE_KEY": base64.b64encode(os.urandom(32)).decode(),
            "HEADGATE_PRICES": str(self.folder / "prices.yaml"),
            "HEADGATE_PROVIDER_FAKE_BASE_URL": self.model.url,
            "HEADGATE_PROVIDER_FAKE_API_KEY": "key",
            "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)])),
            "WITNESS_JOURNAL": str(self.journal),
            "WITNESS_NAP_SECONDS": str(self._nap_seconds),
        }
        self._login = await asyncio.to_thread(self._make_client)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for line in self._lines:
            await line.close()
        for process in (*self.workers, *self.nodes):
            process.kill()
            if kind is not None:
                print(f"{process.name} said:\n{process.said}")
        self.model.__exit__()

    def _make_client(self) -> ClientLogin:
        done = subprocess.run(
            [sys.executable, "-m", "headgate", "client", "create", "site", "--scopes", SCOPES, "--json"],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)
        return ClientLogin(made["client_id"], made["client_secret"])

    # --- Processes -----------------------------------------------------------------------------------------------

    def begin_node(self, *, works: bool = False) -> Process:
        """Begin a node; one that works asks models with its own name as the key."""
        port, name = free_port(), f"node-{len(self.nodes)}"
        words = ["serve", "--port", str(port), "--activities", str(ACTIVITIES)]
        if not works:
            words.append("--no-worker")
        node = Process(name, self.folder, words, self._environment | {"HEADGATE_PROVIDER_FAKE_API_KEY": name})
        node.url = f"http://127.0.0.1:{port}"
        node.begin()
        self.nodes.append(node)
        return node

    def begin_worker(self, node: Process, *, concurrency: int = 4, **environment: str) -> Process:
        """Begin a worker that knows the node's address alone."""
        name = f"worker-{len(self.workers)}"
        words = ["worker", "--url", node.url, "--id", name, "--concurrency", str(concurrency)]
        words += ["--activities", str(ACTIVITIES)]
        login = {"HEADGATE_CLIENT_ID": self._login.id, "HEADGATE_CLIENT_SECRET": self._login.secret}
        worker = Process(name, self.folder, words, self._environment | login | environment)
        worker.url = node.url
        worker.begin()
        self.workers.append(worker)
        return worker

    # --- Whoever asks --------------------------------------------------------------------------------------------

    def client(self, node: Process, *, patience_seconds: float = PATIENCE_SECONDS) -> HttpClient:
        return HttpClient(self.line(node, patience_seconds=patience_seconds))

    def protocol(self, node: Process, *, patience_seconds: float = PATIENCE_SECONDS) -> HttpProtocol:
        """Return what a worker of this process speaks to the node through."""
        return HttpProtocol(self.line(node, patience_seconds=patience_seconds), activities=["tell"])

    def line(self, node: Process, *, patience_seconds: float = PATIENCE_SECONDS) -> HttpLine:
        line = HttpLine(node.url, login=self._login, patience_seconds=patience_seconds)
        self._lines.append(line)
        return line

    async def authorization(self, node: Process) -> dict[str, str]:
        """Return the headers of a request that has logged in. Raises `httpx2.TransportError` while the node is away."""
        body = {"grant_type": "client_credentials", "client_id": self._login.id, "client_secret": self._login.secret}
        async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
            answer = await client.post(f"{node.url}/oauth/token", json=body)
        if answer.status_code != 200:
            raise httpx2.RemoteProtocolError(answer.text)
        return {"authorization": f"Bearer {answer.json()['access_token']}"}

    # --- What is known -------------------------------------------------------------------------------------------

    @property
    def executed(self) -> list[dict[str, Any]]:
        """Return what workers have written down: a line for each time that an activity was begun."""
        return [line for line in Journal.read(self.journal) if line["kind"] == "executed"]

    @asynccontextmanager
    async def log(self) -> AsyncGenerator[Log]:
        """Yield the log as a process sees it that has nothing to do with the others."""
        log = open_log(place_of(self._database), read_only=True)
        try:
            yield log
        finally:
            await log.close()

    async def sql(self, statement: str, *parameters: object) -> list[asyncpg.Record]:
        assert self.server is not None
        connection = await asyncpg.connect(self.server.url, server_settings={"search_path": SCHEMA})
        try:
            return await connection.fetch(statement, *parameters)
        finally:
            await connection.close()

    async def until(self, holds: Callable[[], Any], what: str) -> None:
        await until(holds, what, *self.nodes, *self.workers)

    @asynccontextmanager
    async def commits_held(self) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
        """Meanwhile no event gets into the log; afterwards nothing has that was to be committed meanwhile. What is
        yielded returns when some commit waits."""
        assert self.server is not None
        holder = await asyncpg.connect(self.server.url, server_settings={"search_path": SCHEMA})
        waiting = "from pg_stat_activity where application_name = 'headgate' and wait_event_type = 'Lock'"

        async def how_many_wait() -> int:
            await holder.execute("select pg_stat_clear_snapshot()")
            return await holder.fetchval(f"select count(*) {waiting}")

        try:
            async with holder.transaction():
                await holder.execute("lock table events in share mode")
                yield lambda: self.until(how_many_wait, "a commit waits")
                await holder.execute("select pg_stat_clear_snapshot()")
                await holder.execute(f"select pg_terminate_backend(pid) {waiting}")
        finally:
            await holder.close()


class Witness:
    """A worker in this process: each claim gets an output of its own, and what was acknowledged is remembered."""

    NAP_SECONDS_MAX = 0.1

    def __init__(self, site: Site, *, queue: str = "witness") -> None:
        self._site = site
        self._queue = queue
        self.told: dict[str, Acknowledged] = {}
        """What was acknowledged, by claim."""

    async def work(self, node: Process) -> None:
        """Work for a node until cancelled."""
        protocol = self._site.protocol(node)
        while True:
            with suppress(HeadgateError):  # nobody answers: ask again
                for task in await protocol.poll([self._queue], worker_id="witness", count=4, wait_seconds=5):
                    await asyncio.sleep(random.uniform(0, self.NAP_SECONDS_MAX))
                    await self.report(protocol, task.activity_id)

    async def report(self, protocol: HttpProtocol, activity_id: str, *, worker_id: str = "witness") -> Acknowledged:
        """Report a claim. Those of different workers go in requests of their own."""
        (told,) = await protocol.report([Completed(activity_id, {"by": activity_id})], worker_id=worker_id)
        self.told[activity_id] = told
        return told

    @property
    def accepted(self) -> set[str]:
        """Return the claims whose outputs were acknowledged as the outcomes of their attempts."""
        return {activity_id for activity_id, told in self.told.items() if not told.stale}


async def until(holds: Callable[[], Any], what: str, *processes: Process) -> None:
    """Wait for something that other processes do."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        held = holds()
        if await held if asyncio.iscoroutine(held) else held:
            return
        said = "\n".join(f"{process.name}: {process.said}" for process in processes)
        assert time.monotonic() < end, f"{what}: not within {PATIENCE_SECONDS:g} s\n{said}"
        await asyncio.sleep(LOOK_SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
