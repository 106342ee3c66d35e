"""How the events of the gate change the run: calls asked for, admitted, settled, forfeited, and what they cost.

A part of the fold, and as total as the rest of it. What a call costs is counted for its place, for its activity, and
for the run; what is reserved for it, for its activity and the run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.definition import Budget
from headgate.core.messages import correct_parent
from headgate.core.place import Place
from headgate.core.run import Call, Run
from headgate.core.token_budget import book_tokens, hold_tokens, tokens_of

__all__ = ["CALL_FOLDS", "count", "forget_calls", "spend"]


def spend(run: Run, place: Place | None, amount: int) -> None:
    """Book an amount that was spent by the run, and by the place if it is still there."""
    run.spent += amount
    if place is not None and amount:
        count(run, place, amount)


def count(run: Run, place: Place, amount: int) -> None:
    """Count an amount for the place, and for the activity where it is an item of one."""
    place.cost += amount
    place.round_cost += amount
    if place.item >= 0:
        owner = run.owner(place)
        owner.cost += amount
        owner.round_cost += amount


def _spend_of_call(run: Run, event: g.CallSettled | g.CallForfeited, call: Call, amount: int) -> None:
    """Count what a call cost, also where its item or iteration is over: the activity keeps the sum."""
    place = run.place(call.place)
    spend(run, place, amount)
    if place is None and (owner := run.owner_of(call.place)) is not None:
        owner.cost += amount
    if run.finished:
        correct_parent(run, event.version)


def _reserve(run: Run, call: Call, amount: int) -> None:
    run.reserved += amount
    owner = run.owner_of(call.place)
    if owner is not None:
        owner.reserved += amount


def _call_requested(run: Run, event: g.CallRequested) -> None:
    if event.call_id in run.calls:
        return
    call = Call(
        event.call_id,
        event.place,
        event.attempt,
        "waiting",
        candidates=event.candidates,
        since=event.at,
        request_hash=event.request_hash,
        max_cost=event.max_cost,
        shared=tuple(budget.id for budget in event.shared),
    )
    of_place = run.calls_of.setdefault(event.place, [])
    for earlier in [run.calls[call_id] for call_id in of_place]:
        if earlier.state == "waiting" and earlier.claim != call.claim:  # of a claim that is no more: it asks anew
            _forget(run, earlier)
    run.calls[event.call_id] = call
    of_place.append(event.call_id)


def _forget(run: Run, call: Call) -> None:
    run.calls.pop(call.call_id)
    run.calls_of[call.place].remove(call.call_id)
    _stop_waiting(run, call.call_id)


def _stop_waiting(run: Run, call_id: str) -> None:
    run.waiting_calls.pop(call_id, None)
    run.asking_calls.pop(call_id, None)


def _call_reused(run: Run, event: g.CallReused) -> None:
    run.calls[event.call_id] = Call(event.call_id, event.place, event.attempt, "reused", event.model, since=event.at)
    run.calls_of.setdefault(event.place, []).append(event.call_id)
    place = run.place(event.place)
    for counted in () if place is None else {place, run.owner(place)}:
        counted.reused += 1
        counted.saved += event.saved


def _call_waiting(run: Run, event: g.CallWaiting) -> None:
    call = run.calls[event.call_id]
    call.model, call.needed, call.waits_for, call.line = event.model, event.needed, event.budget, event.line
    call.limit, call.left, call.raises = event.limit, event.left, event.raises
    _stop_waiting(run, event.call_id)
    (run.asking_calls if event.asks else run.waiting_calls)[event.call_id] = None


def _call_admitted(run: Run, event: g.CallAdmitted) -> None:
    call = run.calls[event.call_id]
    asked = next((one for one in call.candidates if one.model == event.model), None)
    call.tokens = 0 if asked is None else asked.input_tokens + asked.output_tokens
    hold_tokens(run, call, call.tokens)
    call.state, call.model, call.reservation, call.price = "admitted", event.model, event.reservation, event.price
    call.candidates, call.budgets = (), event.budgets
    _stop_waiting(run, event.call_id)
    run.simulated = run.simulated or bool(event.price and event.price.simulated)
    _reserve(run, call, event.reservation)


def _call_refused(run: Run, event: g.CallRefused) -> None:
    call = run.calls[event.call_id]
    call.state, call.code, call.reason = "refused", event.code, event.message
    _stop_waiting(run, event.call_id)


def _call_settled(run: Run, event: g.CallSettled) -> None:
    call = run.calls.get(event.call_id)
    if call is None or event.outcome == "lost":
        return
    if call.state == "admitted":
        _reserve(run, call, -call.reservation)
        hold_tokens(run, call, -call.tokens)
        call.tokens = 0
    used = tokens_of(event.usage)
    book_tokens(run, call.place, used - call.tokens)
    call.tokens = used
    _spend_of_call(run, event, call, event.cost - call.spent)
    call.spent = event.cost
    call.state = "settled"
    if call.place not in run.calls_of:
        run.calls.pop(event.call_id)


def _call_forfeited(run: Run, event: g.CallForfeited) -> None:
    call = run.calls[event.call_id]
    _reserve(run, call, -call.reservation)
    hold_tokens(run, call, -call.tokens)
    book_tokens(run, call.place, call.tokens)
    _spend_of_call(run, event, call, event.amount)
    call.state, call.spent = "forfeited", event.amount


def forget_calls(run: Run, place: Place) -> None:
    """The attempt is over: keep of its calls only the forfeited, which may still be settled at what they cost."""
    for call_id in run.calls_of.pop(place.path, ()):
        _stop_waiting(run, call_id)
        if run.calls[call_id].state != "forfeited":
            del run.calls[call_id]


def _budget_overrun(run: Run, event: g.BudgetOverrun) -> None:
    run.overruns.add(event.budget)


def _budget_alert(run: Run, event: g.BudgetAlert) -> None:
    run.alerts.add(f"{event.budget}@{event.percent}")


def _budget_raised(run: Run, event: g.BudgetRaised) -> None:
    """Calls that asked about this limit ask no more: each is looked at again, if its claim still lives."""
    if event.place:
        run.raised[event.place] = event.limit
    else:
        run.budget = Budget(event.limit, run.budget.action if run.budget else "abort")
    for call in run.calls.values():
        call.refused_by = ""
        if not call.line and call.raises == event.place:
            run.asking_calls.pop(call.call_id, None)


def _budget_refused(run: Run, event: g.BudgetRefused) -> None:
    for call_id in run.asking_calls:
        call = run.calls[call_id]
        owner = run.owner_of(call.place)
        if not event.place or (owner is not None and owner.planned.key == event.place):
            call.refused_by = event.by or event.actor


def _waiting_forgotten(run: Run, event: g.WaitingForgotten) -> None:
    for call_id in list(run.waiting_calls):
        _forget(run, run.calls[call_id])


CALL_FOLDS: dict[type[e.Event], Callable[[Run, Any], None]] = {
    g.CallRequested: _call_requested,
    g.CallReused: _call_reused,
    g.CallAdmitted: _call_admitted,
    g.CallWaiting: _call_waiting,
    g.CallRefused: _call_refused,
    g.CallSettled: _call_settled,
    g.CallForfeited: _call_forfeited,
    g.BudgetOverrun: _budget_overrun,
    g.BudgetAlert: _budget_alert,
    g.BudgetRaised: _budget_raised,
    g.BudgetRefused: _budget_refused,
    g.WaitingForgotten: _waiting_forgotten,
}
