"""Who can have run before whom: its ancestors along all edges, those that close loops too."""

from __future__ import annotations

from headgate.core.graph import Graph

__all__ = ["ancestors"]


def ancestors(graph: Graph, count: int) -> list[int]:
    """Return for each activity a set of bits: bit `n` is set where activity `n` stands upstream of it.

    Sets of bits, because a workflow may have ten thousand activities and then has ten thousand ancestors
    of each. Each round carries what back edges bring one loop further out, so there are as many rounds as
    loops stand in each other.
    """
    above = [0] * count
    back = [edge for edge in graph.edges if edge.back]
    while True:
        for place in graph.order:
            for number in graph.incoming[place]:
                source = graph.edges[number].source
                above[place] |= above[source] | 1 << source
        changed = False
        for edge in back:
            brought = above[edge.target] | above[edge.source] | 1 << edge.source
            changed = changed or brought != above[edge.target]
            above[edge.target] = brought
        if not changed:
            return above
