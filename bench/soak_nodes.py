"""The nodes of `bench soak`: `headgate serve` processes on one database, and whoever kills them.

One node is down at a time: the next is killed when the one before answers that it is ready again.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2

from bench.others.postgres import free_port

__all__ = ["Killer", "Node", "client_of"]

HERE = Path(__file__).parent
READY_SECONDS_MAX = 120.0
END_SECONDS_MAX = 60.0
VERB_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.05


class Node:
    """One `headgate serve` on its own port, which it keeps from start to start."""

    def __init__(self, number: int, url: str, key: str, folder: Path) -> None:
        self.name = f"node {number}"
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._said = folder / f"node-{number}.txt"
        self._folder = folder / f"node-{number}"
        self._folder.mkdir()
        self._environment = environment(url, key)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "headgate", "serve", "--port", str(self.port)]
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [*command, "--activities", str(HERE / "soak_activities.py")],
                cwd=self._folder,
                env=self._environment,
                stdout=said,
                stderr=said,
            )

    async def ready(self) -> None:
        """Return when it says that runs can be started."""
        until = time.monotonic() + READY_SECONDS_MAX
        async with httpx2.AsyncClient(timeout=5) as client:
            while True:
                try:
                    if (await client.get(f"{self.address}/api/v1/health/ready")).status_code == 200:
                        return
                except httpx2.TransportError:
                    pass
                if time.monotonic() > until or self._process is None or self._process.poll() is not None:
                    raise RuntimeError(f"{self.name} does not get ready; it said:\n{self.said()}")
                await asyncio.sleep(LOOK_SECONDS)

    async def end(self, number: signal.Signals) -> int:
        """Send it a signal; return how it ended, when it has."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        process, self._process = self._process, None
        return await asyncio.to_thread(process.wait, END_SECONDS_MAX)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def said(self) -> str:
        return self._said.read_text()[-2_000:]


class Killer:
    """Kills a node or tells it to end, at random, and starts it again. `acts` is what it did, and when."""

    def __init__(self, nodes: list[Node], draw: random.Random, begin: float, pause: tuple[float, float]) -> None:
        self._nodes = nodes
        self._draw = draw
        self._begin = begin
        self._pause = pause
        self.acts: list[dict[str, Any]] = []

    async def work(self, until: float) -> None:
        """Go on until then (monotonic); all nodes are ready afterwards."""
        while True:
            await asyncio.sleep(self._draw.uniform(*self._pause))
            if time.monotonic() >= until:
                return
            await self._bring_down(self._draw.choice(self._nodes))

    async def _bring_down(self, node: Node) -> None:
        told = self._draw.random() < 1 / 3
        self._note(node, "told to end" if told else "killed")
        code = await node.end(signal.SIGTERM if told else signal.SIGKILL)
        if told and code != 0:
            raise RuntimeError(f"{node.name} was told to end, and ended with status {code}:\n{node.said()}")
        await asyncio.sleep(self._draw.uniform(0, self._pause[0]))
        node.start()
        self._note(node, "started")
        await node.ready()
        self._note(node, "ready")

    def _note(self, node: Node, act: str) -> None:
        self.acts.append({"at": time.monotonic() - self._begin, "node": node.name, "act": act})

    def before(self, at: float) -> str:
        """Return what had last been done by then, and how long before."""
        done = [act for act in self.acts if act["at"] <= at]
        if not done:
            return "nothing had been done to any node"
        return f"{at - done[-1]['at']:.1f} s after {done[-1]['node']} was {done[-1]['act']}"


def client_of(url: str, key: str, folder: Path) -> tuple[str, str]:
    """Make a client by the command line; return its id and its secret."""
    scopes = "runs:read,runs:write,definitions:write"
    done = subprocess.run(
        [sys.executable, "-m", "headgate", "client", "create", "soak", "--scopes", scopes, "--json"],
        cwd=folder,
        env=environment(url, key),
        capture_output=True,
        text=True,
        timeout=VERB_SECONDS_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"`headgate client create` ended with status {done.returncode}:\n{done.stderr}")
    made = json.loads(done.stdout)
    return made["client_id"], made["client_secret"]


def environment(url: str, key: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    return plain | {"HEADGATE_DB": url, "HEADGATE_KEY": key}
