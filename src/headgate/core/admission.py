"""The ledger half of the gate: which model call may be made, and what it cost in the end.

No call is admitted unless spent + reserved + its worst case <= limit, in every budget above it (action `alert`
excepted). What does not fit beside what is *spent* is passed over for the next candidate, or meets the budget's
action. What fits beside what is spent but not beside what others have *reserved* waits, first come first served, and
is looked at again whenever something is settled.

Budgets of the activity and the run are folded here. Budgets above the run (`outer`) are rows of the store that are
moved in the same transaction as the events; when one of them refuses, the engine decides again with `over` set.
"""

from __future__ import annotations

from typing import NamedTuple

from headgate.core import events as e
from headgate.core.codes import POLICY_DENIED, POLICY_FAILED
from headgate.core.commands import AdmitCall, FreeBudget, SettleCall
from headgate.core.decision import Decision
from headgate.core.money import show
from headgate.core.run import Call, Place, Run
from headgate.core.token_budget import Shortage, shortage
from headgate.core.values import Candidate

__all__ = ["admit", "forfeit", "free", "name_overruns", "settle", "wake"]


class Level(NamedTuple):
    """One budget as it stands. `name` is how people know it."""

    name: str
    limit: int
    spent: int
    reserved: int
    action: str

    def fits_spent(self, amount: int) -> bool:
        return self.spent + amount <= self.limit

    def fits_now(self, amount: int) -> bool:
        return self.spent + self.reserved + amount <= self.limit


def admit(decision: Decision, command: AdmitCall, place: Place) -> None:
    """Decide a call. One that is asked for again, under the same id, is not decided again."""
    known = decision.run.calls.get(command.call_id)
    if known is not None and (known.state != "waiting" or command.over is None):
        return
    decision.emit(
        e.CallRequested,
        place.path,
        place.attempt,
        call_id=command.call_id,
        request_hash=command.request_hash,
        candidates=command.candidates,
        over=command.over,
        passed_over=command.passed_over,
        verdicts=command.verdicts,
    )
    call = decision.run.calls[command.call_id]
    for one in command.passed_over:
        decision.emit(
            e.ModelSkipped, place.path, place.attempt, call_id=call.call_id, model=one.model, reason=one.reason
        )
    denied = next((verdict for verdict in command.verdicts if verdict.denies), None)
    if denied is not None:
        code = POLICY_FAILED if "failed" in denied.details else POLICY_DENIED
        _refuse(decision, call, code, f"Policy {denied.policy!r} denies the call: {denied.reason}.")
        return
    others_first = any(waiting != call.call_id for waiting in decision.run.waiting_calls)
    _decide(decision, call, place, command.over, others_first=others_first)


def wake(decision: Decision) -> None:
    """Look again at the calls that wait, in the order in which they came; stop at the first that still must.

    In a run with budgets above it only `free` does this, one call at a time: the store has the last word there.
    """
    run = decision.run
    if run.outer or not run.waiting_calls:
        return
    for call_id in list(run.waiting_calls):
        call = run.calls[call_id]
        place = run.place(call.place)
        if place is not None and not _decide(decision, call, place, None, others_first=False):
            return


def free(decision: Decision, command: FreeBudget) -> None:
    """A budget above the run may have room again for the call that has waited longest."""
    run = decision.run
    call_id = next(iter(run.waiting_calls), None)
    if call_id is None:
        return
    decision.emit(e.BudgetFreed, budget=command.budget, over=command.over)
    call = run.calls[call_id]
    place = run.place(call.place)
    if place is not None:
        _decide(decision, call, place, command.over, others_first=False)


def settle(decision: Decision, command: SettleCall) -> None:
    """Record how a call ended. Repeated: nothing. After a forfeit: what it really cost replaces the forfeit."""
    run = decision.run
    call = run.calls.get(command.call_id)
    if call is None or call.state not in ("admitted", "forfeited"):
        return
    if call.state == "forfeited" and command.outcome == "lost":
        return
    usage = command.usage
    cost = 0
    if command.outcome == "used" and usage is not None:
        cost = usage.cost_nano if usage.cost_nano is not None else call.price.cost(usage) if call.price else 0
    decision.emit(
        e.CallSettled,
        call.place,
        call.attempt,
        call_id=call.call_id,
        outcome=command.outcome,
        usage=usage,
        cost=cost,
        released=call.reservation if call.state == "admitted" and command.outcome != "lost" else 0,
        replaces=call.spent,
        error=command.error,
        verdicts=command.verdicts,
    )
    if command.outcome == "lost":
        _forfeit(decision, call, "its outcome is unknown")
    name_overruns(decision, call.place)
    wake(decision)


def name_overruns(decision: Decision, path: str) -> None:
    """Say which budgets above the place are overspent now: what was reported was more than was reserved for it."""
    run = decision.run
    owner = run.owner_of(path)
    if owner is None:
        return
    for level in _levels(run, owner, None):
        if level.spent > level.limit and level.name not in run.overruns and level.action != "alert":
            decision.emit(e.BudgetOverrun, path, budget=level.name, limit=level.limit, spent=level.spent)


def forfeit(decision: Decision, place: Place, reason: str) -> None:
    """The attempt is over: calls that it left open are forfeited, those that waited are refused."""
    run = decision.run
    for call_id in run.calls_of.get(place.path, ()):
        call = run.calls[call_id]
        if call.state == "admitted":
            _forfeit(decision, call, reason)
        elif call.state == "waiting":
            _refuse(decision, call, "attempt_over", f"The attempt ended while the call waited: {reason}.")


