"""What a run came to: its declared outputs, or those of the activities that nothing depends on."""

from __future__ import annotations

from typing import Any

from headgate.core.run import Place, Run
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane

__all__ = ["output_of", "output_versions", "outputs_of"]


def output_versions(place: Place) -> set[int]:
    """Return the versions that hold the place's newest output."""
    return {version for version in (place.fan.refs if place.fan else [place.ref]) if version}


def output_of(place: Place, values: dict[int, Any]) -> Any:
    """Return the place's newest output; of a fan-out the list of its items' outputs, null where there is none."""
    if place.fan:
        return [values.get(version) for version in place.fan.refs] if place.status == "completed" else None
    return values.get(place.ref) if place.ref else None


async def outputs_of(engine: Engine, lane: Lane) -> Any:
    """Return the outputs of a completed run."""
    run: Run = lane.run
    if run.plan.outputs is not None:
        return (await engine.load_values(lane.row.key, {run.outputs_version})).get(run.outputs_version)
    ends = [run.places[index] for index in run.plan.terminals]
    versions = set[int]().union(*(output_versions(place) for place in ends))
    values = await engine.load_values(lane.row.key, versions)
    return {place.planned.key: output_of(place, values) for place in ends if place.status == "completed"}
