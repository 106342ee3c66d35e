"""What the checks share: the definition that is looked at, and how a problem with a part of it is noted."""

from __future__ import annotations

from collections.abc import Iterable

from headgate.authoring.positions import Path, Positions, problem_at
from headgate.authoring.problems import PROBLEMS_MAX, SUGGESTIONS_MAX, did_you_mean
from headgate.core.definition import Definition
from headgate.core.errors import Problem

__all__ = ["Checking"]


class Checking:
    """One check of one definition. Without positions the problems have canonical paths, and no lines."""

    def __init__(self, definition: Definition, positions: Positions | None) -> None:
        self.definition = definition
        self.positions = positions
        self.keys = tuple(activity.key for activity in definition.activities)
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def warn(self, path: Path, message: str, *, text: str = "", offset: int = 0, at_key: bool = False) -> None:
        """Note what looks like a mistake with the part at `path`, though it can run."""
        if len(self.warnings) < PROBLEMS_MAX:
            self.warnings.append(problem_at(self.positions, path, message, text=text, offset=offset, at_key=at_key))

    def note(self, path: Path, message: str, *, text: str = "", offset: int = 0, at_key: bool = False) -> None:
        """Note a problem with the part at `path`: at its value, at its key, or at `offset` of its text."""
        if len(self.problems) >= PROBLEMS_MAX:
            return
        problem = problem_at(self.positions, path, message, text=text, offset=offset, at_key=at_key)
        if problem not in self.problems[-50:]:  # a default for all activities is noted once
            self.problems.append(problem)

    def near(self, word: str, known: Iterable[str]) -> str:
        """Return a suggestion, unless there were many problems already."""
        return did_you_mean(word, known) if len(self.problems) < SUGGESTIONS_MAX else ""

    def is_implicit(self, source: str, target: str) -> bool:
        return self.positions is not None and (source, target) in self.positions.implicit