def _forfeit(decision: Decision, call: Call, reason: str) -> None:
    decision.emit(
        e.CallForfeited, call.place, call.attempt, call_id=call.call_id, reason=reason, amount=call.reservation
    )


# --- The decision -------------------------------------------------------------------------------------------------


def _decide(
    decision: Decision, call: Call, place: Place, over: tuple[str, int, int, int] | None, *, others_first: bool
) -> bool:
    """Admit, refuse, or let wait; return whether the call has its answer."""
    levels = _levels(decision.run, place, over)
    unpriced: Level | None = None
    out_of_tokens: Shortage | None = None
    for candidate in call.candidates:
        short = shortage(decision.run, place, candidate)
        if short is not None and not short.dry_run:
            if short.crowded:
                _await_tokens(decision, call, candidate, short)
                return False
            out_of_tokens = short
            _skip(decision, call, candidate, short.reason)
            continue
        if candidate.price is None and levels:
            _skip(decision, call, candidate, f"it has no known price, and {levels[0].name} has a limit")
            unpriced = levels[0]
            continue
        full = [level for level in levels if not level.fits_spent(candidate.worst_case)]
        closed = next((level for level in full if level.action != "alert"), None)
        if closed is not None:
            _skip(decision, call, candidate, _beyond(closed, candidate))
            continue
        kept = [level for level in levels if level not in full]
        crowded = next((level for level in kept if not level.fits_now(candidate.worst_case)), None)
        if crowded is not None or (kept and others_first):
            _let_wait(decision, call, candidate, crowded or kept[0])
            return False
        alert = _beyond(full[0], candidate) if full else short.reason if short is not None else ""
        decision.emit(
            e.CallAdmitted,
            call.place,
            call.attempt,
            call_id=call.call_id,
            model=candidate.model,
            reservation=candidate.worst_case,
            price=candidate.price,
            alert=alert,
        )
        return True
    if out_of_tokens is not None:
        reason = f"The call was not made: policy 'token_budget' denies it: {out_of_tokens.reason}."
        _refuse(decision, call, POLICY_DENIED, reason)
        return True
    _refuse_all(decision, call, levels, unpriced)
    return True


def _levels(run: Run, place: Place, over: tuple[str, int, int, int] | None) -> list[Level]:
    levels: list[Level] = []
    owner = run.owner(place)
    budget = owner.planned.activity.budget
    if budget is not None:
        name = f"the budget of activity {owner.planned.key!r}"
        levels.append(Level(name, budget.limit, owner.cost, owner.reserved, budget.action))
    if run.budget is not None:
        levels.append(Level("the run's budget", run.budget.limit, run.total_cost, run.reserved, run.budget.action))
    if over is not None:
        levels.append(Level(f"budget {over[0]!r}", over[1], over[2], over[3], "abort"))
    return levels


def _beyond(level: Level, candidate: Candidate) -> str:
    return (
        f"{candidate.model} would cost up to {show(candidate.worst_case)}; "
        f"{level.name} has {show(max(0, level.limit - level.spent))} left of {show(level.limit)}"
    )


def _skip(decision: Decision, call: Call, candidate: Candidate, reason: str) -> None:
    if len(call.candidates) > 1:
        decision.emit(
            e.ModelSkipped, call.place, call.attempt, call_id=call.call_id, model=candidate.model, reason=reason
        )


def _let_wait(decision: Decision, call: Call, candidate: Candidate, level: Level) -> None:
    if call.call_id not in decision.run.waiting_calls:
        decision.emit(
            e.CallWaiting,
            call.place,
            call.attempt,
            call_id=call.call_id,
            model=candidate.model,
            needed=candidate.worst_case,
            budget=level.name,
            reserved=level.reserved,
        )


def _await_tokens(decision: Decision, call: Call, candidate: Candidate, short: Shortage) -> None:
    if call.call_id not in decision.run.waiting_calls:
        decision.emit(
            e.CallWaiting,
            call.place,
            call.attempt,
            call_id=call.call_id,
            model=candidate.model,
            needed=short.needed,
            budget=short.budget,
            reserved=short.reserved,
        )


def _refuse_all(decision: Decision, call: Call, levels: list[Level], unpriced: Level | None) -> None:
    if unpriced is not None and all(candidate.price is None for candidate in call.candidates):
        models = ", ".join(candidate.model for candidate in call.candidates)
        _refuse(
            decision,
            call,
            "unpriced_model",
            f"No price is known for {models}, so {unpriced.name} cannot be kept. Set a price, or remove the limit.",
        )
        return
    cheapest = min((c for c in call.candidates if c.price is not None), key=lambda c: c.worst_case)
    full = next(level for level in levels if level.action != "alert" and not level.fits_spent(cheapest.worst_case))
    _refuse(
        decision,
        call,
        "budget_exceeded",
        f"The call was not made: {_beyond(full, cheapest)}. Raise the limit, lower max_tokens, or add a cheaper model.",
    )


def _refuse(decision: Decision, call: Call, code: str, message: str) -> None:
    decision.emit(e.CallRefused, call.place, call.attempt, call_id=call.call_id, code=code, message=message)
