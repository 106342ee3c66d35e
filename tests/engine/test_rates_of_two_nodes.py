"""A rate that two nodes share: those who wait at either get their turn, also at the one further from the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from headgate.core.values import Candidate, Usage
from headgate.engine.limits import Limits
from headgate.engine.lines import Asked, Lines, Turn
from headgate.engine.turns_of_nodes import GONE
from headgate.ports import CallRequest, RateLimit, Settlement, Swap
from headgate.stores.limits import MemoryLimits
from headgate.testing.clock import NOON, VirtualClock

STEPS_OF_A_LOOK = 20
"""Turns of the loop that the further node's questions take."""


class Shared(MemoryLimits):
    """The cells of all nodes, as one of them reaches them."""

    def __init__(self, clock: VirtualClock, cells: dict[str, str], steps: int) -> None:
        super().__init__(clock)
        self._cells = cells
        self._steps = steps

    @property
    def shared(self) -> bool:
        return True

    async def read(self, names: Sequence[str]) -> list[str | None]:
        await self._way()
        return await super().read(names)

    async def swap(self, changes: Sequence[Swap]) -> bool:
        await self._way()
        return await super().swap(changes)

    async def _way(self) -> None:
        for _ in range(self._steps):
            await asyncio.sleep(0)


class Node:
    """The calls of one node; `served` is of all nodes, in the order in which turns came."""

    def __init__(self, name: str, clock: VirtualClock, cells: dict[str, str], served: list[str], steps: int) -> None:
        self.name, self.served = name, served
        self.limits = Limits(Shared(clock, cells, steps))
        self.lines = Lines(self.limits, clock)
        self.calls: list[asyncio.Task[None]] = []

    def call(self, count: int, *, tokens: int = 10, used: int | None = None) -> None:
        self.calls += [asyncio.create_task(self._call(number, tokens, used)) for number in range(count)]

    async def _call(self, number: int, tokens: int, used: int | None) -> None:
        candidate = Candidate(model="lab/m", worst_case=1, input_tokens=tokens)
        call_id = f"{self.name}{number}"
        request = CallRequest("h", (candidate,))
        turn = await self.lines.turn(Asked(self.name, f"a[{number}]", 1, "default", call_id, request))
        assert isinstance(turn, Turn)
        self.served.append(self.name)
        if used is not None:
            settled = Settlement.used(Usage(input_tokens=used, output_tokens=0))
            await self.limits.learn(turn.candidate, call_id, turn.takes, settled)
            self.lines.look_again(turn.candidate, turn.takes)


async def all_served(clock: VirtualClock, *nodes: Node) -> None:
    while not all(call.done() for node in nodes for call in node.calls):
        for _ in range(50 * STEPS_OF_A_LOOK):
            await asyncio.sleep(0)
        if (alarm := clock.next_alarm) is not None:
            clock.advance(to=alarm)
    for node in nodes:
        await asyncio.gather(*node.calls)
        await node.lines.close()


def turns(rate: RateLimit, near: dict[str, Any], far: dict[str, Any], cells: dict[str, str]) -> tuple[list[str], float]:
    """Return whose turn came when, of two nodes whose calls all wait, and after how many seconds the last one came."""

    async def scene() -> tuple[list[str], float]:
        clock, served = VirtualClock(), list[str]()
        nodes = [Node("near", clock, cells, served, 0), Node("far", clock, cells, served, STEPS_OF_A_LOOK)]
        await nodes[0].limits.set(rate)
        await nodes[1].limits.load()
        nodes[0].call(**near)
        await asyncio.sleep(0)
        nodes[1].call(**far)
        await all_served(clock, *nodes)
        return served, (clock.now() - NOON) / 1_000_000

    return asyncio.run(scene())


def test_whoever_waits_at_the_further_node_is_not_kept_waiting_by_those_at_the_nearer():
    cells = dict[str, str]()

    served, seconds = turns(RateLimit(scope="lab", requests=60), {"count": 60}, {"count": 10}, cells)

    assert served.count("far") == 10
    assert served[:40].count("far") == 10, served
    assert seconds < 71, "6 at once, then 55 a minute, as from one node"
    assert not [name for name in cells if name.startswith("nodes")], "nobody waits any more"


def test_so_it_is_where_calls_use_less_than_they_took_and_the_nearer_hears_of_it_first():
    rate, each = RateLimit(scope="lab", tokens=10_000), {"tokens": 1_000, "used": 10}

    served, _ = turns(rate, {"count": 60, **each}, {"count": 10, **each}, {})

    assert served[:40].count("far") == 10, served


def test_a_node_that_died_while_its_calls_waited_keeps_nobody_waiting_for_long():
    cells = {"nodes lab": f'[["dead",{NOON}]]', "nodes other": f'[["dead",{NOON}]]'}

    served, seconds = turns(RateLimit(scope="lab", requests=60), {"count": 12}, {"count": 12}, cells)

    assert (served.count("near"), served.count("far")) == (12, 12)
    assert seconds < 21


def test_a_node_that_opens_takes_out_the_lines_of_those_that_are_gone():
    async def scene() -> list[str]:
        clock = VirtualClock()
        store = Shared(clock, {"nodes a": f'[["x",{NOON}]]', "nodes b": f'[["x",{NOON}],["y",{NOON + GONE}]]'}, 0)
        clock.advance(to=NOON + GONE)
        await Lines(Limits(store), clock).open()
        return [cell.name for cell in await store.cells("nodes ")]

    assert asyncio.run(scene()) == ["nodes b"]
