"""A run as people and programs see it: made of control state and contents, the same for every door.

Times are microseconds since 1970 (UTC), money is nano-dollars.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.core.explain import explain_place, explain_run, needed_limit
from headgate.core.names import Values
from headgate.core.place import Place
from headgate.core.run import Call, Run

__all__ = [
    "PlaceView",
    "RunSummary",
    "RunView",
    "output_of",
    "output_versions",
    "outputs_of",
    "result_versions",
    "view_run",
]

ITEMS_SHOWN_MAX = 1_000


class PlaceView(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One activity, or one item of it (`items` of its activity)."""

    key: str
    place: str
    name: str
    status: str
    """`running` stands for scheduled: handed, or about to be handed, to a worker."""
    attempt: int = 0
    iteration: int = 0
    output: Any = None
    error_code: str = ""
    error: str = ""
    """Why it failed, was skipped, or is tried again."""
    waiting_for: str = ""
    waits: str = ""
    """What kind of thing it waits for: retry, delay, signal, timer, approval, child, items, or budget (a person)."""
    until: int = 0
    """When the wait ends by itself; 0: never."""
    scheduled_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    cost: int = 0
    """Over all attempts and iterations."""
    reserved: int = 0
    limit: int | None = None
    needed_limit: int = 0
    """Of one that waits for a person to raise a limit: to how much at least."""
    raises: str = ""
    """Whose limit that is: an activity's key; empty: the run's, or that of the budget above the run, `line`."""
    line: str = ""
    worker: str = ""
    input_hash: str = ""
    reused: int = 0
    """How many of its outputs, over iterations and items, are those of equal attempts before."""
    saved: int = 0
    """What those attempts cost."""
    child_run: str = ""
    count: int | None = None
    """Of a fan-out: how many items it has in all."""
    done: int = 0
    items: tuple[PlaceView, ...] = ()
    """Of a fan-out: the items that are under way or have failed, at most a thousand."""


class RunSummary(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A run as a list shows it."""

    id: str
    workflow: str
    definition: str
    status: str
    created_at: int
    updated_at: int
    finished_at: int | None = None
    cost: int = 0
    reserved: int = 0
    limit: int | None = None
    simulated: bool = False
    error: str = ""
    trace_id: str = ""
    tenant: str = "default"
    labels: dict[str, str] = {}
    erased: bool = False
    """Its contents were erased."""


class RunView(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A run with its activities."""

    id: str
    workflow: str
    definition: str
    status: str
    version: int
    """The version of the newest event that this view holds."""
    trace_id: str
    mode: str
    created_at: int
    updated_at: int
    finished_at: int | None = None
    error_code: str = ""
    error: str = ""
    waiting_for: str = ""
    cost: int = 0
    reserved: int = 0
    limit: int | None = None
    simulated: bool = False
    """The prices of at least one call were notional (demo models)."""
    saved: int = 0
    """What the results that were reused cost when they were made."""
    input: Any = None
    outputs: Any = None
    """The workflow's `outputs`; without any, those of the activities that nothing depends on. Only when completed."""
    activities: tuple[PlaceView, ...] = ()
    parent: str = ""
    labels: dict[str, str] = {}
    erased: bool = False
    """Its contents were erased."""


def view_run(run: Run, values: Values, now: int) -> RunView:
    """Return the view of a run. Contents that are not in `values` are shown as null."""
    return RunView(
        id=run.id,
        workflow=run.plan.definition.name,
        definition=run.plan.version,
        status=run.shown_status,
        version=run.version,
        trace_id=run.trace_id,
        mode=run.mode,
        created_at=run.started_at,
        updated_at=run.at,
        finished_at=run.finished_at or None,
        error_code=run.code,
        error=run.error,
        waiting_for=explain_run(run, now),
        cost=run.total_cost,
        reserved=run.reserved,
        limit=run.limit,
        simulated=run.simulated,
        saved=sum(place.saved for place in run.places),
        input=values.get(1),
        outputs=outputs_of(run, values) if run.status == "completed" else None,
        activities=tuple(_view_place(run, place, values, now) for place in run.places),
        parent=run.parent[0] if run.parent else "",
        labels=run.labels,
    )


def output_of(place: Place, values: Values) -> Any:
    """Return the place's newest output; of a fan-out the list of its items' outputs, null where there is none."""
    if place.fan:
        return [values.get(version) for version in place.fan.refs] if place.status == "completed" else None
    return values.get(place.ref) if place.ref else None


def output_versions(place: Place) -> set[int]:
    """Return the versions that hold the place's newest output."""
    return {version for version in (place.fan.refs if place.fan else [place.ref]) if version}


def outputs_of(run: Run, values: Values) -> Any:
    """Return what a completed run came to (see `result_versions` for the contents it takes)."""
    if run.plan.outputs is not None:
        return values.get(run.outputs_version)
    ends = [run.places[index] for index in run.plan.terminals]
    return {place.planned.key: output_of(place, values) for place in ends if place.status == "completed"}


def result_versions(run: Run) -> set[int]:
    """Return the versions that hold what the run came to."""
    if run.plan.outputs is not None:
        return {run.outputs_version} - {0}
    return set[int]().union(*(output_versions(run.places[index]) for index in run.plan.terminals))


def _asks(run: Run, place: Place) -> Call | None:
    found = (run.calls[call_id] for call_id in run.calls_of.get(place.path, ()) if call_id in run.asking_calls)
    return next(found, None)


def _view_place(run: Run, place: Place, values: Values, now: int) -> PlaceView:
    activity = place.planned.activity
    fan = place.fan
    view = PlaceView(
        key=activity.key,
        place=place.path,
        name=activity.name or ("workflow" if activity.workflow else "signal"),
        status="running" if place.status == "scheduled" or (fan and place.status == "waiting") else place.status,
        attempt=place.attempt,
        iteration=place.iteration,
        output=output_of(place, values),
        error_code=place.code,
        error=place.error,
        waiting_for=explain_place(run, place, now),
        scheduled_at=place.scheduled_at,
        started_at=place.started_at,
        ended_at=place.ended_at,
        cost=place.cost,
        reserved=place.reserved,
        worker=place.worker,
        input_hash=place.input_hash,
        reused=place.reused,
        saved=place.saved,
    )
    budget = run.budget_of(activity.key)
    asks = _asks(run, place) if run.asking_calls else None
    if fan is None and place.wait is None and budget is None and asks is None:
        return view
    live = tuple(fan.live.values())[:ITEMS_SHOWN_MAX] if fan and place.item < 0 else ()
    return msgspec.structs.replace(
        view,
        waits=place.wait.kind if place.wait else "budget" if asks else "",
        needed_limit=needed_limit(asks) if asks else 0,
        raises=asks.raises if asks else "",
        line=asks.line if asks else "",
        until=(place.wait.until or 0) if place.wait else 0,
        limit=budget.limit if budget and place.item < 0 else None,
        child_run=place.wait.child_run if place.wait else "",
        count=fan.count if fan and place.item < 0 else None,
        done=fan.done if fan and place.item < 0 else 0,
        items=tuple(_view_place(run, item, values, now) for item in live),
    )
