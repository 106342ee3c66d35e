"""The ledger half of the gate: which model call may be made, and what it cost in the end.

No call is admitted unless spent + reserved + its worst case <= limit, in every budget above it (action `alert`
excepted). What does not fit beside what is *spent* is passed over for the next candidate, or meets the budget's
action: it is refused, admitted with a word, or waits for a person. What fits beside what is spent but not beside what
others have *reserved* waits, first come first served, and is looked at again whenever something is settled.

Budgets of the call, the activity and the run are folded here. Budgets above the run are rows of the store that are
moved in the same transaction as the events: a command brings them as they stand (`shared`), and when one of them
refuses nevertheless, the engine decides again with what it said (`over`).
"""

from __future__ import annotations

from headgate.core import gate_events as g
from headgate.core.budget_levels import Level, beyond, own_levels
from headgate.core.codes import POLICY_DENIED, POLICY_FAILED
from headgate.core.commands import AdmitCall, FreeBudget, SettleCall
from headgate.core.decision import Decision
from headgate.core.place import Place
from headgate.core.ruling import Ruling, rule
from headgate.core.run import Call, Run
from headgate.core.token_budget import Shortage
from headgate.core.values import Candidate, SharedBudget

__all__ = ["admit", "forfeit", "free", "name_overruns", "refuse", "settle", "wake"]

SHARED_SINCE = 2
"""The revision of the decider from which on alerts are events."""


def admit(decision: Decision, command: AdmitCall, place: Place) -> None:
    """Decide a call. One that is asked for again, under the same id, is not decided again."""
    run = decision.run
    known = run.calls.get(command.call_id)
    if known is not None and (known.state != "waiting" or command.over is None):
        return
    decision.emit(
        g.CallRequested,
        place.path,
        place.attempt,
        call_id=command.call_id,
        request_hash=command.request_hash,
        candidates=command.candidates,
        over=command.over,
        passed_over=command.passed_over,
        verdicts=command.verdicts,
        max_cost=command.max_cost,
        shared=command.shared,
    )
    call = run.calls[command.call_id]
    for one in command.passed_over:
        decision.emit(
            g.ModelSkipped, place.path, place.attempt, call_id=call.call_id, model=one.model, reason=one.reason
        )
    denied = next((verdict for verdict in command.verdicts if verdict.denies), None)
    if denied is not None:
        code = POLICY_FAILED if "failed" in denied.details else POLICY_DENIED
        refuse(decision, call, code, f"Policy {denied.policy!r} denies the call: {denied.reason}.")
        return
    if (earlier := _refused_before(run, call)) is not None:
        refuse(decision, call, earlier.code, earlier.reason)
        return
    others_first = any(other != call.call_id and not run.calls[other].line for other in run.waiting_calls)
    ruling = rule(run, call, place, command.shared, command.over, others_first=others_first)
    _carry_out(decision, call, ruling, command.shared)


def _refused_before(run: Run, call: Call) -> Call | None:
    """Return the call of an earlier claim of this attempt that a person refused: the same is not asked twice."""
    for other_id in run.calls_of.get(call.place, ()):
        other = run.calls[other_id]
        if other.refused_by and other.claim != call.claim and other.request_hash == call.request_hash:
            return other
    return None


def wake(decision: Decision) -> None:
    """Look again at the calls that wait in the run's own line, in the order in which they came; stop at the first that
    still must.

    A call with budgets above the run is only looked at by `free`, one at a time: that brings how they stand.
    """
    run = decision.run
    if not run.waiting_calls:
        return
    for call_id in list(run.waiting_calls):
        call = run.calls[call_id]
        if call.line:
            continue
        if run.outer or call.shared:
            return
        place = run.place(call.place)
        if place is None:
            continue
        ruling = rule(run, call, place, (), None, others_first=False)
        _carry_out(decision, call, ruling, ())
        if ruling.kind == "wait":
            return


def free(decision: Decision, command: FreeBudget) -> None:
    """A call that waits may have room now: in a budget above the run, or because somebody raised a limit."""
    run = decision.run
    call_id = command.call_id or next(iter(run.waiting_calls), "")
    call = run.calls.get(call_id)
    if call is None or call.state != "waiting":
        return
    place = run.place(call.place)
    others_first = bool(command.call_id) and not call.line and _waits_behind_another(run, call_id)
    ruling = None
    if place is not None:
        ruling = rule(run, call, place, command.shared, command.over, others_first=others_first)
    if command.call_id and (ruling is None or _stays(run, call, ruling)):
        return
    decision.emit(
        g.BudgetFreed, budget=command.budget, over=command.over, call_id=command.call_id, shared=command.shared
    )
    if ruling is not None:
        _carry_out(decision, call, ruling, command.shared)


def _waits_behind_another(run: Run, call_id: str) -> bool:
    for other in run.waiting_calls:
        if other == call_id:
            return False
        if not run.calls[other].line:
            return True
    return False


def _stays(run: Run, call: Call, ruling: Ruling) -> bool:
    """Whether the call goes on waiting where it waits already."""
    if ruling.kind == "wait" and ruling.level is not None:
        return call.call_id in run.waiting_calls and call.line == ruling.level.id
    if ruling.kind != "ask" or ruling.level is None:
        return False
    return call.call_id in run.asking_calls and call.line == ruling.level.id


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
        g.CallSettled,
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
        budgets=call.budgets,
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
    for level in own_levels(run, owner):
        _name_overrun(decision, level, path)


