"""Restate: `python restate_program.py measure|kept SHAPE FOLDER SECONDS SERVER`; SERVER is the restate-server program.

The server is a process of its own with its data in the folder, and keeps its defaults, but one partition's worth of
ports on loopback; the service is a process too (hypercorn, HTTP/2), and the clients ask over HTTP, each on a connection
of its own. Before `kept` counts, the server is started afresh on what it left when it was killed.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import queue
import re
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import restate
from timing import Counted, Shape, answer, in_threads, repetition, versions

START_SECONDS_MAX = 60.0

service = restate.Service("bench")


def add_one(number: int) -> int:
    return number + 1


@service.handler()
async def chain(context: restate.Context, length: int) -> int:
    number = 0
    for place in range(length):
        number = await context.run_typed(f"a{place}", add_one, number=number)
    return number


@service.handler()
async def fan(context: restate.Context, width: int) -> int:
    first = await context.run_typed("first", add_one, number=0)
    steps = [context.run_typed(f"a{place}", add_one, number=first) for place in range(width)]
    found = [await step for step in await restate.gather(*steps)]
    return await context.run_typed("last", add_one, number=sum(found))


def serve(port: str) -> None:
    import hypercorn.asyncio
    import hypercorn.config

    config = hypercorn.config.Config()
    config.bind, config.loglevel = [f"127.0.0.1:{port}"], "ERROR"
    asyncio.run(hypercorn.asyncio.serve(restate.app([service]), config))


class Server:
    """A restate-server: the ports where it takes requests and questions, and its process."""

    def __init__(self, program: str, folder: Path) -> None:
        self.ingress, self.admin, fabric = (free_port() for _ in range(3))
        self.program = program
        self.environment = {
            **os.environ,
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BASE_DIR": str(folder / "restate"),
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{fabric}",
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{self.ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{self.admin}",
        }

    @contextmanager
    def running(self) -> Generator[int]:
        """Yield its process id; kill it in the end."""
        process = subprocess.Popen(
            [self.program, "--no-logo"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until = time.monotonic() + START_SECONDS_MAX
            while not (self.answers(self.admin, "/health") and self.answers(self.ingress, "/restate/health")):
                assert process.poll() is None, "the Restate server has ended"
                assert time.monotonic() < until, "the Restate server does not begin"
                time.sleep(0.1)
            yield process.pid
        finally:
            process.kill()
            process.wait()

    def answers(self, port: int, path: str) -> bool:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except OSError:
            return False

    def ask(self, path: str, body: Any) -> Any:
        """Ask the administration; return what it answers."""
        return asked(http.client.HTTPConnection("127.0.0.1", self.admin, timeout=60), path, body)

    def value(self, query: str) -> int:
        (row,) = self.ask("/query", {"query": query})["rows"]
        return next(iter(row.values()))

    def wait_for_partitions(self) -> None:
        """Return when it can say what it keeps: it is healthy before it has read its partitions."""
        until = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                self.value("select count(*) from sys_invocation")
            except AssertionError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
            else:
                return

    def settings(self) -> dict[str, Any]:
        """Return what decides what survives a loss of power, as the server says it is configured."""
        dump = subprocess.run(
            [self.program, "--dump-config"], env=self.environment, capture_output=True, text=True, check=True
        ).stdout
        names = ("default-provider", "rocksdb-disable-wal-fsync")
        return {name: sorted(set(re.findall(rf"^{name} = (.+)$", dump, re.MULTILINE))) for name in names}


def asked(connection: http.client.HTTPConnection, path: str, body: Any) -> Any:
    headers = {"content-type": "application/json", "accept": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    said = response.read()
    assert response.status in (200, 201), f"{path} was answered {response.status}: {said[:500]!r}"
    return json.loads(said)


def measure(shape: Shape, folder: Path, seconds_min: float, program: str) -> dict[str, Any]:
    server, counted, port = Server(program, folder), Counted(shape), free_port()
    with serving(port) as work, server.running() as process:
        server.ask("/deployments", {"uri": f"http://127.0.0.1:{port}"})
        lines: queue.SimpleQueue[http.client.HTTPConnection] = queue.SimpleQueue()
        for _ in range(shape.in_flight):
            lines.put(http.client.HTTPConnection("127.0.0.1", server.ingress, timeout=60))

        def run() -> None:
            line = lines.get()
            counted.check(asked(line, "/bench/fan" if shape.wide else "/bench/chain", shape.length))
            counted.number()
            lines.put(line)

        before = processor_seconds(work) + processor_seconds(process)
        with ThreadPoolExecutor(shape.in_flight) as threads:
            figures = repetition(in_threads(run, threads), in_flight=shape.in_flight, seconds_min=seconds_min)
        made = counted.number()
        used = processor_seconds(work) + processor_seconds(process) - before
        figures["processor_us_per_run"] += round(used * 1e6 / made)
        figures["memory_peak_mb"] = round(figures["memory_peak_mb"] + peak_mb(work) + peak_mb(process), 1)
        settings = server.settings()
    server_version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()
    packages = versions("restate-sdk", "hypercorn") | {"restate-server": server_version[-1]}
    return figures | {"made": made, "settings": settings, "versions": packages}


@contextmanager
def serving(port: int) -> Generator[int]:
    process = subprocess.Popen([sys.executable, __file__, "serve", str(port)])
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None, "the service does not begin"
                time.sleep(0.05)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def kept(_shape: Shape, folder: Path, program: str) -> dict[str, int]:
    server = Server(program, folder)
    with server.running():
        server.wait_for_partitions()
        runs = "select count(*) from sys_invocation where status = 'completed' and completion_result = 'success'"
        steps = "select count(*) from sys_journal where entry_type = 'Command: Run'"
        return {"runs": server.value(runs), "steps": server.value(steps)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1_024


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        answer(measure, kept)
