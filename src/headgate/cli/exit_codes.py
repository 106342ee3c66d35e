"""What the process's exit code says, for whoever calls Headgate from a script."""

from __future__ import annotations

from typing import Final

from headgate.core.errors import HeadgateError, Unavailable
from headgate.core.view import RunView

__all__ = [
    "BUDGET",
    "CANCELLED",
    "COMPLETED",
    "FAILED",
    "INTERRUPTED",
    "INVALID",
    "TERMINATED",
    "TIMED_OUT",
    "UNAVAILABLE",
    "WAITS_FOR_PERSON",
    "code_of_error",
    "code_of_run",
    "waits_for_person",
]

COMPLETED: Final = 0
FAILED: Final = 1
INVALID: Final = 2
WAITS_FOR_PERSON: Final = 3
BUDGET: Final = 4
CANCELLED: Final = 5
TIMED_OUT: Final = 6
UNAVAILABLE: Final = 75
INTERRUPTED: Final = 130
TERMINATED: Final = 143

BY_PEOPLE = frozenset({"approval", "signal", "budget"})
BY_ITSELF = frozenset({"retry", "delay", "timer", "child"})
OF_FAILURE = {"budget_exceeded": BUDGET, "timed_out": TIMED_OUT}


def code_of_run(view: RunView) -> int:
    """Return the code for how a run stands: of an unfinished one, whether it waits for a person."""
    match view.status:
        case "completed":
            return COMPLETED
        case "cancelled":
            return CANCELLED
        case "failed":
            return OF_FAILURE.get(view.error_code, FAILED)
        case _:
            return WAITS_FOR_PERSON if waits_for_person(view) else COMPLETED


def code_of_error(error: HeadgateError) -> int:
    """Return the code for an error: 75 where trying again may help, else 2."""
    return UNAVAILABLE if isinstance(error, Unavailable) else INVALID


def waits_for_person(view: RunView) -> bool:
    """Whether nothing goes on until somebody approves, rejects, raises a budget, or sends a signal: no time will wake
    the run."""
    places = [place for activity in view.activities for place in (activity, *activity.items)]
    kinds = {place.waits for place in places}
    return view.status == "waiting" and bool(kinds & BY_PEOPLE) and not kinds & BY_ITSELF
