"""`bench soak --minutes N`: two `headgate serve` on one PostgreSQL, killed at random under clients that look and check.

It fails, without a figure, where a run came out wrong, where one that was acknowledged is not there in the end or not
finished, where there are more than were acknowledged, or where the audit of a fresh process finds a fault.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM
from typing import Any

import msgspec

from bench.audit import log_of
from bench.figures import rounded
from bench.postgres import ROOT, server
from bench.soak_client import DEFINITION, Balanced, Gap, Tally, probe, start_and_check
from bench.soak_nodes import Killer, Node, client_of
from headgate.client.http_line import ClientLogin

__all__ = ["lines_of", "measure_soak"]

NODES = 2
STARTERS = 5
START_EACH_SECONDS = 0.5
"""A starter begins with its next run no sooner than this after the last."""
PAUSE_SECONDS, PAUSE_SECONDS_QUICK = (3.0, 12.0), (0.2, 1.0)
SHARE_MIN = 0.9999

Audit = Callable[[Any, dict[str, Any]], None]


class Lost(Exception):
    """What was acknowledged and what is there are not the same."""


def measure_soak(folder: Path, audit: Audit, *, minutes: float, quick: bool) -> dict[str, Any]:
    """Return how many requests were good, every gap, and what was done to the nodes."""
    seed = secrets.randbelow(1_000_000)
    place = Path(tempfile.mkdtemp(dir=folder, prefix="soak-"))
    try:
        with server(folder, "") as address:
            schema = f"soak_{secrets.token_hex(6)}"
            soak = Soak(f"{address}?schema={schema}", place, seed, PAUSE_SECONDS_QUICK if quick else PAUSE_SECONDS)
            figures = asyncio.run(soak.run(minutes * 60))
            evidence = {"schema": schema, "runs": {"soak": len(soak.finished)}, **_settings(address, schema)}
            figures["evidence"] = evidence
            audit(address, figures)
            _expect_kept(address, schema, soak.finished)
            return figures
    finally:
        shutil.rmtree(place)


class Soak:
    """Nodes, clients, and whoever kills nodes, for so long."""

    def __init__(self, url: str, folder: Path, seed: int, pause: tuple[float, float]) -> None:
        key = base64.b64encode(os.urandom(32)).decode()
        self._login = ClientLogin(*client_of(url, key, folder))
        self._nodes = [Node(number, url, key, folder) for number in range(1, NODES + 1)]
        self._seed = seed
        self._pause = pause
        self.finished: list[str] = []

    async def run(self, seconds: float) -> dict[str, Any]:
        children = _processor_of_children()
        balanced = Balanced([node.address for node in self._nodes], self._login)
        try:
            for node in self._nodes:
                node.start()
            await asyncio.gather(*(node.ready() for node in self._nodes))
            figures = await self._under_load(balanced, seconds)
            ends = [await node.end(SIGTERM) for node in self._nodes]
            if any(ends):
                raise RuntimeError(f"the nodes ended with {ends}:\n" + "\n".join(node.said() for node in self._nodes))
        finally:
            await balanced.close()
            for node in self._nodes:
                node.kill()
        processor = (_processor_of_children() - children) * 1e6 / len(self.finished)
        figures["runs"]["nodes_processor_us_per_run"] = rounded(processor)
        return figures

    async def _under_load(self, balanced: Balanced, seconds: float) -> dict[str, Any]:
        await balanced.ask(lambda line: line.post("/workflow_definitions", DEFINITION.encode(), None), wait_seconds=30)
        begin = time.monotonic()
        until = begin + seconds
        killer = Killer(self._nodes, random.Random(self._seed), begin, self._pause)
        starts = Tally("start", begin, killer.before)
        self.finished.append(looked_at := await start_and_check(balanced, starts, "first"))
        probes = [Tally(f"probe, {node.name} first", begin, killer.before) for node in self._nodes]
        async with asyncio.TaskGroup() as group:
            group.create_task(killer.work(until))
            for number, tally in enumerate(probes):
                group.create_task(probe(balanced, tally, number, looked_at, until))
            for number in range(STARTERS):
                group.create_task(self._start_on_and_on(balanced, starts, number, until))
        starts.finish()
        return _figures(killer, probes, starts) | {
            "runs": {"finished": len(self.finished), "per_second": rounded(len(self.finished) / seconds)},
            "seed": self._seed,
            "minutes": seconds / 60,
        }

    async def _start_on_and_on(self, balanced: Balanced, starts: Tally, starter: int, until: float) -> None:
        """Start runs, and check each when it ends; a run that waits for the lease of a dead node holds up no other."""
        async with asyncio.TaskGroup() as group:
            number = 0
            while time.monotonic() < until:
                group.create_task(self._one(balanced, starts, f"{starter}-{number}"))
                number += 1
                await asyncio.sleep(START_EACH_SECONDS)

    async def _one(self, balanced: Balanced, starts: Tally, text: str) -> None:
        self.finished.append(await start_and_check(balanced, starts, text))


def _figures(killer: Killer, probes: list[Tally], starts: Tally) -> dict[str, Any]:
    tallies = [*probes, starts]
    all_, good = sum(tally.all for tally in tallies), sum(len(tally.latencies) for tally in tallies)
    gaps = sorted((gap for tally in tallies for gap in tally.gaps), key=lambda gap: gap.start)
    return {
        "good": {"all": all_, "good": good, "good_share": good / all_},
        **{tally.what: tally.figures() for tally in tallies},
        "gaps": msgspec.to_builtins(gaps),
        "kills": sum(act["act"] == "killed" for act in killer.acts),
        "ends": sum(act["act"] == "told to end" for act in killer.acts),
        "acts": killer.acts,
    }


def lines_of(figures: dict[str, Any]) -> str:
    """Return the figures for a person, every gap on a line of its own."""
    good, gaps = figures["good"], [msgspec.convert(gap, Gap) for gap in figures["gaps"]]
    word = "reached" if good["good_share"] >= SHARE_MIN else "MISSED "
    counts = f"{good['good']:,} / {good['all']:,} = {good['good_share']:.4%} (≥ {SHARE_MIN:.2%})"
    lines = [
        f"{word}  soak good / all: {counts}, {figures['minutes']:g} minutes",
        f"soak       {figures['kills']} × kill -9, {figures['ends']} × SIGTERM, seed {figures['seed']}",
        f"soak       runs {figures['runs']}; all finished, audited: {figures['audited']}",
    ]
    lines += [
        f"soak       {name:22} {one}" for name, one in figures.items() if isinstance(one, dict) and "p50_ms" in one
    ]
    lines += [
        f"gap        {gap.what}: at {gap.start:.1f} s, {gap.seconds:.2f} s long, {gap.lost} lost, {gap.cause}"
        for gap in gaps
    ]
    return "\n".join(lines if gaps else [*lines, "soak       no gap"])


def _processor_of_children() -> float:
    """Return the processor time of the processes that have ended: of the nodes, their starts included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _settings(address: str, schema: str) -> dict[str, str]:
    async def ask() -> dict[str, str]:
        log = log_of(address, schema)
        try:
            return await log.server_settings()
        finally:
            await log.close()

    return asyncio.run(ask())


def _expect_kept(address: str, schema: str, acknowledged: list[str]) -> None:
    """Have a fresh process read the database: what was acknowledged is what is there, and has ended well."""
    command = [sys.executable, "-m", "bench.soak", address, schema]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    kept = json.loads(done.stdout)
    lost, more = set(acknowledged) - set(kept), set(kept) - set(acknowledged)
    if lost or more or len(set(acknowledged)) != len(acknowledged):
        raise Lost(f"of {len(acknowledged)} acknowledged runs {len(lost)} are lost; {len(more)} are there beside them")


async def kept(address: str, schema: str) -> list[str]:
    """Return the ids of the runs that are completed in the database."""
    log, found, before = log_of(address, schema), [], None
    while page := await log.runs(limit=1_000, before=before):
        found += [row.id for row in page if row.head.status == "completed"]
        before = page[-1].key
    await log.close()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(kept(*sys.argv[1:]))))
