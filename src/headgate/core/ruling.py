"""What is to become of a call, as the budgets above it stand: reads the run, records nothing.

What does not fit beside what is *spent* is passed over for the next candidate, or meets the budget's action. What fits
beside what is spent but not beside what others have *reserved* waits.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from headgate.core.budget_levels import Level, Over, beyond, levels_above
from headgate.core.place import Place
from headgate.core.run import Call, Run
from headgate.core.token_budget import Shortage, shortage
from headgate.core.values import Candidate, SharedBudget

__all__ = ["Ruling", "rule"]


class Ruling(NamedTuple):
    """What is to become of a call. `level` is what it waits for, or asks about."""

    kind: Literal["admit", "wait", "ask", "refuse"]
    skipped: list[tuple[Candidate, str]]
    candidate: Candidate | None = None
    level: Level | None = None
    levels: tuple[Level, ...] = ()
    unpriced: Level | None = None
    needed: int | None = None
    """Of a call that waits for tokens: how many."""
    tokens: Shortage | None = None
    """The budget of tokens that refuses it, or under a dry run would have."""


def rule(
    run: Run, call: Call, place: Place, shared: tuple[SharedBudget, ...], over: Over | None, *, others_first: bool
) -> Ruling:
    """Return what is to become of the call. The first candidate that fits is taken; a person is asked only when none
    does, and about the first that nothing but such a budget keeps out."""
    owner = run.owner(place)
    skipped: list[tuple[Candidate, str]] = []
    unpriced: Level | None = None
    asked: tuple[Candidate, Level] | None = None
    tokens: Shortage | None = None
    for candidate in call.candidates:
        short = shortage(run, place, candidate)
        if short is not None and not short.dry_run:
            if short.crowded:
                crowd = Level(short.budget, 0, 0, short.reserved, "abort")
                return Ruling("wait", skipped, candidate, crowd, needed=short.needed)
            tokens = short
            skipped.append((candidate, short.reason))
            continue
        levels = levels_above(run, owner, call, candidate, shared, over)
        if candidate.price is None and levels:
            skipped.append((candidate, f"it has no known price, and {levels[0].name} has a limit"))
            unpriced = levels[0]
            continue
        closed = [level for level in levels if level.action != "alert" and not level.fits_spent(candidate.worst_case)]
        if closed:
            skipped.append((candidate, beyond(closed[0], candidate)))
            if asked is None and all(level.action == "ask" for level in closed):
                asked = candidate, closed[0]
            continue
        kept = [level for level in levels if level.fits_spent(candidate.worst_case)]
        crowded = _crowded(kept, candidate, others_first=others_first)
        if crowded is not None:
            return Ruling("wait", skipped, candidate, crowded)
        return Ruling("admit", skipped, candidate, levels=tuple(levels), tokens=short)
    if asked is not None:
        return Ruling("ask", skipped, *asked)
    if tokens is not None:
        return Ruling("refuse", skipped, tokens=tokens)
    return Ruling("refuse", skipped, levels=_refusing(run, owner, call, shared, over), unpriced=unpriced)


def _crowded(kept: list[Level], candidate: Candidate, *, others_first: bool) -> Level | None:
    """Return the budget in whose line the call has to wait: it is full of reservations, or others came before."""
    crowded = next((level for level in kept if not level.fits_now(candidate.worst_case)), None)
    if crowded is not None:
        return crowded
    if others_first and (own := next((level for level in kept if not level.id), None)) is not None:
        return own
    return next((level for level in kept if level.before), None)


def _refusing(
    run: Run, owner: Place, call: Call, shared: tuple[SharedBudget, ...], over: Over | None
) -> tuple[Level, ...]:
    """Return the budget that the cheapest candidate does not fit, if any has a price."""
    priced = [candidate for candidate in call.candidates if candidate.price is not None]
    if not priced:
        return ()
    cheapest = min(priced, key=lambda candidate: candidate.worst_case)
    levels = levels_above(run, owner, call, cheapest, shared, over)
    full = [level for level in levels if level.action != "alert" and not level.fits_spent(cheapest.worst_case)]
    return (next((level for level in full if level.action != "ask"), full[0]),)
