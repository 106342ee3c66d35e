"""What people decide about budgets: they raise a limit, or refuse the calls that ask for it."""

from __future__ import annotations

from headgate.core import gate_events as g
from headgate.core.admission import refuse, wake
from headgate.core.commands import ForgetWaiting, RaiseBudget, RefuseCalls
from headgate.core.decision import Decision
from headgate.core.errors import Invalid, NotFound, Refused
from headgate.core.money import show
from headgate.core.run import Call, Run

__all__ = ["forget_waiting", "question", "raise_budget", "refuse_calls"]


def raise_budget(decision: Decision, command: RaiseBudget) -> None:
    """Raise a limit. Calls that only wait for others may go on at once; those that asked are looked at by `free`,
    for only a claim that still lives can make them. The same limit again: nothing."""
    run = decision.run
    _must_know(run, command.key)
    budget = run.budget_of(command.key)
    whose = f"activity {command.key!r}" if command.key else f"run {run.id}"
    if budget is None:
        raise Refused(f"{whose[0].upper()}{whose[1:]} has no budget, so there is no limit to raise.")
    if command.limit == budget.limit:
        return
    if command.limit < budget.limit:
        raise Invalid(
            f"The budget of {whose} is {show(budget.limit)}; expected a higher limit to raise it to, "
            f"got {show(command.limit)}."
        )
    decision.emit(g.BudgetRaised, command.key, limit=command.limit, was=budget.limit, by=command.by)
    wake(decision)


def refuse_calls(decision: Decision, command: RefuseCalls) -> None:
    """Refuse the calls that ask: their attempts fail as if the action were `abort`."""
    run = decision.run
    _must_know(run, command.key)
    asking = [call for call_id in run.asking_calls if _is_of(run, call := run.calls[call_id], command.key)]
    if not asking:
        where = f" of activity {command.key!r}" if command.key else ""
        raise Refused(f"No call{where} of run {run.id} waits for a person to raise a limit.")
    decision.emit(g.BudgetRefused, command.key, by=command.by)
    for call in asking:
        refuse(decision, call, "budget_exceeded", f"{command.by or 'A person'} refused: {question(call)}.")


def forget_waiting(decision: Decision, command: ForgetWaiting) -> None:
    """Nobody listens any more for what these calls wait for. Calls that ask stay, so that people can answer."""
    if decision.run.waiting_calls:
        decision.emit(g.WaitingForgotten, reason=command.reason)


def question(call: Call) -> str:
    """Return what a call that asks would cost, and what is left."""
    return (
        f"{call.model} would cost up to {show(call.needed)}; "
        f"{call.waits_for} has {show(call.left)} left of {show(call.limit)}"
    )


def _is_of(run: Run, call: Call, key: str) -> bool:
    owner = run.owner_of(call.place)
    return not key or (owner is not None and owner.planned.key == key)


def _must_know(run: Run, key: str) -> None:
    if key and key not in run.plan.index:
        raise NotFound(f"Run {run.id} has no activity {key!r}.")
