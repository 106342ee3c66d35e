"""The events of the gate: what became of each model call that a run asked for, and of the budgets above it."""

from __future__ import annotations

from typing import Literal

from headgate.core.events import Event, Fact
from headgate.core.values import CallError, Candidate, PassedOver, Price, SharedBudget, Usage, Verdict

__all__ = [
    "BudgetAlert",
    "BudgetFreed",
    "BudgetOverrun",
    "BudgetRaised",
    "BudgetRefused",
    "CallAdmitted",
    "CallForfeited",
    "CallRefused",
    "CallRequested",
    "CallReused",
    "CallSettled",
    "CallWaiting",
    "ModelSkipped",
    "WaitingForgotten",
]

# --- Model calls -------------------------------------------------------------------------------------------------


class CallRequested(Fact, frozen=True, gc=False, array_like=True, tag="call_requested"):
    """An attempt asks to make a model call; candidates in order of preference, dearest case of each."""

    call_id: str
    request_hash: str
    candidates: tuple[Candidate, ...]
    over: tuple[str, int, int, int] | None = None
    """Of the first outer budget that did not admit it: id, limit, spent, reserved (as the store said)."""
    passed_over: tuple[PassedOver, ...] = ()
    """Models that the list had before these: what was wrong with them."""
    verdicts: tuple[Verdict, ...] = ()
    """What the policies made of the request."""
    max_cost: int | None = None
    """The most that this one call may cost, where the activity says so."""
    shared: tuple[SharedBudget, ...] = ()
    """The budgets above the run that concern the call, as the store said."""


class CallReused(Fact, frozen=True, gc=False, array_like=True, tag="call_reused"):
    """A model call was not made: an equal one to `model` was answered before, and its answer (or a part of it, of
    texts to embed) was taken. The answer itself is not in the log."""

    call_id: str
    request_hash: str
    model: str
    saved: int = 0
    """Nano-dollars that what was taken had cost."""
    simulated: bool = False
    """`saved` is at the notional prices of demo models."""
    verdicts: tuple[Verdict, ...] = ()
    """What the policies made of the request."""


class ModelSkipped(Event, frozen=True, gc=False, array_like=True, tag="model_skipped"):
    """A candidate was passed over."""

    call_id: str
    model: str
    reason: str


class CallAdmitted(Event, frozen=True, gc=False, array_like=True, tag="call_admitted"):
    """The call may be made; `reservation` nano-dollars are reserved for it in every budget above it."""

    call_id: str
    model: str
    reservation: int
    price: Price | None = None
    alert: str = ""
    """Under the action `alert`: which budget it goes beyond."""
    budgets: tuple[str, ...] = ()
    """The budgets above the run in which it reserves, too."""
    beyond: tuple[str, ...] = ()
    """Those of them whose limit it goes beyond, for their action is `alert`."""


class CallWaiting(Event, frozen=True, gc=False, array_like=True, tag="call_waiting"):
    """The call fits beside what is spent but not beside what other calls have reserved: it waits its turn. Or, under
    the action `ask`, it does not fit beside what is spent: it waits for a person."""

    call_id: str
    model: str
    needed: int
    budget: str
    reserved: int
    line: str = ""
    """The id of the budget above the run that it waits for; empty: one of the run's own."""
    asks: bool = False
    """It waits for a person to raise the limit, or to refuse."""
    limit: int = 0
    left: int = 0
    raises: str = ""
    """Whose limit is asked about: an activity's key; empty: the run's, or that of `line`."""


class CallRefused(Event, frozen=True, gc=False, array_like=True, tag="call_refused"):
    """The call may not be made."""

    call_id: str
    code: str
    message: str


class CallSettled(Fact, frozen=True, gc=False, array_like=True, tag="call_settled"):
    """How a call ended: what it used and cost, that it was never sent, or that nobody knows."""

    call_id: str
    outcome: Literal["used", "never_sent", "lost"]
    usage: Usage | None = None
    cost: int = 0
    released: int = 0
    """The reservation that is free again."""
    replaces: int = 0
    """What was counted as spent for this call before (a forfeit), and is not any more."""
    error: CallError | None = None
    verdicts: tuple[Verdict, ...] = ()
    """What the policies made of the answer."""
    budgets: tuple[str, ...] = ()
    """The budgets above the run that it had reserved in."""


class CallForfeited(Event, frozen=True, gc=False, array_like=True, tag="call_forfeited"):
    """Nobody can say what the call cost: its whole reservation counts as spent."""

    call_id: str
    reason: str
    amount: int = 0
    budgets: tuple[str, ...] = ()
    """The budgets above the run that it had reserved in."""


# --- Budgets -----------------------------------------------------------------------------------------------------


class BudgetFreed(Fact, frozen=True, gc=False, array_like=True, tag="budget_freed"):
    """A call that waited may go on: something was settled, or a limit was raised."""

    budget: str
    over: tuple[str, int, int, int] | None = None
    call_id: str = ""
    """The call that is looked at; empty: the first one that waits."""
    shared: tuple[SharedBudget, ...] = ()
    """The budgets above the run that concern it, as the store said."""


class BudgetRaised(Fact, frozen=True, gc=False, array_like=True, tag="budget_raised"):
    """Somebody raised the limit of the run, or of the activity at `place`."""

    limit: int
    was: int
    by: str = ""


class BudgetRefused(Fact, frozen=True, gc=False, array_like=True, tag="budget_refused"):
    """Somebody refused the calls that asked for a higher limit: all of the run, or those of the activity at `place`."""

    by: str = ""


class WaitingForgotten(Fact, frozen=True, gc=False, array_like=True, tag="waiting_forgotten"):
    """The process in which calls waited for money has ended: they held none, and their attempts ask anew."""

    reason: str


class BudgetAlert(Event, frozen=True, gc=False, array_like=True, tag="budget_alert"):
    """Of a budget so much is spent (`percent` of its limit) that people want to know; once per run and budget."""

    budget: str
    limit: int
    spent: int
    percent: int = 100


class BudgetOverrun(Event, frozen=True, gc=False, array_like=True, tag="budget_overrun"):
    """Spend passed a limit by what was reported above its reservation; nothing more is admitted."""

    budget: str
    limit: int
    spent: int
