"""The policy `token_budget` in the ledger: how many tokens a call, an activity and a run may take.

As with money, what counts is what was used, what open calls may still use, and the most that this one may: its
estimated input and its `max_tokens`. What does not fit beside what was used is denied. What fits but for others' open
calls waits for them. A lost call counts with all that it might have used.
"""

from __future__ import annotations

from typing import NamedTuple

from headgate.core.definition import policies_of
from headgate.core.place import Place
from headgate.core.run import Call, Run
from headgate.core.values import Candidate, Usage

__all__ = ["MAX_TOKENS_UNDER_BUDGET", "TOKEN_BUDGET", "Shortage", "book_tokens", "hold_tokens", "shortage", "tokens_of"]

TOKEN_BUDGET = "token_budget"  # noqa: S105 - no secret: a policy's name
MAX_TOKENS_UNDER_BUDGET = 1024
"""`max_tokens` of a call under a budget, of money or of tokens, that sets none: without it there is no worst case to
reserve."""


class Shortage(NamedTuple):
    """Why a call does not fit. `crowded`: it will, should open calls take less than they may; `dry_run`: it may all
    the same."""

    reason: str
    budget: str
    needed: int
    reserved: int
    crowded: bool
    dry_run: bool


def shortage(run: Run, place: Place, candidate: Candidate) -> Shortage | None:
    """Return the first limit that the candidate does not fit, or None: it fits them all."""
    policies = policies_of(run.plan.definition, place.planned.activity)
    policy = next((one for one in policies if one.use == TOKEN_BUDGET), None)
    if policy is None:
        return None
    owner = run.owner(place)
    needed = candidate.input_tokens + candidate.output_tokens
    levels = (
        ("call", "of one call", 0, 0),
        ("activity", f"of activity {owner.planned.key!r}", owner.tokens, owner.tokens_reserved),
        ("run", "of the run", run.tokens, run.tokens_reserved),
    )
    for option, name, used, reserved in levels:
        limit = policy.options.get(option)
        if limit is None or used + reserved + needed <= limit:
            continue
        left = max(0, limit - used)
        reason = f"{candidate.model} may take {needed:,} tokens; {left:,} are left of the {limit:,} {name}"
        return Shortage(reason, f"tokens {name}", needed, reserved, used + needed <= limit, policy.dry_run)
    return None


def hold_tokens(run: Run, call: Call, amount: int) -> None:
    """Count (or, negative, release) what an open call may use."""
    run.tokens_reserved += amount
    owner = run.owner_of(call.place)
    if owner is not None:
        owner.tokens_reserved += amount


def book_tokens(run: Run, path: str, amount: int) -> None:
    """Count what was used."""
    run.tokens += amount
    owner = run.owner_of(path)
    if owner is not None:
        owner.tokens += amount


def tokens_of(usage: Usage | None) -> int:
    return 0 if usage is None else usage.input_tokens + usage.output_tokens
