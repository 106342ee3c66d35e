"""The door: the text of a definition file in, a checked `Definition` out, or everything that is wrong with
it."""

from __future__ import annotations

import msgspec

from headgate.authoring.check import check_definition
from headgate.authoring.document import Node, Unreadable, decode
from headgate.authoring.estimate import Pricing
from headgate.authoring.expressions import reads_of
from headgate.authoring.fields import Field, Reading
from headgate.authoring.implicit import with_implicit_dependencies
from headgate.authoring.json_text import read_json
from headgate.authoring.normalise import normalise
from headgate.authoring.positions import Path, Positions, problem_at
from headgate.authoring.problems import PROBLEMS_MAX, InvalidDefinition
from headgate.authoring.prompt_templates import Read
from headgate.authoring.referenced_files import with_referenced_files
from headgate.authoring.yaml_text import read_yaml
from headgate.core.definition import Definition
from headgate.core.errors import Problem

__all__ = ["Loaded", "load_definition", "load_with_warnings"]


class Loaded(msgspec.Struct, frozen=True):
    """A definition that can run, and what in it looks like a mistake."""

    definition: Definition
    warnings: tuple[Problem, ...] = ()


def load_definition(
    text: bytes | str,
    *,
    source: str = "definition",
    providers: frozenset[str] | None = None,
    activities: frozenset[str] | None = None,
    read: Read | None = None,
) -> Definition:
    """Return the checked definition that a YAML or JSON text holds. The same text (and the same files) always give an
    equal definition.

    `source` is what problems call the text (a file's name). `providers` are model providers, and
    `activities` are activities of the queue `std` (registered in Python), that are known beside the built-
    in ones. `read` returns the text of a file beside the definition, for `script_file` and prompt templates (it raises
    `UnreadableFile`); without it a definition that refers to files is refused. Raises `InvalidDefinition` with all
    problems, in the order of the file, each with line, column and path.
    """
    return load_with_warnings(text, source=source, providers=providers, activities=activities, read=read).definition


def load_with_warnings(
    text: bytes | str,
    *,
    source: str = "definition",
    providers: frozenset[str] | None = None,
    activities: frozenset[str] | None = None,
    read: Read | None = None,
    pricing: Pricing | None = None,
) -> Loaded:
    """Return the same with what in it looks like a mistake, though it can run. With `pricing`, models without a price
    and budgets that no call fits are looked for as well. Raises `InvalidDefinition`, which has the warnings too."""
    problems: list[Problem] = []
    warnings: list[Problem] = []
    try:
        characters = decode(text)
        node, found = _read(characters)
    except Unreadable as error:
        raise InvalidDefinition(source, _finished([error.problem], source)) from None
    problems.extend(found)
    positions = Positions(source, characters)
    normalised = normalise(Field(node), Reading(problems), positions)

    def note(path: Path, message: str) -> None:
        problems.append(problem_at(positions, path, message))

    definition = with_referenced_files(normalised.definition, read, note, positions)
    reads = reads_of(definition)
    if normalised.short:
        definition, positions.implicit = with_implicit_dependencies(definition, reads)
    problems += check_definition(
        definition,
        positions,
        providers=providers,
        activities=activities,
        reads=reads,
        pricing=pricing,
        warnings=warnings,
    )
    if problems:
        raise InvalidDefinition(source, _finished(problems, source), _finished(warnings, source))
    return Loaded(definition, tuple(_finished(warnings, source)))


def _read(text: str) -> tuple[Node, list[Problem]]:
    """Read JSON where it looks like JSON, and as YAML whatever is none: `{name: x}` is a YAML map as well."""
    if text.lstrip()[:1] == "{":
        try:
            return read_json(text)
        except Unreadable:
            pass
    return read_yaml(text)


def _finished(problems: list[Problem], source: str) -> list[Problem]:
    """Return the problems with their source, in the order of the file (then of the files that it refers to), each
    once."""
    named = [msgspec.structs.replace(problem, source=problem.source or source) for problem in problems]
    unique = {(problem.source, problem.line, problem.column, problem.message): problem for problem in named}
    found = sorted(
        unique.values(),
        key=lambda problem: (problem.source != source, problem.source, problem.line or 0, problem.column or 0),
    )
    if len(found) > PROBLEMS_MAX:
        found[PROBLEMS_MAX:] = [Problem("there are more problems; mend these first.", source=source)]
    return found
