"""The shape of a definition: its edges, and its loops.

A back edge is an edge that closes a cycle when the graph is walked depth first from its entrances. A loop is named by
its head; its body is every activity on a path from the head to a tail (the source of one of its back edges).
An edge that leaves a loop's body is *held* until the loop has decided not to go round again: what stands behind a
loop runs after the loop, never between two of its iterations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from headgate.core.definition import Activity

__all__ = ["Edge", "Graph", "Loop", "analyse"]


class Edge(msgspec.Struct, frozen=True):
    """A dependency: `target` depends on `source` (indices into the definition's activities)."""

    source: int
    target: int
    conditions: tuple[str, ...] = ()
    back: bool = False
    held_by: tuple[int, ...] = ()
    """Loops that hold the source and not the target: all must be over before the edge is decided."""


class Loop(msgspec.Struct, frozen=True):
    """All cycles through one head. `inner` are the loops whose bodies lie wholly inside this one's."""

    head: int
    tails: tuple[int, ...]
    back_edges: tuple[int, ...]
    body: frozenset[int]
    inner: tuple[int, ...] = ()


class Graph(msgspec.Struct, frozen=True):
    """Edges in the order in which the definition names them; `outgoing` and `incoming` hold forward edges only."""

    edges: tuple[Edge, ...]
    leaving: tuple[tuple[int, ...], ...]
    """All edges that leave an activity, back edges too."""
    outgoing: tuple[tuple[int, ...], ...]
    incoming: tuple[tuple[int, ...], ...]
    loops: tuple[Loop, ...]
    order: tuple[int, ...]
    """A topological order of the activities along forward edges."""

    @property
    def tangles(self) -> tuple[tuple[int, int], ...]:
        """Pairs of loops that share activities though neither lies inside the other: each would wait for the other's
        end, so `check` refuses them. They come of cycles that are entered in their middle."""
        return tuple(
            (number, other)
            for number, loop in enumerate(self.loops)
            for other in range(number + 1, len(self.loops))
            if loop.body & (second := self.loops[other].body) and not (loop.body <= second or second <= loop.body)
        )


def analyse(activities: Sequence[Activity]) -> Graph:
    """Return the graph of `activities`. Dependencies on unknown keys are left out (`check` names them)."""
    index = {activity.key: number for number, activity in enumerate(activities)}
    edges = [
        Edge(index[dependency.key], target, dependency.conditions)
        for target, activity in enumerate(activities)
        for dependency in activity.depends_on
        if dependency.key in index
    ]
    back, order = _back_edges(len(activities), edges)
    edges = [msgspec.structs.replace(edge, back=number in back) for number, edge in enumerate(edges)]
    leaving = _grouped(len(activities), [(edge.source, number) for number, edge in enumerate(edges)])
    forward = [(number, edge) for number, edge in enumerate(edges) if not edge.back]
    outgoing = _grouped(len(activities), [(edge.source, number) for number, edge in forward])
    incoming = _grouped(len(activities), [(edge.target, number) for number, edge in forward])
    arriving = _grouped(len(activities), [(edge.target, number) for number, edge in enumerate(edges)])
    loops = _loops(edges, outgoing, arriving)
    edges = [msgspec.structs.replace(edge, held_by=_holders(edge, loops)) for edge in edges]
    return Graph(tuple(edges), leaving, outgoing, incoming, loops, order)


def _back_edges(count: int, edges: Sequence[Edge]) -> tuple[set[int], tuple[int, ...]]:
    """Walk depth first (without recursion: chains may be 10,000 long) and return back edges and a topological order."""
    leaving = _grouped(count, [(edge.source, number) for number, edge in enumerate(edges)])
    back: set[int] = set()
    state = bytearray(count)  # 0 not seen, 1 on the path, 2 left behind
    finished: list[int] = []
    for start in _entrances(count, edges):
        if state[start]:
            continue
        state[start] = 1
        path = [(start, iter(leaving[start]))]
        while path:
            place, remaining = path[-1]
            for number in remaining:
                target = edges[number].target
                if state[target] == 1:
                    back.add(number)
                elif state[target] == 0:
                    state[target] = 1
                    path.append((target, iter(leaving[target])))
                    break
            else:
                state[place] = 2
                finished.append(place)
                path.pop()
    return back, tuple(reversed(finished))


def _entrances(count: int, edges: Sequence[Edge]) -> Iterable[int]:
    """Return the order to start walking in: what nothing leads to, what only conditions lead to, the rest."""
    arriving = [0] * count
    unconditional = [0] * count
    for edge in edges:
        arriving[edge.target] += 1
        unconditional[edge.target] += not edge.conditions
    return sorted(range(count), key=lambda number: (arriving[number] > 0, unconditional[number] > 0, number))


def _grouped(count: int, pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    groups: list[list[int]] = [[] for _ in range(count)]
    for group, number in pairs:
        groups[group].append(number)
    return tuple(tuple(numbers) for numbers in groups)


def _loops(
    edges: Sequence[Edge], outgoing: Sequence[Sequence[int]], arriving: Sequence[Sequence[int]]
) -> tuple[Loop, ...]:
    """Find each loop's body: what lies before its tails (along back edges too, so that all of an inner loop is in the
    outer one) and behind its head. Bodies that overlap, neither inside the other, wait for each other for ever."""
    heads: dict[int, list[int]] = {}
    for number, edge in enumerate(edges):
        if edge.back:
            heads.setdefault(edge.target, []).append(number)
    loops: list[Loop] = []
    for head, back_edges in heads.items():
        tails = tuple(dict.fromkeys(edges[number].source for number in back_edges))
        below = _reached([head], outgoing, [edge.target for edge in edges])
        above = _reached(tails, arriving, [edge.source for edge in edges], stop=head)
        loops.append(Loop(head, tails, tuple(back_edges), frozenset(below & above) | {head, *tails}))
    return tuple(
        msgspec.structs.replace(loop, inner=tuple(n for n, other in enumerate(loops) if other.body < loop.body))
        for loop in loops
    )


def _reached(
    starts: Iterable[int], via: Sequence[Sequence[int]], ends: Sequence[int], *, stop: int | None = None
) -> set[int]:
    """Return what is reached from `starts`; the way does not lead on through `stop`."""
    seen = set(starts)
    waiting = [start for start in seen if start != stop]
    while waiting:
        for number in via[waiting.pop()]:
            end = ends[number]
            if end not in seen:
                seen.add(end)
                if end != stop:
                    waiting.append(end)
    return seen


def _holders(edge: Edge, loops: Sequence[Loop]) -> tuple[int, ...]:
    if edge.back:
        return ()
    return tuple(n for n, loop in enumerate(loops) if edge.source in loop.body and edge.target not in loop.body)
