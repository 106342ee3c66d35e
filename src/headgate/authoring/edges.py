"""The edges of a workflow as files name them: from the activity that waits, or from the one that is waited
for."""

from __future__ import annotations

import msgspec

from headgate.authoring.document import Listing, Mapping
from headgate.authoring.fields import Field, Reading
from headgate.authoring.positions import Path, Positions
from headgate.authoring.vocabulary import DEPENDENCY
from headgate.core.definition import Activity, Dependency

__all__ = ["Edges"]


class Edges:
    """Reads the edges of one workflow: `into` each activity, `out_of` it, and at the end all `drawn`."""

    def __init__(self, reading: Reading, positions: Positions) -> None:
        self.reading = reading
        self.positions = positions
        self._waiting: dict[str, list[tuple[Dependency, Field]]] = {}
        """What `dependency_of` says, by the key of the activity that waits."""

    def into(self, key: str, field: Field) -> tuple[Dependency, ...]:
        """Return the dependencies of the activity `key`."""
        place: Path = ("activities", key, "depends_on")
        found: list[Dependency] = []
        for item in self.reading.listed(field):
            dependency = self._dependency(item)
            if dependency is not None and dependency not in found:
                self._record_edge((*place, len(found)), item)
                found.append(dependency)
        return tuple(found)

    def _record_edge(self, place: Path, field: Field) -> None:
        self.positions.record(place, field)
        key = field.under("activity_key")
        self.positions.record((*place, "key"), key or field)
        conditions = field.under("conditions") or field.under("condition")
        if conditions is not None:
            self.positions.record((*place, "conditions"), conditions)
            if not isinstance(conditions.node, Listing):
                self.positions.record((*place, "conditions", 0), conditions)

    def _dependency(self, field: Field) -> Dependency | None:
        if not isinstance(field.node, Mapping):
            key = self.reading.text(field, "the key of an activity")
            return None if key is None else Dependency(key=key)
        fields = self.reading.known(field, DEPENDENCY, "a dependency")
        if "activity_key" not in fields:
            self.reading.note("a dependency needs the `activity_key` that it waits for.", field)
            return None
        key = self.reading.text(fields["activity_key"], "the key of an activity")
        conditions: list[str | None] = []
        if "conditions" in fields:
            conditions = [self.reading.condition(item) for item in self.reading.listed(fields["conditions"])]
        if key is None:
            return None
        return Dependency(key=key, conditions=tuple(text for text in conditions if text is not None))

    def out_of(self, key: str, field: Field) -> None:
        """Remember which activities depend on `key` because it says so; `drawn` gives them their edges."""
        for item in self.reading.listed(field):
            dependency = self._dependency(item)
            if dependency is not None:
                edge = Dependency(key=key, conditions=dependency.conditions)
                self._waiting.setdefault(dependency.key, []).append((edge, item))

    def drawn(self, activities: list[Activity]) -> tuple[Activity, ...]:
        """Return the activities with the edges that others have with `dependency_of` drawn to them."""
        keys = [activity.key for activity in activities]
        for target, edges in self._waiting.items():
            if target not in keys:
                for _, field in edges:
                    self.reading.note(f'there is no activity "{target}".{self.reading.near(target, keys)}', field)
        return tuple(self._with_edges_to(activity) for activity in activities)

    def _with_edges_to(self, activity: Activity) -> Activity:
        edges = list(activity.depends_on)
        for dependency, field in self._waiting.get(activity.key, ()):
            if dependency not in edges:
                self._record_edge(("activities", activity.key, "depends_on", len(edges)), field)
                edges.append(dependency)
        return msgspec.structs.replace(activity, depends_on=tuple(edges))
