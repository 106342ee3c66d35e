"""What deleting and erasing have in common in every store: how much goes in one transaction, and what stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headgate.core.errors import Refused
from headgate.ports import Deletion

__all__ = [
    "BLOBS_MAX",
    "BLOBS_PAGE",
    "CONTENTS_PAGE",
    "EVENTS_MAX",
    "GAPS_MAX",
    "LABELLED_RUNS_MAX",
    "ROWS_MAX",
    "RUNS_MAX",
    "TEXTS",
    "TREE_RUNS_MAX",
    "deletion_of",
    "not_ended",
    "within",
]

RUNS_MAX = 50
EVENTS_MAX = 2_000
BLOBS_MAX = 50
ROWS_MAX = 2_000
"""Of one transaction."""

TREE_RUNS_MAX = 10_000
LABELLED_RUNS_MAX = 10_000
GAPS_MAX = 100
CONTENTS_PAGE = 500
BLOBS_PAGE = 20

TEXTS = frozenset(
    {
        *("run_failed", "cancel_requested", "run_paused", "attempt_failed", "attempt_lost", "retry_scheduled"),
        *("activity_failed", "activity_skipped", "approval_decided", "child_finished", "call_refused"),
        *("signal_received", "budget_raised", "budget_refused"),
    }
)
"""Events that hold words of people or programs beside their content: messages, reasons, names. The chain covers them,
so they cannot be erased."""


def deletion_of(row: Sequence[Any]) -> Deletion:
    """Return the record of a deletion."""
    run_id, workflow, version, hash_, at, why, actor, tenant = row
    return Deletion(run_id, workflow, version, hash_.hex(), at, why, actor, tenant)


def within(rows: list[Any], limit: int, what: str) -> list[Any]:
    """Return the rows. Raises `Refused` where there are more than `limit`."""
    if len(rows) > limit:
        raise Refused(f"There are more than {limit} {what}; at most so many are erased at a time. Name fewer.")
    return rows


def not_ended(run_id: str) -> Refused:
    """Return the refusal to erase a run that is at work."""
    return Refused(f"Run {run_id} has not ended, or has something to do yet. Cancel it first, or wait for it.")
