"""`bench ws`: ten thousand WebSockets held, told the same, and told fifty thousand messages a second.

`python -m bench.ws PATH CONNECTIONS SECONDS HOLD` starts a server in a process of its own (`bench.ws_server`) and is
its clients: plain sockets and one `epoll`, so that what is measured is the server. Where the clients' own time for a
message (`…_client_…`) comes near the server's, it is they who are measured. Every connection opens with a ticket of its
run. Each message says when it was said, by the clock that both processes have (`CLOCK_MONOTONIC`).

1. All connections follow the events of one run. They are held over two heartbeats, and each must have had two pings;
   then the run gets signals, and the last connection to hear of each decides how long that took.
2. All connections listen to texts, a hundred to each. Each text speaks five times a second; each connection must get
   its text to the last byte, in order.
"""

from __future__ import annotations

import asyncio
import json
import re
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.figures import latency_figures, median, rounded

__all__ = ["measure_ws"]

ROOT = Path(__file__).parent.parent
LISTENERS = 100
"""To each text."""
SPOKEN_PER_SECOND = 5
BROADCASTS = 10
OPENED_TOGETHER = 200
SECONDS_MAX = 120
READ_BYTES = 262_144
READ_EVERY_SECONDS = 0.0005
"""Clients that are woken for each message take the server's time: it is the sender who wakes them."""
TEXT, PING = 0x81, 0x89
PONG = b"\x8a\x80\x00\x00\x00\x00"
TIMES = re.compile(rb"@(\d{20})")
OFFSET = re.compile(rb'"offset":(\d+)')
VERSION = re.compile(rb'"id":"[^"]*:(\d+)","workflow_id"')


