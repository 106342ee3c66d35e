"""Whose turn it is among the nodes that share a rate: those with calls in line rotate.

Each node looks when a rate opens, and the store gives it to the first. Without more, that is always the node with the
shortest way to the store, and the calls of the others wait until it has none. So the nodes stand in a cell,
`nodes LINE`, in the order in which they may look. Who has given a turn goes to the end. Who is not first looks
`HEAD_START` later: by then the first has taken what it could, or has nothing to take it for. Who is first looks more
often than its calls need, for what another's call gives back is not told to it.

A node that died stays in the cell until it was not seen for `GONE`, and keeps the others no longer than a head start.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from headgate.ports import LimitStore, Swap

__all__ = ["FIRST_LOOKS_EVERY", "HEAD_START", "SEEN_EVERY", "Place", "TurnsOfNodes"]

HEAD_START = 100_000
"""Microseconds, as all that follow."""
FIRST_LOOKS_EVERY = 50_000
SEEN_EVERY = 1_000_000
GONE = 3 * SEEN_EVERY
SWAPS_MAX = 16
KIND = "nodes"


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """A node with calls in line, and when it said so last."""

    node: str
    at: int


class Place(NamedTuple):
    """Where this node stands in a line."""

    first: bool
    alone: bool


_order = msgspec.json.Decoder(list[Seen])


class TurnsOfNodes:
    """One per node. Where the store is its own alone, it is always first."""

    def __init__(self, store: LimitStore) -> None:
        self._store = store
        self._node = secrets.token_hex(6)

    async def enter(self, line: str) -> Place:
        """Say that calls wait here, at the end if that is new; return where this node stands."""
        if not self._store.shared:
            return Place(first=True, alone=True)
        order = await self._change(line, self._seen)
        return Place(order[0].node == self._node, len(order) == 1)

    async def go_last(self, line: str) -> None:
        """A turn was given here: the next is somebody else's."""
        if self._store.shared:
            await self._change(line, lambda order: [*self._others(order), Seen(self._node, self._store.now())])

    async def leave(self, line: str) -> None:
        """No call waits here any more."""
        if self._store.shared:
            await self._change(line, self._others)

    async def forget_the_gone(self) -> None:
        """Take out the lines of nodes that are no more."""
        for cell in await self._store.cells(f"{KIND} "):
            if not self._alive(cell.body):
                await self._store.swap([Swap(cell.name, cell.body, None)])

    async def _change(self, line: str, change: Callable[[list[Seen]], list[Seen]]) -> list[Seen]:
        name, after = f"{KIND} {line}", [Seen(self._node, 0)]
        for _ in range(SWAPS_MAX):
            (before,) = await self._store.read([name])
            after = change(self._alive(before))
            text = msgspec.json.encode(after).decode() if after else None
            if text == before or await self._store.swap([Swap(name, before, text)]):
                break
        return after

    def _alive(self, text: str | None) -> list[Seen]:
        now = self._store.now()
        return [one for one in _order.decode(text or "[]") if now < one.at + GONE]

    def _others(self, order: list[Seen]) -> list[Seen]:
        return [one for one in order if one.node != self._node]

    def _seen(self, order: list[Seen]) -> list[Seen]:
        now = self._store.now()
        mine = [one.at for one in order if one.node == self._node]
        if not mine:
            return [*order, Seen(self._node, now)]
        fresh = mine[0] if now < mine[0] + SEEN_EVERY else now
        return [Seen(one.node, fresh) if one.node == self._node else one for one in order]
