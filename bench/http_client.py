"""The client's process of `bench http`: `python -m bench.http_client REQUEST` puts one load on a server.

It speaks HTTP/1.1 by itself, over connections that stay open, one request after the other on each, so that as little as
can be of the machine is the client's. It reads every answer and believes none: a status, a length or a run that is not
what it must be ends the measurement.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from bench.figures import latency_figures, rounded
from bench.workflows import LOADS, PARKED, Load

__all__ = ["HttpLoad"]

POLL_SECONDS = 0.05
WARM_UP_SECONDS = 0.4
CREATE_CONNECTIONS = 64


class HttpLoad(msgspec.Struct, kw_only=True, omit_defaults=True):
    """`status`: GET of finished runs, `runs` of them in turn. `start`: POST of runs that nothing works on. `wait`: POST
    with `?wait=`, which answers with the finished run. `poll`: POST, then GET every 50 ms until it has finished."""

    kind: Literal["status", "start", "wait", "poll"]
    port: int = 0
    server: int = 0
    """The server's process id, so that its processor time can be read."""
    connections: int
    load: str = "seq5"
    runs: int = 1
    seconds_min: float = 3.0
    rate: float = 0.0
    """Units per second, each at its time, and timed from then; 0: as soon as a connection is free."""
    worker: int = 0
    """The process id of an external worker, the same."""


class Connection(asyncio.Protocol):
    """One connection; `ask` gives the status and the body of one answer."""

    def __init__(self, port: int) -> None:
        self._head = f" HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n".encode()
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    async def ask(self, method: bytes, path: str, body: bytes = b"") -> bytes:
        more = b"content-length: %d\r\n\r\n" % len(body) if body else b"\r\n"
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(method + b" " + path.encode() + self._head + more + body)
        status, data = await self._answer
        if status not in (200, 201):
            raise RuntimeError(f"{method.decode()} {path} was answered {status}: {data[:500]!r}")
        return data

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, border, body = self._received.partition(b"\r\n\r\n")
        if not border or self._answer is None:
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) >= int(length):
            self._received = b""
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server closed the connection"))

    def close(self) -> None:
        self._transport.close()


Unit = Callable[[Connection, int], Awaitable[None]]
"""One unit of the load: its number is new with each."""


class Client:
    """A load on a server. `made` is how many runs it has made, `ids` which starts were acknowledged."""

    def __init__(self, asked: HttpLoad) -> None:
        self._asked = asked
        self._load = PARKED if asked.kind == "start" else LOADS[asked.load]
        self._start = msgspec.json.encode({"definition_name": self._load.definition.name, "input": self._load.input})
        self._finished: list[str] = []
        self.ids: list[str] = []
        self.polls = 0

    async def measure(self) -> dict[str, Any]:
        asked = self._asked
        if asked.kind == "status":
            await self._timed(self._wait, asked.runs, CREATE_CONNECTIONS)
            self._finished = list(self.ids)
            await self._timed(self._status, asked.runs, asked.connections)  # each has been asked for once
        unit = {"status": self._status, "start": self._begin, "wait": self._wait, "poll": self._poll}[asked.kind]
        count = await self._warm_up(unit)
        while True:
            self.polls = 0
            figures = await self._timed(unit, count, asked.connections)
            if figures["seconds"] >= asked.seconds_min:
                return figures | {
                    "client_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024,
                    "runs_made": len(self.ids),
                    "ids": self.ids if asked.kind == "start" else [],
                }
            count = int(count * max(1.3, 1.15 * asked.seconds_min / figures["seconds"])) + 1

    async def _warm_up(self, unit: Unit) -> int:
        """Return how many units should last long enough."""
        asked = self._asked
        count, begin = asked.connections, time.perf_counter()
        while True:
            figures = await self._timed(unit, count, asked.connections)
            if time.perf_counter() - begin >= min(WARM_UP_SECONDS, asked.seconds_min):
                return max(asked.connections, int(count / figures["seconds"] * asked.seconds_min * 1.15) + 1)
            count *= 2

    async def _timed(self, unit: Unit, count: int, connections: int) -> dict[str, Any]:
        left: Iterator[int] = iter(range(count))
        latencies: list[float] = []
        asked = self._asked
        open_ = [await self._connect() for _ in range(min(connections, count))]

        async def work(connection: Connection) -> None:
            for number in left:
                due = begin + number / asked.rate if asked.rate else time.perf_counter()
                await asyncio.sleep(max(0.0, due - time.perf_counter())) if asked.rate else None
                await unit(connection, number)
                latencies.append(time.perf_counter() - due)

        served, worked = processor_seconds(asked.server), processor_seconds(asked.worker)
        processor, begin = time.process_time(), time.perf_counter()
        await asyncio.gather(*map(work, open_))
        seconds = time.perf_counter() - begin
        served, worked = processor_seconds(asked.server) - served, processor_seconds(asked.worker) - worked
        processor = time.process_time() - processor
        for connection in open_:
            connection.close()
        return {
            "requests": count,
            "seconds": seconds,
            "per_second": rounded(count / seconds),
            "mean_ms": rounded(sum(latencies) / count * 1_000),
            "server_processor_us": rounded(served * 1e6 / count),
            "worker_processor_us": rounded(worked * 1e6 / count),
            "client_processor_share": rounded(processor / seconds),
            "polls_per_run": rounded(self.polls / count),
            "latency": latency_figures(latencies),
        }

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(self._asked.port), "127.0.0.1", self._asked.port
        )
        return connection

    # --- Units ---------------------------------------------------------------------------------------------------

    async def _status(self, connection: Connection, number: int) -> None:
        run = self._finished[number % len(self._finished)]
        data = await connection.ask(b"GET", f"/api/v1/workflows/{run}")
        if not data.startswith(b'{"id":"%s","status":"completed"' % run.encode()):
            raise RuntimeError(f"run {run} was shown as {data[:200]!r}")

    async def _begin(self, connection: Connection, _: int) -> None:
        await self._made(connection, "")

    async def _wait(self, connection: Connection, _: int) -> None:
        found = await self._made(connection, "?wait=60")
        expect_finished(found, self._load)

    async def _poll(self, connection: Connection, _: int) -> None:
        run = (await self._made(connection, ""))["workflow_id"]
        while True:
            found = msgspec.json.decode(await connection.ask(b"GET", f"/api/v1/workflows/{run}"))
            self.polls += 1
            if found["status"] not in ("running", "waiting"):
                expect_finished(found, self._load)
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _made(self, connection: Connection, query: str) -> dict[str, Any]:
        found = msgspec.json.decode(await connection.ask(b"POST", f"/api/v1/workflows{query}", self._start))
        self.ids.append(found.get("workflow_id") or found["id"])
        return found


def processor_seconds(process: int) -> float:
    """Return the processor time that a process has used so far; 0 for none."""
    if not process:
        return 0.0
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def expect_finished(run: dict[str, Any], load: Load) -> None:
    """Raise unless the run is completed, with all of its activities."""
    done = sum(activity["status"] == "completed" for activity in run["activities"])
    if run["status"] != "completed" or done != len(load.definition.activities):
        raise RuntimeError(f"run {run['id']} is {run['status']}, with {done} activities completed")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(Client(msgspec.json.decode(sys.argv[1], type=HttpLoad)).measure())))