class Server:
    """The other process: it does one thing at a time, when it is asked."""

    def __init__(self, path: str) -> None:
        command = [sys.executable, "-m", "bench.ws_server", path]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = self.read()["port"]

    def ask(self, verb: str, **rest: Any) -> Any:
        self.say(verb, **rest)
        return self.read()

    def say(self, verb: str, **rest: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"verb": verb, **rest}) + "\n")
        self._process.stdin.flush()

    def read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the server has ended")
        return json.loads(line)

    @property
    def descriptor(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait(60):
            raise RuntimeError(f"the server ended with {self._process.returncode}")


class Clients:
    """Many connections, read by one loop."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._rest: dict[int, bytes] = {}
        """The beginnings of frames that are not whole yet."""
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self.pings: dict[int, int] = {}
        self.came: list[int] = []
        """How long each timed message took, in nanoseconds."""
        self.last_at = 0
        self.ends: dict[int, int] = {}
        """Up to which byte of its text, or to which event, each connection has all."""
        self.gaps = 0
        self.closed = 0

    def __len__(self) -> int:
        return len(self._sockets)

    async def open(self, port: int, targets: list[str]) -> None:
        loop = asyncio.get_running_loop()
        for begin in range(0, len(targets), OPENED_TOGETHER):
            some = targets[begin : begin + OPENED_TOGETHER]
            for opened in await asyncio.gather(*(self._open(loop, port, target) for target in some)):
                number = opened.fileno()
                self._sockets[number] = opened
                self.pings[number] = self.ends[number] = 0
                self._epoll.register(number, select.EPOLLIN)

    async def _open(self, loop: asyncio.AbstractEventLoop, port: int, target: str) -> socket.socket:
        opened = socket.socket()
        opened.setblocking(False)
        await loop.sock_connect(opened, ("127.0.0.1", port))
        head = (
            f"GET /api/v1{target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await loop.sock_sendall(opened, head.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await loop.sock_recv(opened, 65_536)
        head_, _, rest = answer.partition(b"\r\n\r\n")
        if b" 101 " not in head_:
            raise RuntimeError(f"a connection was refused: {answer[:500]!r}")
        if rest:
            self._rest[opened.fileno()] = rest
        return opened

    def read(self, seconds: float) -> None:
        """Read what is there, or comes within the time; what is read at once came at the same moment."""
        time.sleep(READ_EVERY_SECONDS)
        for number, _ in self._epoll.poll(seconds, 1_000):
            rest = self._rest.pop(number, b"")
            self._buffer[: len(rest)] = rest
            size = self._sockets[number].recv_into(self._view[len(rest) :])
            self.last_at = time.perf_counter_ns()
            if not size:
                self.closed += 1
                self._epoll.unregister(number)
                self._sockets.pop(number).close()
                continue
            self._take(number, len(rest) + size)

    def _take(self, number: int, end: int) -> None:
        """Take the frames out of the buffer, up to `end`; keep one that is not whole."""
        data, at = self._buffer, 0
        while end - at >= 2:
            size, begin = data[at + 1], at + 2
            if size == 126:
                size, begin = data[at + 2] << 8 | data[at + 3], at + 4
            elif size == 127:
                size, begin = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if begin + size > end:
                break
            if data[at] == TEXT:
                self._heard(number, begin, begin + size)
            elif data[at] == PING:
                self._sockets[number].send(PONG)
            else:
                raise RuntimeError(f"a frame that begins with {data[at]:#x} came: {data[begin : begin + size][:200]}")
            at = begin + size
        if at < end:
            self._rest[number] = bytes(data[at:end])

    def _heard(self, number: int, begin: int, end: int) -> None:
        data = self._buffer
        times = TIMES.findall(data, begin, end)
        self.came += [self.last_at - int(said) for said in times]
        if found := OFFSET.search(data, begin, end):
            self._goes_on(number, int(found[1]), 21 * len(times))
        elif found := VERSION.search(data, begin, end):
            self._goes_on(number, int(found[1]) - 1, 1)
        elif data.startswith(b'{"type":"ping"', begin):
            self.pings[number] += 1

    def _goes_on(self, number: int, begin: int, size: int) -> None:
        self.gaps += begin != self.ends[number]
        self.ends[number] = begin + size

    def close(self) -> None:
        for one in self._sockets.values():
            one.close()
        self._epoll.close()


def measure_ws(path: Path, *, connections: int, seconds_min: float, hold: bool) -> dict[str, Any]:
    """Return the figures of both halves."""
    server = Server(str(path))
    try:
        figures = {"idle_mb": server.ask("used")["rss_mb"]}
        figures |= _told_the_same(server, connections, hold=hold)
        figures |= _told_texts(server, connections, seconds_min)
        return figures
    finally:
        server.end()


def _told_the_same(server: Server, connections: int, *, hold: bool) -> dict[str, Any]:
    run = server.ask("begin", runs=1)["runs"][0]
    clients = Clients()
    target = f"/workflow_events/ws?workflow_id={run['id']}&token={run['ticket']}"
    closed = server.ask("used")
    asyncio.run(clients.open(server.port, [target] * connections))
    before, begin = server.ask("used"), time.monotonic()
    while hold and min(clients.pings.values()) < 2:
        clients.read(1.0)
        if time.monotonic() - begin > SECONDS_MAX or len(clients) < connections:
            raise RuntimeError(f"{len(clients)} of {connections} are open; pings: {min(clients.pings.values())}")
    held = server.ask("used")
    wall = time.monotonic() - begin
    taken: list[float] = []
    own = time.process_time()
    for _ in range(BROADCASTS):
        clients.came.clear()
        said = server.ask("signal", run=run["id"])["at"]
        while len(clients.came) < connections:
            clients.read(5.0)
        taken.append((clients.last_at - said) / 1e6)
    own, processor = time.process_time() - own, server.ask("used")["processor"] - held["processor"]
    if clients.gaps or len(set(clients.ends.values())) != 1:
        raise RuntimeError(f"{clients.gaps} gaps; the events ended at {sorted(set(clients.ends.values()))[:5]}")
    _settle(server, clients)
    return {
        "connections": connections,
        "open_processor_us": rounded((before["processor"] - closed["processor"]) / connections * 1e6),
        "held_mb": held["rss_mb"],
        "held_processor_share": rounded((held["processor"] - before["processor"]) / wall) if hold else None,
        "broadcast_ms": median(taken),
        "broadcast_best_ms": rounded(min(taken)),
        "broadcast_worst_ms": rounded(max(taken)),
        "broadcast_processor_ms": rounded(processor / BROADCASTS * 1_000),
        "broadcast_client_ms": rounded(own / BROADCASTS * 1_000),
    }


def _told_texts(server: Server, connections: int, seconds: float) -> dict[str, Any]:
    runs = server.ask("begin", runs=max(1, connections // LISTENERS))["runs"]
    clients = Clients()
    targets = [f"/workflows/{run['id']}/activities/say/ws?token={run['ticket']}" for run in runs]
    asyncio.run(clients.open(server.port, [target for target in targets for _ in range(connections // len(runs))]))
    times = max(3, int(seconds * SPOKEN_PER_SECOND))
    expected = times * len(clients)
    before, begin, own = server.ask("used")["processor"], time.monotonic(), time.process_time()
    server.say("speak", times=times, pause=1 / SPOKEN_PER_SECOND)
    while len(clients.came) < expected:
        clients.read(5.0)
        if time.monotonic() - begin > SECONDS_MAX or clients.closed:
            raise RuntimeError(f"{len(clients.came)} of {expected} messages came, {clients.closed} were cut off")
    wall, own = time.monotonic() - begin, time.process_time() - own
    server.read()
    used = server.ask("used")
    if clients.gaps or set(clients.ends.values()) != {21 * times}:
        raise RuntimeError(f"{clients.gaps} gaps; the texts ended at {sorted(set(clients.ends.values()))[:5]}")
    figures = latency_figures([one / 1e9 for one in clients.came])
    _settle(server, clients)
    return figures | {
        "messages_per_second": rounded(expected / wall),
        "listeners": connections // len(runs),
        "asked_per_second": SPOKEN_PER_SECOND * connections,
        "processor_us_per_message": rounded((used["processor"] - before) / expected * 1e6),
        "client_us_per_message": rounded(own / expected * 1e6),
        "texts_mb": used["rss_mb"],
    }


def _settle(server: Server, clients: Clients) -> None:
    clients.close()
    if server.ask("settle")["connections"]:
        raise RuntimeError("connections of clients that have gone are open")


if __name__ == "__main__":
    path_, count_, seconds_, hold_ = sys.argv[1:]
    found_ = measure_ws(Path(path_), connections=int(count_), seconds_min=float(seconds_), hold=hold_ == "hold")
    print(json.dumps(found_))
