"""The edges of a definition: dependencies that exist, cycles that end, limits where they count."""

from __future__ import annotations

from collections import Counter

from headgate.authoring.checking import Checking
from headgate.authoring.expressions import Reads
from headgate.authoring.positions import Path
from headgate.core.graph import Graph, Loop

__all__ = ["check_graph"]


def check_graph(checking: Checking, graph: Graph, reads: list[Reads]) -> None:
    """Note activities that share a key, dependencies on nothing, and loops without an exit."""
    for key, count in Counter(checking.keys).items():
        if count > 1:
            checking.note(
                ("activities", key),
                f'{count} activities have the key "{key}"; rename all but one.',
                at_key=True,
            )
    _check_dependencies(checking)
    for loop in graph.loops:
        _check_exit(checking, graph, loop, reads)
    _check_tangles(checking, graph)
    _check_limits(checking, graph)


def _check_dependencies(checking: Checking) -> None:
    known = set(checking.keys)
    for activity in checking.definition.activities:
        for number, dependency in enumerate(activity.depends_on):
            if dependency.key not in known:
                near = checking.near(dependency.key, checking.keys)
                place = ("activities", activity.key, "depends_on", number, "key")
                checking.note(place, f'there is no activity "{dependency.key}".{near}')


def _check_exit(checking: Checking, graph: Graph, loop: Loop, reads: list[Reads]) -> None:
    """Each edge that closes the loop needs a condition, unless the head says how often it goes round."""
    if checking.definition.activities[loop.head].iteration_limit is not None:
        return
    for number in loop.back_edges:
        edge = graph.edges[number]
        if edge.conditions:
            continue
        source, target = checking.keys[edge.source], checking.keys[edge.target]
        round_trip = " → ".join([*(checking.keys[place] for place in _way(graph, loop, edge.source)), target])
        advice = f"after: [{{activity_key: {source}, condition: …}}], or iteration_limit at {target}."
        if checking.is_implicit(source, target):
            why = f"{target} depends on {source} because it names it"
            cure = "If it means the iteration before, say how the loop closes"
            path, text, offset = _naming(reads, source, target)
        else:
            why = f"{target} depends on {source}"
            cure = "Remove that, or say how the loop ends"
            path, text, offset = _edge_place(checking, source, target), "", 0
        checking.note(path, f"the cycle {round_trip} has no exit: {why}. {cure}: {advice}", text=text, offset=offset)


def _check_tangles(checking: Checking, graph: Graph) -> None:
    for number, other in graph.tangles:
        first, second = graph.loops[number], graph.loops[other]
        shared = ", ".join(checking.keys[place] for place in sorted(first.body & second.body))
        head, inner = checking.keys[first.head], checking.keys[second.head]
        checking.note(
            ("activities", inner),
            f"the loops that begin at {head} and at {inner} share {shared}, but neither lies inside the other, so each "
            f"would wait for the other's end. Let every way into a loop lead through its first activity.",
            at_key=True,
        )


def _naming(reads: list[Reads], source: str, target: str) -> tuple[Path, str, int]:
    """Return where the activity `target` names `source`."""
    place: Path = ("activities", target)
    for entry in reads:
        if entry.path[:2] == place:
            for reference in entry.references:
                if reference.root == source:
                    return entry.path, entry.text, reference.offset
    return place, "", 0


def _edge_place(checking: Checking, source: str, target: str) -> Path:
    activity = checking.definition.activities[checking.keys.index(target)]
    number = next(n for n, dependency in enumerate(activity.depends_on) if dependency.key == source)
    return ("activities", target, "depends_on", number, "key")


def _way(graph: Graph, loop: Loop, tail: int) -> list[int]:
    """Return the shortest way from the loop's head to a tail, along forward edges."""
    before: dict[int, int] = {loop.head: loop.head}
    waiting = [loop.head]
    for place in waiting:
        for number in graph.outgoing[place]:
            target = graph.edges[number].target
            if target in loop.body and target not in before:
                before[target] = place
                waiting.append(target)
    way = [tail]
    while way[-1] != loop.head:
        way.append(before[way[-1]])
    return way[::-1]


def _check_limits(checking: Checking, graph: Graph) -> None:
    """A limit inside a loop counts at its head only; elsewhere in the loop it would do nothing."""
    heads = {loop.head for loop in graph.loops}
    for loop in graph.loops:
        for place in sorted(loop.body - heads):
            activity = checking.definition.activities[place]
            if activity.iteration_limit is not None:
                head = checking.keys[loop.head]
                message = f"the limit of a loop stands where it begins; move iteration_limit to {head}."
                checking.note(("activities", activity.key, "iteration_limit"), message, at_key=True)
