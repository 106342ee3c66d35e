"""What the names in an expression stand for, for one run: `INPUT`, `WORKFLOW`, `<key>`, `ITEM` and the rest.

Values come as a mapping from event version to content; `needed` says which of them an expression's names call for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from headgate.core.catalogue import BUILTINS
from headgate.core.money import dollars
from headgate.core.place import Place
from headgate.core.run import Run
from headgate.core.scope import ActivityView

__all__ = ["Names", "Values", "needed"]

Values = Mapping[int, object]
"""The content of a run's events, by version."""

INPUT_VERSION = 1


def needed(run: Run, reads: Iterable[str]) -> set[int]:
    """Return the versions of the events whose content the names `reads` (see `plan.reads_of`) stand for."""
    versions: set[int] = set()
    for name in reads:
        if name == "INPUT":
            versions.add(INPUT_VERSION)
        elif name == "SIGNAL":
            versions.update(signal.version for signal in run.signals)
            versions.update(place.signal for place in run.places)
        else:
            key = name.removesuffix("[*]")
            index = run.plan.index.get(key)
            if index is not None:
                versions.update(_outputs(run.places[index], everything=key != name))
                if run.plan.activities[index].activity.wait_for_signal is not None:  # it may take one that is kept
                    versions.update(signal.version for signal in run.signals)
    versions.discard(0)
    return versions


def _outputs(place: Place, *, everything: bool) -> Iterable[int]:
    yield place.ref
    yield place.signal
    if place.fan:
        yield from place.fan.refs
    if everything or place.planned.activity.iteration_scoped:
        yield from place.refs


class Names(Mapping[str, object]):
    """The names of one run as seen from one place (or from the run as a whole). Each is made when it is asked for."""

    def __init__(
        self, run: Run, values: Values, place: Place | None = None, extra: Mapping[str, object] | None = None
    ) -> None:
        self._run = run
        self._values = values
        self._place = place
        self._extra = extra or {}

    def __getitem__(self, name: str) -> object:
        if name in self._extra:
            return self._extra[name]
        index = self._run.plan.index.get(name)
        if index is not None:
            return _view(self._run, self._run.places[index], self._values)
        if name == "INPUT":
            return self._values[INPUT_VERSION]
        if name == "WORKFLOW":
            return self._workflow()
        if name == "SIGNAL" and self._place is not None:
            return self._values.get(self._run.owner(self._place).signal)
        if name == "ACTIVITY" and self._place is not None:
            return self._activity(self._place)
        if self._place is not None and self._place.item >= 0 and name in {"ITEM", "INDEX"}:
            return self._item(self._place) if name == "ITEM" else self._place.item
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        yield from ("INPUT", "WORKFLOW", *self._run.plan.index, *self._extra)
        if self._place is not None:
            yield from ("ACTIVITY", "SIGNAL")
            if self._place.item >= 0:
                yield from ("ITEM", "INDEX")

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _workflow(self) -> dict[str, object]:
        run = self._run
        return {
            "id": run.id,
            "name": run.plan.definition.name,
            "status": run.status,
            "started_at": run.started_at // 1_000_000,
            "trace_id": run.trace_id,
        }

    def _activity(self, place: Place) -> dict[str, object]:
        owner = self._run.owner(place)
        return {
            "key": place.planned.key,
            "iteration": place.iteration,
            "attempt": place.attempt,
            "accumulated_cost_usd": dollars(owner.cost),
            "remaining_budget_usd": _remaining(self._run, owner),
        }

    def _item(self, place: Place) -> object:
        fan = self._run.owner(place).fan
        assert fan is not None
        items = self._values[fan.content]
        assert isinstance(items, list)
        return items[place.item]


def _remaining(run: Run, place: Place) -> float | None:
    budget = run.budget_of(place.planned.key)
    return None if budget is None else dollars(max(0, budget.limit - place.cost))


def _view(run: Run, place: Place, values: Values) -> ActivityView:
    activity = place.planned.activity
    budget = run.budget_of(activity.key)
    return ActivityView(
        key=activity.key,
        own=place.planned.own_output,
        declared=tuple(output.name for output in activity.outputs),
        status="running" if place.status == "scheduled" else place.status,
        error={"code": place.code, "message": place.error} if place.code else None,
        iteration=place.iteration + (place.ended and bool(place.planned.loops)),
        cost_nano=place.round_cost,
        accumulated_cost_nano=place.cost,
        remaining_budget_nano=None if budget is None else max(0, budget.limit - place.cost),
        results=lambda: _newest(place, values),
        history=lambda: [values.get(version) for version in place.refs],
        signal=lambda: values.get(place.signal),
        scoped=activity.iteration_scoped,
        llm=activity.name == "llm_prompt",
        fan_out=activity.for_each is not None,
        script=activity.name == "script",
        custom=activity.name not in BUILTINS and not place.planned.native,
    )


def _newest(place: Place, values: Values) -> object:
    if place.fan:
        return [values[version] if version else None for version in place.fan.refs] if place.ended else None
    return values[place.ref] if place.ref else None
