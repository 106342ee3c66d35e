"""How the graph moves when an activity ends: edges are decided, targets become ready, loops come to their end.

Only the fold calls this. Whatever needs a decision (a condition, a loop, something ready) is put on the run's lists,
which `conclude` works off in the same append. The cost of an end is the number of the activity's out-edges.
"""

from __future__ import annotations

from headgate.core.place import Place
from headgate.core.run import Run

__all__ = ["begin", "close", "decide_edge", "end_loop", "opened", "repeat_loop", "restart"]

UNDECIDED, APPLIES, DROPPED = 0, 1, 2


def begin(run: Run) -> None:
    """Make ready what depends on nothing."""
    for place in run.places:
        if not place.planned.needs:
            run.ready[place.planned.index] = None


def opened(run: Run, place: Place) -> None:
    """It was decided what becomes of the activity: it is up for decision no more."""
    if place.item < 0:
        run.ready.pop(place.planned.index, None)
        run.resumed.pop(place.planned.index, None)
        place.again = False


def close(run: Run, place: Place) -> None:
    """The activity of `place` has just ended: tell its loops and its successors."""
    index = place.planned.index
    run.open -= 1
    run.ready.pop(index, None)
    for number in place.planned.loops:
        loop = run.loops[number]
        loop.open -= 1
        if not loop.open:
            _consider_loop(run, number)
    for number in place.planned.outgoing:
        _release(run, number)


def _release(run: Run, number: int) -> None:
    """Decide the edge, or put it up for decision, if its source has ended and every loop that holds it is over."""
    edge = run.plan.graph.edges[number]
    source = run.places[edge.source]
    if run.edges[number] or not source.ended:
        return
    for loop in edge.held_by:
        if not run.loops[loop].over:
            return
    went_well = source.status == "completed" or (
        source.status == "failed" and source.planned.activity.on_failure == "continue"
    )
    if not edge.conditions:
        decide_edge(run, number, applies=went_well)
    elif went_well or run.plan.handles[number]:
        run.edges_due[number] = None
    else:
        decide_edge(run, number, applies=False)


def decide_edge(run: Run, number: int, *, applies: bool) -> None:
    """Record the edge's decision and see whether its target is ready now, or never will be."""
    run.edges_due.pop(number, None)
    if run.edges[number]:
        return
    edge = run.plan.graph.edges[number]
    target = edge.target
    run.edges[number] = APPLIES if applies else DROPPED
    run.pending[target] -= 1
    if applies:
        run.applied[target] += 1
    elif not edge.conditions:
        run.dropped[target] = 1
    if run.places[target].status == "not_scheduled" and can_be_opened_or_skipped(run, target):
        run.ready[target] = None


def can_be_opened_or_skipped(run: Run, index: int) -> bool:
    """Return whether it is settled that the activity runs, or that it will not."""
    if not run.pending[index]:
        return True
    join = run.plan.activities[index].activity.join
    if join == "any":
        return run.applied[index] > 0
    refused = (
        run.dropped[index]
        if join == "default"
        else len(run.plan.activities[index].incoming) - run.pending[index] > run.applied[index]
    )
    return bool(refused)


def _consider_loop(run: Run, number: int) -> None:
    """Put the loop up for decision once all of its body has ended and its inner loops are over."""
    loop = run.loops[number]
    if not loop.over and not loop.open and all(run.loops[inner].over for inner in run.plan.graph.loops[number].inner):
        run.loops_due[number] = None


def end_loop(run: Run, number: int) -> None:
    """The loop is over: what it held may go on."""
    run.loops_due.pop(number, None)
    run.loops[number].over = True
    for index in sorted(run.plan.graph.loops[number].body):
        for edge in run.plan.activities[index].outgoing:
            if number in run.plan.graph.edges[edge].held_by:
                _release(run, edge)
    for outer, loop in enumerate(run.plan.graph.loops):
        if number in loop.inner:
            _consider_loop(run, outer)


def repeat_loop(run: Run, number: int) -> None:
    """The loop goes round again: all of its body starts anew, inner loops from iteration 0, and the head is ready."""
    run.loops_due.pop(number, None)
    shape = run.plan.graph.loops[number]
    iteration = run.loops[number].iteration + 1
    for inner in shape.inner:
        run.loops[inner].iteration = 0
    run.loops[number].iteration = iteration
    for index in shape.body:
        place = run.places[index]
        place.round += 1
        place.path = f"{place.planned.key}@{place.round}"
        place.iteration = run.loops[place.planned.innermost].iteration
        place.attempt = place.round_cost = 0
        place.fan = None
        place.approved = False
    _reopen(run, sorted(shape.body))
    run.places[shape.head].again = True
    run.ready[shape.head] = None


def restart(run: Run, indices: list[int]) -> None:
    """Let these activities of a finished run start anew.

    Every activity has ended here, so all counts begin at nought. Those that stay completed are asked again: what ended
    while the run was being cancelled has told neither its successors nor its loops.
    """
    run.open = 0
    for loop in run.loops:
        loop.open = 0
    _reopen(run, indices)
    for place in run.places:
        if place.ended:
            for number in place.planned.outgoing:
                _release(run, number)
    for number in range(len(run.loops)):
        _consider_loop(run, number)
    for index in indices:
        if can_be_opened_or_skipped(run, index):
            run.ready[index] = None


def _reopen(run: Run, indices: list[int]) -> None:
    """Let these ended activities start anew; edges between them, and loops around them, are undecided again."""
    again = set(indices)
    for index in indices:
        place = run.places[index]
        _renew(place)
        run.open += 1
        run.ready.pop(index, None)
        for number in place.planned.loops:
            run.loops[number].open += 1
            run.loops[number].over = False
            run.loops_due.pop(number, None)
    for index in indices:
        _forget_edges(run, index, again)


def _renew(place: Place) -> None:
    place.status = "not_scheduled"
    place.failures = place.lost = place.signal = 0
    place.code = place.error = ""
    place.started_at = place.ended_at = place.scheduled_at = 0
    place.wait = None


def _forget_edges(run: Run, index: int, sources: set[int]) -> None:
    """Make the activity's edges from `sources` undecided again and count afresh."""
    edges = run.plan.graph.edges
    incoming = run.plan.activities[index].incoming
    for number in incoming:
        if edges[number].source in sources:
            run.edges[number] = UNDECIDED
            run.edges_due.pop(number, None)
    run.pending[index] = sum(run.edges[number] == UNDECIDED for number in incoming)
    run.applied[index] = sum(run.edges[number] == APPLIES for number in incoming)
    run.dropped[index] = any(run.edges[number] == DROPPED and not edges[number].conditions for number in incoming)
