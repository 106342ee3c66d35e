"""The door: the text of a definition file in, a checked `Definition` out, or everything that is wrong with
it."""

from __future__ import annotations

import msgspec

from headgate.authoring.check import check_definition
from headgate.authoring.document import Node, Unreadable, decode
from headgate.authoring.expressions import reads_of
from headgate.authoring.fields import Field, Reading
from headgate.authoring.implicit import with_implicit_dependencies
from headgate.authoring.json_text import read_json
from headgate.authoring.normalise import normalise
from headgate.authoring.positions import Positions
from headgate.authoring.problems import PROBLEMS_MAX, InvalidDefinition
from headgate.authoring.yaml_text import read_yaml
from headgate.core.definition import Definition
from headgate.core.errors import Problem

__all__ = ["load_definition"]


def load_definition(
    text: bytes | str,
    *,
    source: str = "definition",
    providers: frozenset[str] | None = None,
    activities: frozenset[str] | None = None,
) -> Definition:
    """Return the checked definition that a YAML or JSON text holds. The same text always gives an equal
    definition.

    `source` is what problems call the text (a file's name). `providers` are model providers, and
    `activities` are activities of the queue `std` (registered in Python), that are known beside the built-
    in ones. Raises `InvalidDefinition` with all problems, in the order of the file, each with line, column
    and path.
    """
    problems: list[Problem] = []
    try:
        characters = decode(text)
        node, found = _read(characters)
    except Unreadable as error:
        raise InvalidDefinition(source, _finished([error.problem], source)) from None
    problems.extend(found)
    positions = Positions(source, characters)
    normalised = normalise(Field(node), Reading(problems), positions)
    definition = normalised.definition
    reads = reads_of(definition)
    if normalised.short:
        definition, positions.implicit = with_implicit_dependencies(definition, reads)
    problems += check_definition(definition, positions, providers=providers, activities=activities, reads=reads)
    if problems:
        raise InvalidDefinition(source, _finished(problems, source))
    return definition


def _read(text: str) -> tuple[Node, list[Problem]]:
    """Read JSON where it looks like JSON, and as YAML whatever is none: `{name: x}` is a YAML map as well."""
    if text.lstrip()[:1] == "{":
        try:
            return read_json(text)
        except Unreadable:
            pass
    return read_yaml(text)


def _finished(problems: list[Problem], source: str) -> list[Problem]:
    """Return the problems with their source, in the order of the file, each once."""
    named = [msgspec.structs.replace(problem, source=source) for problem in problems]
    unique = {(problem.line, problem.column, problem.message): problem for problem in named}
    found = sorted(unique.values(), key=lambda problem: (problem.line or 0, problem.column or 0))
    if len(found) > PROBLEMS_MAX:
        found[PROBLEMS_MAX:] = [Problem("there are more problems; mend these first.", source=source)]
    return found
