"""What holds of every story: it can be brought to an end, in order, with one outcome an attempt."""

from __future__ import annotations

from collections import Counter

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.plan import Plan, compile_plan
from headgate.testing.rehearsal import Rehearsal

__all__ = ["bring_to_an_end", "check_order", "check_outcomes"]

ENDS_MAX = 3_000
"""So many commands bring any run of `definitions` to its end; one that needs more hangs."""


def bring_to_an_end(run: Rehearsal) -> None:
    """Answer whatever the run waits for until it has ended. Raises `AssertionError` where it never does."""
    for _ in range(ENDS_MAX):
        if run.run.finished:
            return
        caused = run.feed(_answer(run))
        assert caused, f"the run is {run.run.status} and an answer to what it waits for changed nothing"
    raise AssertionError(f"the run does not end: {run.statuses}")


def _answer(rehearsal: Rehearsal) -> c.Command:
    run, at = rehearsal.run, rehearsal.at
    if run.status == "paused":
        return c.Resume(at=at)
    if run.tasks:
        path, place = next(iter(run.tasks.items()))
        return c.CompleteActivity(at=at, place=path, attempt=place.attempt, output={"yes": True, "no": False})
    if run.messages:
        return c.ConfirmMessage(at=at, message=next(iter(run.messages)))
    for place in run.live_places():
        wait = place.wait
        if wait and wait.kind == "signal":
            return c.Signal(at=at, name=wait.name, key=place.planned.key)
        if wait and wait.kind == "approval":
            return c.DecideApproval(at=at, key=place.path)
        if wait and wait.kind == "child":
            return c.FinishChild(
                at=at, place=place.path, attempt=place.attempt, child_run=wait.child_run, status="completed"
            )
    assert run.attention_at is not None, f"the run is {run.status} and nothing will ever happen: {rehearsal.statuses}"
    rehearsal.at = max(at, run.attention_at)
    return c.Tick(at=rehearsal.at)


OUTCOMES = (e.ActivityCompleted, e.AttemptFailed, e.AttemptTimedOut, e.AttemptLost)


def check_outcomes(run: Rehearsal) -> None:
    """Check that of one attempt at most one outcome is recorded."""
    counts = Counter((event.place, event.attempt) for event in run.kinds(*OUTCOMES))
    twice = [attempt for attempt, count in counts.items() if count > 1]
    assert not twice, f"two outcomes of {twice}"


ENDS = (e.ActivityCompleted, e.ActivityResolved, e.ActivityFailed, e.ActivitySkipped, e.ActivityCancelled)
OPENS = (e.ActivityScheduled, e.ActivityWaiting, e.FanOutOpened, e.ActivityResolved)


def check_order(run: Rehearsal) -> None:
    """Check, from the events and the graph alone, that nothing began before what it depends on had ended, and nothing
    behind a loop before the loop was over."""
    order = _Order(compile_plan(run.definition))
    for event in run.events:
        order.look_at(event)


class _Order:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ended: dict[int, str] = {}
        self._begun: set[int] = set()
        self._over: set[int] = set()

    def look_at(self, event: e.Event) -> None:
        index = self._plan.index.get(event.place.partition("@")[0])
        if isinstance(event, e.LoopDecided):
            self._decide_loop(event)
        elif isinstance(event, e.RunRetried):
            self._begin_again(
                {number for number in range(len(self._plan.activities)) if self._ended.get(number) != "completed"}
            )
        elif index is not None:
            if isinstance(event, OPENS) and index not in self._begun:
                self._check(index)
                self._begun.add(index)
            if isinstance(event, ENDS):
                completed = isinstance(event, e.ActivityCompleted | e.ActivityResolved)
                self._ended[index] = "completed" if completed else "otherwise"

    def _decide_loop(self, event: e.LoopDecided) -> None:
        loop = self._plan.graph.loops[event.loop]
        if event.again:
            self._over -= {event.loop, *loop.inner}
            self._begin_again(set(loop.body))
        else:
            self._over.add(event.loop)

    def _begin_again(self, indices: set[int]) -> None:
        self._begun -= indices
        for index in indices:
            self._ended.pop(index, None)

    def _check(self, index: int) -> None:
        planned = self._plan.activities[index]
        edges = [self._plan.graph.edges[number] for number in planned.incoming]
        decided = [edge.source in self._ended and self._over >= set(edge.held_by) for edge in edges]
        enough = any(decided) if planned.activity.join == "any" else all(decided)
        assert enough or not edges, f"{planned.key} began before what it depends on had ended"
