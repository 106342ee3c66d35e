"""Functions and classes as policies: `@headgate.policy` marks one, so that a definition can name it.

What is marked stays what it was. It is registered where it is given to an engine: among the `activities` of
`headgate.open` and its kind, in a module of `--activities`, or by a package's entry point in `headgate.policies`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from headgate.core.errors import Invalid

__all__ = ["collect_policies", "is_policy", "policy"]

MARK = "__headgate_policy__"

Marked = TypeVar("Marked")


def policy(subject: Any = None, /, *, name: str | None = None) -> Any:
    """Mark a function of a call, or a class with `on_request(call)`, as a policy, and return it unchanged.

    It is given a `headgate.PolicyCall` and returns `headgate.Allow()`, `headgate.Deny(reason)`, or
    `headgate.Modify(request)`; nothing at all means `Allow`. A class may have `on_answer(call, answer)` too, and is
    made anew for each attempt. Options that a definition gives come as keyword arguments: of the function beside the
    call, of the class when it is made. A policy does no I/O. One that raises has denied.

    Definitions name it `module:name`, or as `name` says, in which a colon must be. Raises `Invalid` otherwise.
    """

    def mark(subject: Marked) -> Marked:
        called = name or f"{getattr(subject, '__module__', '')}:{getattr(subject, '__qualname__', '')}"
        if ":" not in called.strip(":"):
            raise Invalid(f"{called}: the name of a policy of one's own has a colon in it, as in package:policy.")
        setattr(subject, MARK, called)
        return subject

    return mark if subject is None else mark(subject)


def is_policy(subject: object) -> bool:
    """Return whether something was marked as a policy."""
    return isinstance(vars(subject).get(MARK) if hasattr(subject, "__dict__") else None, str)


def collect_policies(subjects: Iterable[Any]) -> dict[str, Any]:
    """Return what is marked among `subjects` by name. Raises `Invalid` where two share a name."""
    found: dict[str, Any] = {}
    for subject in filter(is_policy, subjects):
        name = getattr(subject, MARK)
        if found.setdefault(name, subject) is not subject:
            raise Invalid(f"Two policies are called {name!r}; give one of them another name=.")
    return found
