"""How an activity refuses parameters that it cannot work with: named, with what it expected, and for good."""

from __future__ import annotations

from collections.abc import Iterable, Set

from headgate.ports import Attempt

__all__ = ["refuse_unknown", "wrong_parameters"]


def wrong_parameters(activity: str, message: str) -> Attempt:
    """Return the failure for parameters that no further attempt makes right."""
    return Attempt.failed("invalid_parameters", f"{activity}: {message}.", retryable=False)


def refuse_unknown(given: Iterable[str], known: Set[str], activity: str) -> None:
    """Raise `Attempt` (`invalid_parameters`) for a parameter that the activity does not have."""
    if unknown := sorted(set(given) - known):
        raise wrong_parameters(activity, f"expected parameters of {', '.join(sorted(known))}, got {unknown[0]}")
