"""The clients of `bench soak`: whatever they ask, one node is asked, and where that fails the other.

Probes look at a finished run every 100 ms, a series for each node that is asked first. Starters start runs under a
command id of their own, insist until that is acknowledged, and compare what comes of it. Every probe, and every try to
start, is good when an answer came that is right, from whichever node; otherwise it is part of a gap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from bench.figures import latency_figures, rounded
from headgate.client.http_line import ClientLogin, HttpLine
from headgate.core.errors import HeadgateError

__all__ = ["DEFINITION", "Balanced", "Gap", "Tally", "probe", "start_and_check"]

PROBE_SECONDS = 0.1
TRY_SECONDS_MAX = 2.0
"""One node is waited for so long; then the other is asked."""
SHOW_SECONDS_MAX = 20.0
FINISH_SECONDS_MAX = 180.0
"""A run whose node was killed goes on when the lease is over."""
AGAIN_SECONDS = 0.1
STEPS = 3
DEFINITION = """
name: soak
activities:
  one: {use: mark, with: {trail: "{{ INPUT.text }}", step: 1}}
  two: {use: mark, depends_on: [one], with: {trail: "{{ one.trail }}", step: 2}}
  three: {use: mark, depends_on: [two], with: {trail: "{{ two.trail }}", step: 3}}
"""


class NobodyAnswered(Exception):
    """Neither node did; the text says what each of them said."""


class Gap(msgspec.Struct):
    """From the first request that nobody answered until one that somebody did, in seconds since the beginning."""

    what: str
    start: float
    seconds: float = 0.0
    lost: int = 1
    cause: str = ""


class Tally:
    """How one series of requests fared. `cause` says what had been done to the nodes by a given time."""

    def __init__(self, what: str, begin: float, cause: Callable[[float], str]) -> None:
        self.what = what
        self.all = 0
        self.latencies: list[float] = []
        self.gaps: list[Gap] = []
        self._begin = begin
        self._cause = cause
        self._open: Gap | None = None

    async def count(self, request: Awaitable[Any]) -> Any:
        """Return the request's answer; None, and a gap, where there is none that is right."""
        begin = time.monotonic()
        self.all += 1
        try:
            answer = await request
        except (NobodyAnswered, WrongAnswer) as error:
            self._bad(begin - self._begin, error)
            return None
        self.latencies.append(time.monotonic() - begin)
        self._close(begin - self._begin)
        return answer

    def _bad(self, at: float, error: Exception) -> None:
        if self._open is not None:
            self._open.lost += 1
            return
        self._open = Gap(self.what, at, cause=f"{self._cause(at)}: {error}")
        self.gaps.append(self._open)

    def _close(self, at: float) -> None:
        if self._open is not None:
            self._open.seconds = max(0.0, at - self._open.start)
            self._open = None

    def finish(self) -> None:
        """End the series: a gap that is open lasts until now."""
        self._close(time.monotonic() - self._begin)

    def figures(self) -> dict[str, float]:
        good = len(self.latencies)
        slowest = {"slowest_ms": rounded(max(self.latencies, default=0.0) * 1_000)}
        return {"all": self.all, "good": good, "good_share": good / self.all} | (
            latency_figures(self.latencies) | slowest if good else {}
        )


class WrongAnswer(Exception):
    """An answer came that is not right."""


class Balanced:
    """The nodes in turns, each with one try."""

    def __init__(self, addresses: list[str], login: ClientLogin) -> None:
        self._lines = [HttpLine(address, login=login, patience_seconds=0) for address in addresses]
        self._turn = 0

    async def ask(
        self, make: Callable[[HttpLine], Awaitable[Any]], *, first: int | None = None, wait_seconds: float = 0.0
    ) -> Any:
        """Return the first answer. Raises `NobodyAnswered`."""
        if first is None:
            first = self._turn = (self._turn + 1) % len(self._lines)
        said: list[str] = []
        for line in self._lines[first:] + self._lines[:first]:
            try:
                async with asyncio.timeout(TRY_SECONDS_MAX + wait_seconds):
                    return await make(line)
            except TimeoutError:
                said.append(f"{line.url} had not answered after {TRY_SECONDS_MAX + wait_seconds:g} s")
            except HeadgateError as error:
                said.append(str(error))
        raise NobodyAnswered("; ".join(said))

    async def close(self) -> None:
        await asyncio.gather(*(line.close() for line in self._lines))


async def probe(balanced: Balanced, tally: Tally, first: int, run: str, until: float) -> None:
    """Look at a finished run every 100 ms, whether the look before has been answered or not."""

    async def look() -> None:
        found = await balanced.ask(lambda line: line.get(f"/workflows/{run}", dict[str, Any]), first=first)
        if found["id"] != run or found["status"] != "completed":
            raise WrongAnswer(f"run {run} was shown as {found['id']}, {found['status']}")

    under_way: set[asyncio.Task[Any]] = set()
    due = time.monotonic()
    while due < until:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        looking = asyncio.get_running_loop().create_task(tally.count(look()))
        under_way.add(looking)
        looking.add_done_callback(under_way.discard)
        due += PROBE_SECONDS
    await asyncio.gather(*under_way)
    tally.finish()


async def start_and_check(balanced: Balanced, tally: Tally, text: str) -> str:
    """Start a run, insisting until somebody acknowledges it; return its id when it has ended as it must.

    Raises `WrongAnswer` where it has not.
    """
    body = {"definition_name": "soak", "input": {"text": text}}
    while True:
        asked = balanced.ask(lambda line: line.post("/workflows", body, dict[str, Any], key=text))
        if (started := await tally.count(asked)) is not None:
            break
        await asyncio.sleep(AGAIN_SECONDS)
    run = started["workflow_id"]
    found = await _finished(balanced, run)
    trails = {one["activity_key"]: [out["value"] for out in one["outputs"]] for one in found["activities"]}
    expected = [{"trail": f"{text}>1>2>3"}]
    if found["status"] != "completed" or trails["three"] != expected:
        raise WrongAnswer(f"run {run} is {found['status']} with {trails}, not completed with {expected!r}")
    return run


async def _finished(balanced: Balanced, run: str) -> dict[str, Any]:
    until = time.monotonic() + FINISH_SECONDS_MAX
    while True:
        try:
            found = await balanced.ask(
                lambda line: line.get(
                    f"/workflows/{run}", dict[str, Any], wait_seconds=SHOW_SECONDS_MAX, wait=SHOW_SECONDS_MAX
                ),
                wait_seconds=SHOW_SECONDS_MAX,
            )
            if found["status"] not in ("running", "waiting"):
                return found
        except NobodyAnswered as error:
            await asyncio.sleep(AGAIN_SECONDS)
            found = {"status": str(error)}
        if time.monotonic() > until:
            raise WrongAnswer(f"run {run} has not ended within {FINISH_SECONDS_MAX:g} s: {found['status']}")
