"""Dependencies that nobody wrote: in the short form, who names another activity depends on it.

What parameters, `when` and `for_each` name counts. One thing is not a dependency although it is named: in
a loop, the head may read what stands behind it, and means the iteration before. So an edge that would lead
back to the head of a loop that the author closed is not drawn. An edge that would close a cycle of its own
is drawn, and `check` says so.
"""

from __future__ import annotations

import msgspec

from headgate.authoring.expressions import Reads, part_of
from headgate.core.definition import Activity, Definition, Dependency
from headgate.core.graph import analyse

__all__ = ["with_implicit_dependencies"]

PARTS = frozenset({"parameters", "when", "for_each"})


def with_implicit_dependencies(definition: Definition, reads: list[Reads]) -> tuple[Definition, set[tuple[str, str]]]:
    """Return the definition with the dependencies that its templates imply, and those as (source, target)."""
    implied = _implied(definition, reads)
    for edge in _backward(definition.activities, implied):
        implied[edge[1]].remove(edge[0])
    activities = tuple(_depending(activity, implied.get(activity.key, ())) for activity in definition.activities)
    drawn = {(source, target) for target, sources in implied.items() for source in sources}
    return msgspec.structs.replace(definition, activities=activities), drawn


def _implied(definition: Definition, reads: list[Reads]) -> dict[str, list[str]]:
    """Return, by activity, the others that it names and does not depend on yet, in the order of the
    definition."""
    order = {activity.key: number for number, activity in enumerate(definition.activities)}
    named: dict[str, set[str]] = {}
    for entry in reads:
        if entry.path[0] == "activities" and part_of(entry.path) in PARTS:
            roots = {reference.root for reference in entry.references}
            named.setdefault(str(entry.path[1]), set()).update(roots & order.keys())
    implied: dict[str, list[str]] = {}
    for activity in definition.activities:
        written = {dependency.key for dependency in activity.depends_on} | {activity.key}
        sources = named.get(activity.key, set()) - written
        if sources:
            implied[activity.key] = sorted(sources, key=order.__getitem__)
    return implied


def _backward(activities: tuple[Activity, ...], implied: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Return the implied edges that lead back to the head of a loop which written edges close."""
    if not implied or not any(dependency.conditions for a in activities for dependency in a.depends_on):
        return []
    drawn = tuple(_depending(activity, implied.get(activity.key, ()), tentative=True) for activity in activities)
    graph = analyse(drawn)
    keys = [activity.key for activity in activities]
    backward: list[tuple[str, str]] = []
    for loop in graph.loops:
        edges = [(keys[graph.edges[number].source], keys[loop.head]) for number in loop.back_edges]
        guessed = [edge for edge in edges if edge[0] in implied.get(edge[1], ())]
        if len(guessed) < len(edges):
            backward.extend(guessed)
    return backward


def _depending(activity: Activity, sources: list[str] | tuple[()], *, tentative: bool = False) -> Activity:
    """Return the activity with dependencies on `sources` added.

    Tentative ones on an activity that has a written condition count as conditional too: so it is found to
    be the place where its loop is entered, and what it reads from inside the loop to be of the iteration
    before.
    """
    if not sources:
        return activity
    conditional = tentative and any(dependency.conditions for dependency in activity.depends_on)
    added = tuple(Dependency(source, ("tentative",) if conditional else ()) for source in sources)
    return msgspec.structs.replace(activity, depends_on=activity.depends_on + added)