def _name_overrun(decision: Decision, level: Level, path: str) -> None:
    if level.spent <= level.limit:
        return
    if level.action == "alert":
        _alert(decision, level, path, 100)
    elif level.name not in decision.run.overruns:
        decision.emit(g.BudgetOverrun, path, budget=level.name, limit=level.limit, spent=level.spent)


def _alert(decision: Decision, level: Level, path: str, percent: int) -> None:
    """Say once per run that so much of the budget is spent, or is being passed."""
    run = decision.run
    if run.decider >= SHARED_SINCE and f"{level.name}@{percent}" not in run.alerts:
        decision.emit(g.BudgetAlert, path, budget=level.name, limit=level.limit, spent=level.spent, percent=percent)


def forfeit(decision: Decision, place: Place, reason: str) -> None:
    """The attempt is over: calls that it left open are forfeited, those that waited are refused."""
    run = decision.run
    for call_id in run.calls_of.get(place.path, ()):
        call = run.calls[call_id]
        if call.state == "admitted":
            _forfeit(decision, call, reason)
        elif call.state == "waiting":
            refuse(decision, call, "attempt_over", f"The attempt ended while the call waited: {reason}.")


def _forfeit(decision: Decision, call: Call, reason: str) -> None:
    decision.emit(
        g.CallForfeited,
        call.place,
        call.attempt,
        call_id=call.call_id,
        reason=reason,
        amount=call.reservation,
        budgets=call.budgets,
    )


def _carry_out(decision: Decision, call: Call, ruling: Ruling, shared: tuple[SharedBudget, ...]) -> None:
    if len(call.candidates) > 1:
        for candidate, reason in ruling.skipped:
            decision.emit(
                g.ModelSkipped, call.place, call.attempt, call_id=call.call_id, model=candidate.model, reason=reason
            )
    _look_at_shared(decision, call, shared)
    candidate, level = ruling.candidate, ruling.level
    if ruling.kind == "admit" and candidate is not None:
        _admit(decision, call, candidate, ruling.levels, ruling.tokens)
    elif level is not None and candidate is not None:
        _let_wait(decision, call, candidate, level, asks=ruling.kind == "ask", needed=ruling.needed)
    else:
        _refuse_all(decision, call, ruling)


def _look_at_shared(decision: Decision, call: Call, shared: tuple[SharedBudget, ...]) -> None:
    """Name the budgets above the run that are overspent, or of which enough is spent that somebody wants to know."""
    for budget in shared:
        level = Level(budget.name, budget.limit, budget.spent, budget.reserved, budget.action, budget.id)
        _name_overrun(decision, level, call.place)
        if budget.warn_percent and budget.spent * 100 >= budget.limit * budget.warn_percent:
            _alert(decision, level, call.place, budget.warn_percent)


def _admit(
    decision: Decision, call: Call, candidate: Candidate, levels: tuple[Level, ...], tokens: Shortage | None
) -> None:
    full = [level for level in levels if not level.fits_spent(candidate.worst_case)]
    for level in full:
        _alert(decision, level, call.place, 100)
    decision.emit(
        g.CallAdmitted,
        call.place,
        call.attempt,
        call_id=call.call_id,
        model=candidate.model,
        reservation=candidate.worst_case,
        price=candidate.price,
        alert=beyond(full[0], candidate) if full else tokens.reason if tokens is not None else "",
        budgets=tuple(level.id for level in levels if level.id),
        beyond=tuple(level.id for level in full if level.id),
    )


def _let_wait(
    decision: Decision, call: Call, candidate: Candidate, level: Level, *, asks: bool, needed: int | None
) -> None:
    run = decision.run
    if call.call_id in run.waiting_calls and not asks and call.line == level.id:
        return
    decision.emit(
        g.CallWaiting,
        call.place,
        call.attempt,
        call_id=call.call_id,
        model=candidate.model,
        needed=candidate.worst_case if needed is None else needed,
        budget=level.name,
        reserved=level.reserved,
        line=level.id,
        asks=asks,
        limit=level.limit if asks else 0,
        left=max(0, level.limit - level.spent) if asks else 0,
        raises=level.key if asks else "",
    )


def _refuse_all(decision: Decision, call: Call, ruling: Ruling) -> None:
    if ruling.tokens is not None:
        reason = f"The call was not made: policy 'token_budget' denies it: {ruling.tokens.reason}."
        refuse(decision, call, POLICY_DENIED, reason)
        return
    if not ruling.levels:
        models = ", ".join(candidate.model for candidate in call.candidates)
        whose = ruling.unpriced.name if ruling.unpriced is not None else "the budget"
        refuse(
            decision,
            call,
            "unpriced_model",
            f"No price is known for {models}, so {whose} cannot be kept. Set a price, or remove the limit.",
        )
        return
    cheapest = min((c for c in call.candidates if c.price is not None), key=lambda c: c.worst_case)
    refuse(
        decision,
        call,
        "budget_exceeded",
        f"The call was not made: {beyond(ruling.levels[0], cheapest)}. "
        "Raise the limit, lower max_tokens, or add a cheaper model.",
    )


def refuse(decision: Decision, call: Call, code: str, message: str) -> None:
    """Record that the call may not be made."""
    decision.emit(g.CallRefused, call.place, call.attempt, call_id=call.call_id, code=code, message=message)
