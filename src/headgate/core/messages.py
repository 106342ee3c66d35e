"""What a run has to tell other runs: its children that they are to end, its parent how it ended and what it cost.

What the parent hears of the cost is a function of the log, so that its sum comes out the same whatever is told twice,
late, or in another order: the cost at the run's first end (`cost_at_end`), and behind that one correction for each
event that changed the total of the run after it had ended: a call that was settled late, a child's late cost, a retry.
"""

from __future__ import annotations

from headgate.core.place import Place
from headgate.core.run import Message, Run

__all__ = ["CORRECTED_SINCE", "correct_parent", "tell_child", "tell_parent"]

CORRECTED_SINCE = 3
"""The revision of the rules by which a run tells corrections; before it the parent was told a cost that may hold them
already."""


def tell_child(run: Run, place: Place) -> None:
    """The place's child is to end: nobody waits for it any more."""
    assert place.wait is not None
    child = place.wait.child_run
    run.messages.pop(f"start:{child}", None)
    run.messages[f"cancel:{child}"] = Message(f"cancel:{child}", "cancel_child", place.path, place.attempt, child)


def tell_parent(run: Run, version: int) -> None:
    """The run has ended with the event of this version. After a retry it tells the cost of its first end again, which
    may or may not have been heard, and what came to it since as a correction."""
    if run.parent is None:
        return
    if run.cost_at_end is None:
        run.cost_at_end = run.total_cost
    parent, place, attempt = run.parent
    run.messages["parent"] = Message("parent", "tell_parent", place, attempt, parent, amount=run.cost_at_end)
    correct_parent(run, version)


def correct_parent(run: Run, version: int) -> None:
    """Tell the parent, if there is one, what the event of this version has changed of the cost of a run that has
    ended."""
    if run.parent is None or run.cost_at_end is None or run.decider < CORRECTED_SINCE:
        return
    amount = run.total_cost - run.cost_at_end - run.corrected
    if not amount:
        return
    run.corrected += amount
    parent, place, attempt = run.parent
    message = f"cost:{version}"
    run.messages[message] = Message(message, "correct_parent", place, attempt, parent, amount=amount, of=version)
