"""The parameter `max_cost` of activities that call models: the most that each single call may cost, in US dollars."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from headgate.core.money import nano
from headgate.ports import Attempt

__all__ = ["max_cost_of"]


def max_cost_of(parameters: Mapping[str, Any], activity: str) -> int | None:
    """Return it in nano-dollars; None where none is given. Raises `Attempt` (`invalid_parameters`)."""
    given = parameters.get("max_cost")
    if given is None:
        return None
    if isinstance(given, str | int | float) and not isinstance(given, bool):
        try:
            amount = Decimal(str(given))
        except InvalidOperation:
            amount = Decimal(-1)
        if amount.is_finite() and amount >= 0:
            return nano(amount)
    message = f"{activity}: expected max_cost to be US dollars such as 0.02, got {given!r}."
    raise Attempt.failed("invalid_parameters", message, retryable=False)
