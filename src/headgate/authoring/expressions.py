"""The expressions of a definition: every text that names something, where it stands, and what it reads.

Each text is compiled once here, by itself, so that a problem has the place of its text and not of the
value around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from headgate.authoring.positions import Path
from headgate.core.definition import Activity, Definition
from headgate.core.expression import ExpressionError, Reference, compile_condition, compile_value

__all__ = ["Reads", "part_of", "reads_of"]


class Reads(msgspec.Struct, frozen=True):
    """One text: its canonical path, what it reads, or why it cannot be read."""

    path: Path
    text: str
    references: tuple[Reference, ...] = ()
    error: ExpressionError | None = None


def part_of(path: Path) -> str:
    """Return which part of an activity a path leads into: `parameters`, `when`, `depends_on`…"""
    return str(path[2])


def reads_of(definition: Definition) -> list[Reads]:
    """Return every text with an expression in it, in the order of the definition."""
    names = frozenset(activity.key for activity in definition.activities)
    found = [reads for activity in definition.activities for reads in _of_activity(activity, names)]
    found.extend(_of_value(("outputs",), definition.outputs, names))
    return found


def _of_activity(activity: Activity, names: frozenset[str]) -> Iterator[Reads]:
    place: Path = ("activities", activity.key)
    for number, dependency in enumerate(activity.depends_on):
        for index, text in enumerate(dependency.conditions):
            yield _compiled((*place, "depends_on", number, "conditions", index), text, names, condition=True)
    if activity.when is not None:
        yield _compiled((*place, "when"), activity.when, names, condition=True)
    yield from _of_value((*place, "for_each"), activity.for_each, names)
    yield from _of_value((*place, "delay"), activity.delay, names)
    yield from _of_value((*place, "scheduled_for"), activity.scheduled_for, names)
    yield from _of_value((*place, "parameters"), activity.parameters, names)
    if activity.cache is not None:
        yield from _of_value((*place, "cache", "key"), activity.cache.key, names)


def _of_value(path: Path, value: Any, names: frozenset[str]) -> Iterator[Reads]:
    if isinstance(value, str):
        if "{{" in value or "{%" in value:
            yield _compiled(path, value, names, condition=False)
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from _of_value((*path, str(name)), entry, names)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _of_value((*path, number), item, names)


def _compiled(path: Path, text: str, names: frozenset[str], *, condition: bool) -> Reads:
    try:
        compiled = (compile_condition if condition else compile_value)(text, where=str(path[-1]), names=names)
    except ExpressionError as error:
        return Reads(path, text, error=error)
    return Reads(path, text, compiled.references)
