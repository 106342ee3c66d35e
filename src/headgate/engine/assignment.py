"""A claim as a worker gets it: the rendered parameters, and what its code may know beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from headgate.core.names import Names
from headgate.core.place import Place
from headgate.core.run import Run
from headgate.core.scope import View
from headgate.core.values import Assignment
from headgate.core.view import output_of
from headgate.engine.cache import caches_calls
from headgate.engine.rendering import Rendered
from headgate.ports import Claim

__all__ = ["assignment_of"]


def assignment_of(
    claim: Claim,
    run: Run,
    place: Place,
    rendered: Rendered,
    values: Mapping[int, object],
    *,
    shared_left: int | None = None,
) -> Assignment:
    """Return the task. `shared_left` is the least that is left of any budget above the run, where there is one."""
    activity = place.planned.activity
    owner = run.owner(place)
    limits = [run.limit - run.total_cost] if run.limit is not None else []
    if (budget := run.budget_of(activity.key)) is not None:
        limits.append(budget.limit - owner.cost)
    if shared_left is not None:
        limits.append(shared_left)
    return Assignment(
        activity_id=claim.activity_id,
        workflow_id=run.id,
        activity_key=activity.key,
        place=place.path,
        activity_name=activity.name,
        worker=activity.queue,
        parameters=rendered.parameters,
        settings=_settings(run, place, values),
        timeout_seconds=activity.timeout_seconds,
        attempt=place.attempt,
        iteration=place.iteration,
        trace_id=run.trace_id,
        workflow_name=run.plan.definition.name,
        streaming=activity.streaming or activity.name == "llm_prompt",
        budget_remaining_nano=min(limits) if limits else None,
        signal_data=values.get(owner.signal) if owner.signal else None,
        mode="batch" if run.mode == "batch" else "realtime",
        tenant=run.tenant,
        scheduled_version=place.scheduled_version,
    )


def _settings(run: Run, place: Place, values: Mapping[int, object]) -> dict[str, Any]:
    """Return what an activity's code may know of its settings: whether its author asked for retries, whether its model
    calls may be those of equal ones before, and for a script without inputs of its own the run's input, overlaid by the
    outputs of what it directly depends on."""
    activity = place.planned.activity
    settings: dict[str, Any] = {} if activity.retry is None else {"retry": activity.retry.max_attempts}
    if caches_calls(activity):
        settings["cache_calls"] = True
    if activity.name == "script":
        settings["script_input"] = _script_input(run, place, values)
    return settings


def _script_input(run: Run, place: Place, values: Mapping[int, object]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    given = values.get(1)
    if isinstance(given, dict):
        merged.update(given)
    names = Names(run, values, place)
    for dependency in place.planned.activity.depends_on:
        source = run.places[run.plan.index[dependency.key]]
        output = merged[dependency.key] = output_of(source, values)
        if isinstance(output, dict):
            merged.update(output)
        merged.update(_declared_outputs(source, names))
    return merged


def _declared_outputs(source: Place, names: Names) -> dict[str, Any]:
    """Return what an activity's declared outputs stand for in a template, by name, without those that it has not."""
    view = cast("View", names[source.planned.key])
    found = {output.name: view.field(output.name) for output in source.planned.activity.outputs}
    plain = {name: value.plain() if isinstance(value, View) else value for name, value in found.items()}
    return {name: value for name, value in plain.items() if value is not None}
