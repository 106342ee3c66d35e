"""A run's input against the inputs that its definition declares: defaults filled in, everything else refused
by name."""

from __future__ import annotations

from itertools import islice
from typing import Any, cast

from headgate.authoring.problems import did_you_mean, one_of
from headgate.core.definition import Definition, Input
from headgate.core.errors import Invalid, Problem
from headgate.core.values import FILE_MARK

__all__ = ["InvalidInput", "fault_of", "validate_input"]

TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "a text"),
    "file": ((str, dict), "the text of a file, or a file value"),
    "number": ((int, float), "a number"),
    "integer": ((int,), "a whole number"),
    "boolean": ((bool,), "true or false"),
    "object": ((dict,), "a map"),
    "array": ((list, tuple), "a list"),
}
SHOWN_MAX = 60
UNKNOWN_MAX = 50
"""How many unknown inputs are named: inputs may be large, and finding the word that was meant is slow."""


class InvalidInput(Invalid):
    """The input of a run is not what the workflow asks for. `problems` has an entry for each part."""

    code = "invalid_input"


def validate_input(definition: Definition, value: object) -> object:
    """Return the input that a run of `definition` starts with: `value` with the declared defaults filled in.

    A definition that declares no `inputs` takes any value as it is. Validating the result again changes
    nothing. Raises `InvalidInput`, with a problem for every part that is missing, unknown or of the wrong
    type.
    """
    declared = definition.inputs
    if declared is None:
        return value
    given = {} if value is None else value
    if not isinstance(given, dict):
        names = [entry.name for entry in declared]
        raise _invalid(
            definition,
            [Problem(f"expected the input to be a map of {_names(names)}, got {_shown(given)}.", "INPUT")],
        )
    fields = cast("dict[str, Any]", given)
    problems = _unknown(declared, fields)
    completed: dict[str, Any] = {}
    for entry in declared:
        if entry.name in fields:
            completed[entry.name] = fields[entry.name]
            if fault := fault_of(entry, fields[entry.name]):
                problems.append(Problem(f"{fault}.", f"INPUT.{entry.name}"))
        elif entry.required:
            problems.append(Problem(_missing(entry), f"INPUT.{entry.name}"))
        else:
            completed[entry.name] = entry.default
    if problems:
        raise _invalid(definition, problems)
    return completed


def fault_of(declared: Input, value: object) -> str:
    """Return what is wrong with a value for an input, without a full stop; nothing if it fits."""
    if value is None and not declared.required and declared.default is None:
        return ""
    if declared.type in TYPES:
        types, what = TYPES[declared.type]
        wrong = isinstance(value, bool) and bool not in types
        wrong = wrong or (isinstance(value, dict) and _no_file(declared, value))
        if wrong or not (isinstance(value, types) or _is_whole(declared, value)):
            return f"expected {declared.name} to be {what}, got {_shown(value)}"
    if declared.enum and not any(_same(value, allowed) for allowed in declared.enum):
        near = (
            did_you_mean(value, [one for one in declared.enum if isinstance(one, str)])
            if isinstance(value, str)
            else ""
        )
        choice = one_of([_shown(one) for one in declared.enum])
        return f"expected {declared.name} to be {choice}, got {_shown(value)}.{near}".rstrip(".?")
    return ""


def _is_whole(declared: Input, value: object) -> bool:
    return declared.type == "integer" and isinstance(value, float) and value.is_integer()


def _no_file(declared: Input, value: dict[Any, Any]) -> bool:
    return declared.type == "file" and not isinstance(value.get(FILE_MARK), str)


def _same(value: object, allowed: object) -> bool:
    return value == allowed and isinstance(value, bool) == isinstance(allowed, bool)


def _unknown(declared: tuple[Input, ...], fields: dict[str, Any]) -> list[Problem]:
    names = [entry.name for entry in declared]
    return [
        Problem(
            f'there is no input "{name}".{did_you_mean(name, names)} Known are {_names(names)}.',
            f"INPUT.{name}",
        )
        for name in islice((name for name in fields if name not in names), UNKNOWN_MAX)
    ]


def _missing(entry: Input) -> str:
    about = f" ({entry.description})" if entry.description else ""
    what = TYPES[entry.type][1] if entry.type in TYPES else "a value"
    return f"the input {entry.name}{about} is missing: give {what}."


def _invalid(definition: Definition, problems: list[Problem]) -> InvalidInput:
    return InvalidInput(
        f"the input does not fit the workflow {definition.name}: " + " ".join(problem.message for problem in problems),
        tuple(problems),
    )


def _names(names: list[str]) -> str:
    return ", ".join(names) if names else "nothing (it takes no input)"


def _shown(value: object) -> str:
    words = {None: "nothing", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, dict | list | tuple):
        return "a map" if isinstance(value, dict) else "a list"
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 1]}…"
