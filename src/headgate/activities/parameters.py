"""How an activity refuses parameters that it cannot work with: named, with what it expected, and for good."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any, TypeVar

import msgspec

from headgate.ports import Attempt

__all__ = ["parameters_of", "refuse_unknown", "wrong_parameters"]

Parameters = TypeVar("Parameters", bound=msgspec.Struct)


def parameters_of(activity: str, given: dict[str, Any], kind: type[Parameters]) -> Parameters:
    """Return the parameters as a struct. Raises `invalid_parameters`, never with a value that may hold a password."""
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise wrong_parameters(activity, str(error)) from None


def wrong_parameters(activity: str, message: str) -> Attempt:
    """Return the failure for parameters that no further attempt makes right."""
    return Attempt.failed("invalid_parameters", f"{activity}: {message}.", retryable=False)


def refuse_unknown(given: Iterable[str], known: Set[str], activity: str) -> None:
    """Raise `Attempt` (`invalid_parameters`) for a parameter that the activity does not have."""
    if unknown := sorted(set(given) - known):
        raise wrong_parameters(activity, f"expected parameters of {', '.join(sorted(known))}, got {unknown[0]}")
