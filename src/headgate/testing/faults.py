"""What must hold of any run after any command, checked on its control state: the invariants as a list of faults."""

from __future__ import annotations

from collections.abc import Iterator

from headgate.core.place import Place
from headgate.core.run import Run

__all__ = ["faults_of", "limits_passed"]

WAITS_FOR_OTHERS = frozenset({"signal", "approval", "child"})
"""What may be waited for without a time limit."""


def faults_of(run: Run) -> list[str]:
    """Return every invariant that does not hold, in words. An empty list is what a test expects."""
    return [*_ends(run), *_counts(run), *_tasks_and_timers(run), *_money(run)]


def _ends(run: Run) -> Iterator[str]:
    for name in ("edges_due", "loops_due", "ready", "fans_due", "resumed"):
        if getattr(run, name):
            yield f"{name} was not worked off: {getattr(run, name)}"
    if run.finished:
        for name in ("tasks", "approvals", "timers", "waiting_calls", "asking_calls"):
            if getattr(run, name):
                yield f"the run is {run.status} and has {name}: {list(getattr(run, name))}"
        open_places = [place.path for place in run.places if not place.ended]
        if open_places:
            yield f"the run is {run.status} and {open_places} have not ended"
    elif run.version and not (run.tasks or run.timers or run.messages or any(map(_waits, run.live_places()))):
        yield f"the run is {run.status} and waits for nothing that has a name"


def _waits(place: Place) -> bool:
    return place.wait is not None and place.wait.kind in WAITS_FOR_OTHERS


def _counts(run: Run) -> Iterator[str]:
    if run.finished or run.status == "cancelling":
        return
    still_open = sum(not place.ended for place in run.places)
    if run.open != still_open:
        yield f"{still_open} activities are open; the run counts {run.open}"
    for number, loop in enumerate(run.loops):
        body = run.plan.graph.loops[number].body
        still_open = sum(not run.places[index].ended for index in body)
        if loop.open != still_open:
            yield f"loop {number} has {still_open} open activities; it counts {loop.open}"
    for index, planned in enumerate(run.plan.activities):
        pending = sum(not run.edges[edge] for edge in planned.incoming)
        applied = sum(run.edges[edge] == 1 for edge in planned.incoming)
        if (run.pending[index], run.applied[index]) != (pending, applied):
            yield f"{planned.key}: {pending} edges are undecided and {applied} apply; it counts otherwise"
        if not pending and run.places[index].status == "not_scheduled":
            yield f"{planned.key} could be opened or skipped and was not"
    for place in run.places:
        fan = place.fan
        if fan and place.status == "waiting" and fan.done + len(fan.live) + _unbegun(place) != fan.count:
            yield f"{place.path} has {fan.count} items, of which some are neither done, under way nor to come"


def _unbegun(place: Place) -> int:
    fan = place.fan
    assert fan is not None
    return sum(not status and item not in fan.live for item, status in enumerate(fan.statuses))


def _tasks_and_timers(run: Run) -> Iterator[str]:
    if run.finished:
        return
    live = {place.path: place for place in run.live_places()}
    scheduled = {path for path, place in live.items() if place.status == "scheduled"}
    if scheduled != set(run.tasks):
        yield f"scheduled are {sorted(scheduled)}, tasks are {sorted(run.tasks)}"
    asked = {path for path, place in live.items() if place.wait is not None and place.wait.kind == "approval"}
    if asked != set(run.approvals):
        yield f"people are asked about {sorted(asked)}, approvals are {sorted(run.approvals)}"
    for path, kind in run.timers:
        place = live.get(path)
        waits_for = "approval" if kind == "reminder" else kind
        if path and (place is None or place.wait is None or place.wait.kind != waits_for):
            yield f"the timer {kind!r} of {path!r} belongs to nothing that waits"
    for path, place in live.items():
        wait = place.wait
        if (
            place.status == "waiting"
            and wait is not None
            and wait.until is not None
            and (path, wait.kind) not in run.timers
        ):
            yield f"{path} waits until a time that no timer knows"


def _money(run: Run) -> Iterator[str]:
    admitted = [call for call in run.calls.values() if call.state == "admitted"]
    for call in admitted:
        place = run.tasks.get(call.place)
        if place is None or place.attempt != call.attempt:
            yield f"call {call.call_id} is admitted, and its attempt is over"
    if run.reserved != sum(call.reservation for call in admitted):
        yield f"{run.reserved} are reserved, and the open calls reserve {sum(call.reservation for call in admitted)}"
    if sum(place.reserved for place in run.places) != run.reserved:
        yield "what the activities have reserved is not what the run has reserved"
    if sum(place.cost for place in run.places) != run.total_cost:
        yield f"the activities cost {sum(place.cost for place in run.places)}, the run {run.total_cost}"
    told = (run.cost_at_end or 0) + run.corrected
    if run.parent and run.finished and told != run.total_cost:
        yield f"the run cost {run.total_cost}, and its parent is told {told}"
    for call_id in (*run.waiting_calls, *run.asking_calls):
        if run.calls[call_id].state != "waiting" or run.calls[call_id].place not in run.tasks:
            yield f"call {call_id} waits for money, and nobody waits for it"


def limits_passed(run: Run) -> list[str]:
    """Return every limit that is passed by what is spent and reserved. Expect none, unless somebody reported a cost
    above its reservation."""
    levels = [("the run", run.budget, run.total_cost + run.reserved)]
    levels += [(place.path, run.budget_of(place.planned.key), place.cost + place.reserved) for place in run.places]
    return [
        f"{name} has {amount} spent and reserved, above its limit of {budget.limit}"
        for name, budget, amount in levels
        if budget is not None and budget.action != "alert" and amount > budget.limit
    ]
