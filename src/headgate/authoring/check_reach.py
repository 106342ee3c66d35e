"""What runs certainly, and what never does, whatever a run finds out."""

from __future__ import annotations

import re

from headgate.authoring.checking import Checking
from headgate.authoring.expressions import Reads
from headgate.authoring.positions import Path
from headgate.core.definition import Activity, Dependency
from headgate.core.expression import ExpressionError, compile_condition
from headgate.core.graph import Graph

__all__ = ["certain", "check_reach"]

WORD = re.compile(r"[A-Za-z_]\w*")
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
OPERATORS = frozenset({"true", "false", "none", "null", "and", "or", "not", "in", "is", "contains"})
GUARDS = ("default", "coalesce", " if ", "is defined", "is none", "is not none")
"""Words with which a template says that a value may be missing."""


def check_reach(checking: Checking, graph: Graph, reads: list[Reads]) -> None:
    """Warn of activities that never run, and of outputs that are null where an activity is skipped."""
    activities = checking.definition.activities
    reached = _reached(activities, graph)
    for number, activity in enumerate(activities):
        if number not in reached:
            place, why = _why_never(activity, graph, number, activities, reached)
            checking.warn(place, f"{activity.key} never runs: {why}. Mend that, or remove it.", at_key=True)
    sure = certain(activities, graph)
    index = {activity.key: number for number, activity in enumerate(activities)}
    for entry in reads:
        if entry.path[0] == "outputs" and not any(word in entry.text for word in GUARDS):
            skipped = [r for r in entry.references if r.root in index and index[r.root] in reached - sure]
            for reference in skipped[:1]:
                message = (
                    f"{reference.root} may be skipped, and what is read of it is null then. "
                    'Say what to return instead: {{ … | default("…", true) }}.'
                )
                checking.warn(entry.path, message, text=entry.text, offset=reference.offset)


def certain(activities: tuple[Activity, ...], graph: Graph) -> set[int]:
    """Return the activities that run in every run that does not fail before them."""
    sure: set[int] = set()
    for number in graph.order:
        activity = activities[number]
        edges = [graph.edges[edge] for edge in graph.incoming[number]]
        skips = activity.wait_for_signal is not None and activity.wait_for_signal.on_timeout == "skip"
        if (
            (activity.when is None or _constant(activity.when) is True)
            and not skips
            and all(not edge.conditions and edge.source in sure for edge in edges)
        ):
            sure.add(number)
    return sure


def _reached(activities: tuple[Activity, ...], graph: Graph) -> set[int]:
    """Return the activities that some run can reach. A conditional edge counts as one that may apply, also from an
    activity that never runs: its condition may ask for just that. Only what is written as false is false."""
    reached: set[int] = set()
    for number in graph.order:
        activity = activities[number]
        if activity.when is not None and _constant(activity.when) is False:
            continue
        edges = [graph.edges[edge] for edge in graph.incoming[number]]
        applies = [
            all(_constant(text) is not False for text in edge.conditions) if edge.conditions else edge.source in reached
            for edge in edges
        ]
        unconditional = [ok for ok, edge in zip(applies, edges, strict=True) if not edge.conditions]
        needed = all(applies) if activity.join == "all" else activity.join == "any" or all(unconditional)
        if not edges or (needed and any(applies)):
            reached.add(number)
    return reached


def _constant(condition: str) -> bool | None:
    """Return the truth of a condition that reads nothing; None for any other, which need not be compiled to see it."""
    if any(word.lower() not in OPERATORS for word in WORD.findall(QUOTED.sub("", condition))):
        return None
    try:
        compiled = compile_condition(condition, where="condition")
        return None if compiled.roots else compiled.truth({})
    except ExpressionError:
        return None


def _why_never(
    activity: Activity, graph: Graph, number: int, activities: tuple[Activity, ...], reached: set[int]
) -> tuple[Path, str]:
    place: Path = ("activities", activity.key)
    if activity.when is not None and _constant(activity.when) is False:
        return (*place, "when"), "its `when` is always false"
    for edge in (graph.edges[edge] for edge in graph.incoming[number]):
        source = activities[edge.source].key
        if any(_constant(text) is False for text in edge.conditions):
            return _edge(place, activity, edge.source, activities), f"its condition on {source} is always false"
        if not edge.conditions and edge.source not in reached:
            return _edge(place, activity, edge.source, activities), f"{source}, which it depends on, never runs"
    return place, "none of its dependencies can apply"


def _edge(place: Path, activity: Activity, source: int, activities: tuple[Activity, ...]) -> Path:
    keys: list[Dependency] = list(activity.depends_on)
    number = next(n for n, dependency in enumerate(keys) if dependency.key == activities[source].key)
    return (*place, "depends_on", number)
