"""What is wrong with a definition: the error that carries all of it, and the words that help to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from headgate.core.errors import Invalid, Problem

__all__ = [
    "PROBLEMS_MAX",
    "SHOWN_MAX",
    "SUGGESTIONS_MAX",
    "InvalidDefinition",
    "did_you_mean",
    "one_of",
    "summary",
]

SHOWN_MAX = 20
"""How many problems the text of the error shows; `.problems` holds all of them."""
PROBLEMS_MAX = 500
"""Where looking for more stops: a hostile file of a mebibyte can hold a hundred thousand faults."""
SUGGESTIONS_MAX = 50
"""How many problems get a suggestion: comparing words costs more than finding the fault."""
KNOWN_WORDS_MAX = 2_000

WORDS_FROM_ELSEWHERE = {
    "backoff": "strategy",
    "if": "when",
    "condition": "when",
    "params": "parameters",
    "args": "parameters",
    "inputs": "parameters",
    "limit_usd": "limit",
    "needs": "depends_on",
    "requires": "depends_on",
    "uses": "use",
    "activity": "activity_name",
    "steps": "activities",
    "tasks": "activities",
    "jobs": "activities",
    "nodes": "activities",
    "max_iterations": "iteration_limit",
    "retries": "retry",
    "max_retries": "retry",
    "foreach": "for_each",
    "loop": "for_each",
    "concurrency": "max_parallel",
    "id": "key",
    "ttl_seconds": "ttl",
}
"""What other engines, and older versions of the format, call our keys."""


class InvalidDefinition(Invalid):
    """A definition cannot work as it stands. `problems` names everything that was found, in the order of the
    file; `warnings`, what else looks like a mistake."""

    code = "invalid_definition"

    def __init__(self, source: str, problems: Iterable[Problem], warnings: Iterable[Problem] = ()) -> None:
        found = tuple(problems)
        super().__init__(summary(source, found), found)
        self.source = source
        self.warnings = tuple(warnings)


def summary(source: str, problems: tuple[Problem, ...]) -> str:
    """Return all problems as people read them: one line, or a headline and a line for each."""
    if len(problems) == 1:
        return _line(problems[0])
    shown = [f"  {_line(problem)}" for problem in problems[:SHOWN_MAX]]
    if len(problems) > SHOWN_MAX:
        shown.append(f"  … and {len(problems) - SHOWN_MAX} more")
    return "\n".join([f"{source} has {len(problems)} problems:", *shown])


def _line(problem: Problem) -> str:
    return f"{problem} (at {problem.path})" if problem.path else str(problem)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean "retry"?` for the nearest known word, or nothing if none is near."""
    import difflib

    names = list(islice(known, KNOWN_WORDS_MAX))
    usual = WORDS_FROM_ELSEWHERE.get(word.lower())
    near = [usual] if usual in names else difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not near:
        by_lower = {name.lower(): name for name in names}
        near = [by_lower[word.lower()]] if word.lower() in by_lower else []
    return f' Did you mean "{near[0]}"?' if near else ""


def one_of(words: Iterable[str]) -> str:
    """Return words as a choice that can be read aloud: `a, b or c`."""
    *rest, last = words
    return f"{', '.join(rest)} or {last}" if rest else last
