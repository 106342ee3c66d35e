"""From a document to a definition in its long form: short and long keys, defaults, both directions of an
edge.

Every part that is read is recorded in `Positions` under its canonical path. Problems are noted and reading
goes on with what is left, so that one pass finds everything; what holds across activities is for `check`
to say.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.authoring.activity_settings import read_budget, read_retry, read_settings
from headgate.authoring.declared_inputs import read_inputs
from headgate.authoring.document import Listing, Mapping, Scalar
from headgate.authoring.edges import Edges
from headgate.authoring.fields import Field, Reading
from headgate.authoring.notify import read_notify
from headgate.authoring.policies import read_policies, read_scrub
from headgate.authoring.positions import Path, Positions
from headgate.authoring.vocabulary import (
    ACTIVITY,
    OUTPUT,
    OUTPUT_TYPES_NOT_YET,
    RESERVED,
    SETTINGS,
    SUB_WORKFLOW,
    WORKFLOW,
    WORKFLOW_SETTINGS,
)
from headgate.core.catalogue import BUILTINS
from headgate.core.definition import Activity, Backoff, Budget, Definition, Output, SubWorkflow

__all__ = ["Normalised", "normalise"]

SHORT_KEYS = frozenset({"use", "with", "after"})


class Normalised(msgspec.Struct, frozen=True):
    """`definition` is as good as it could be read. `short`: the file uses the short form somewhere."""

    definition: Definition
    short: bool


def normalise(root: Field, reading: Reading, positions: Positions) -> Normalised:
    """Return the definition that a document holds; what is wrong with it is in `reading.problems`."""
    return _Normaliser(reading, positions).workflow(root)


class _Normaliser:
    def __init__(self, reading: Reading, positions: Positions) -> None:
        self.reading = reading
        self.positions = positions
        self.short = False
        self.defaults: dict[str, Any] = {}
        self.default_fields: dict[str, Field] = {}
        self.edges = Edges(reading, positions)

    def workflow(self, root: Field) -> Normalised:
        fields = self.reading.known(root, WORKFLOW, "a workflow")
        self.positions.record((), root)
        for name, field in fields.items():
            self.positions.record((name,), field)
        found: dict[str, Any] = {"name": self._workflow_name(root, fields), **self._settings(fields)}
        if "description" in fields:
            found["description"] = self.reading.text(fields["description"]) or ""
        if "timeout_seconds" in fields:
            found["timeout_seconds"] = self.reading.seconds(fields["timeout_seconds"])
        if "inputs" in fields:
            found["inputs"] = read_inputs(self.reading, fields["inputs"])
        if "outputs" in fields:
            outputs = self.reading.mapping(fields["outputs"])
            found["outputs"] = {name: self.reading.value(field) for name, field in outputs.items()}
        if "labels" in fields:
            found["labels"] = self._labels(fields["labels"])
        if "policies" in fields:
            found["policies"] = read_policies(self.reading, fields["policies"])
        if "scrub" in fields:
            found["scrub"] = read_scrub(self.reading, fields["scrub"]) or ""
        if "notify" in fields:
            found["notify"] = read_notify(self.reading, fields["notify"])
        activities = self._activities(root, fields)
        return Normalised(Definition(activities=activities, **found), self.short)

    def _workflow_name(self, root: Field, fields: dict[str, Field]) -> str:
        if "name" not in fields:
            if isinstance(root.node, Mapping):
                self.reading.note("a workflow needs a `name`: name: my_workflow.", root)
            return ""
        return self.reading.name(fields["name"], "a name") or ""

    def _settings(self, fields: dict[str, Field]) -> dict[str, Any]:
        """Read the defaults for activities, and return the run's budget, which may stand among them."""
        settings = self.reading.known(fields["settings"], WORKFLOW_SETTINGS, "settings") if "settings" in fields else {}
        if "budget" in settings and "budget" in fields:
            self.reading.twice(settings["budget"], fields["budget"])
        if "retry" in settings and "max_retries" in settings:
            self.reading.twice(settings["max_retries"], settings["retry"])
        budget = fields.get("budget", settings.get("budget"))
        if budget is not None:
            self.positions.record(("budget",), budget)
        self._read_defaults(settings)
        return {"budget": read_budget(self.reading, budget) if budget is not None else None}

    def _read_defaults(self, settings: dict[str, Field]) -> None:
        if "timeout_seconds" in settings:
            self._default(
                "timeout_seconds",
                self.reading.seconds(settings["timeout_seconds"]),
                settings["timeout_seconds"],
            )
        if "max_retries" in settings:
            retries = self.reading.whole(settings["max_retries"])
            backoff = None if retries is None else Backoff(max_attempts=retries + 1)
            self._default("retry", backoff, settings["max_retries"])
        if "retry" in settings:
            self._default("retry", read_retry(self.reading, settings["retry"]), settings["retry"])

    def _default(self, name: str, value: object, field: Field) -> None:
        if value is not None:
            self.defaults[name] = value
            self.default_fields[name] = field

    def _labels(self, field: Field) -> dict[str, str]:
        labels: dict[str, str] = {}
        for name, entry in self.reading.mapping(field).items():
            if isinstance(entry.node, Scalar) and entry.node.value is not None:
                labels[name] = entry.node.text
            else:
                self.reading.expected("a text", entry)
        return labels

    def _activities(self, root: Field, fields: dict[str, Field]) -> tuple[Activity, ...]:
        field = fields.get("activities")
        if field is None:
            if isinstance(root.node, Mapping):
                self.reading.note("a workflow needs `activities`, at least one.", root)
            return ()
        if isinstance(field.node, Mapping):
            self.short = True
            keyed = [(name, entry) for name, entry in field.entries() if self._good_key(name, entry)]
        elif isinstance(field.node, Listing):
            keyed = self._keyed(field)
        else:
            self.reading.expected("a map or a list of activities", field)
            return ()
        if not field.node.size - 1:
            self.reading.note("a workflow needs at least one activity.", field)
        activities = [self._activity(key, entry) for key, entry in keyed]
        return self.edges.drawn(activities)

    def _keyed(self, field: Field) -> list[tuple[str, Field]]:
        """Return the activities of a list by their keys; from here on their paths name the key, not the
        number."""
        found: dict[str, Field] = {}
        for item in field.items():
            key_field = item.under("key")
            if not isinstance(item.node, Mapping):
                self.reading.expected("an activity: a map with `key` and `activity_name`", item)
            elif key_field is None:
                self.reading.note("an activity in a list needs a `key`.", item)
            elif (key := self.reading.text(key_field, "a key")) and self._good_key(key, key_field, at_key=False):
                if key in found:
                    line = found[key].node.line
                    self.reading.note(f'the key "{key}" is used twice, first in line {line}; rename one.', key_field)
                else:
                    found[key] = Field(item.node, f"{field.path}.{key}")
        return list(found.items())

    def _good_key(self, key: str, field: Field, *, at_key: bool = True) -> bool:
        if key in RESERVED:
            self.reading.note(
                f'no activity can be called "{key}": expressions use that word; rename it.',
                field,
                at_key=at_key,
            )
            return False
        if not _is_name(key):
            self.reading.note(
                f'expected the key to be at most 128 letters, digits, _ and -, got "{key[:140]}".',
                field,
                at_key=at_key,
            )
            return False
        return True

    def _activity(self, key: str, field: Field) -> Activity:
        place: Path = ("activities", key)
        self.positions.record(place, field)
        fields = self.reading.known(field, ACTIVITY, f"activity {key}")
        if isinstance(field.node, Mapping):
            self.short = self.short or not SHORT_KEYS.isdisjoint(field.node.entries)
        if self.short and "key" in fields and self.reading.text(fields["key"], "a key") not in (key, None):
            self.reading.note(f'the activity is "{key}" already by its place in the map; remove `key`.', fields["key"])
        fields = self._with_settings(fields)
        for name, entry in fields.items():
            self.positions.record((*place, name), entry)
        for name, entry in self.default_fields.items():
            self.positions.record((*place, name), entry)
        found = {**self.defaults, **read_settings(self.reading, fields), **self._own(key, fields)}
        return Activity(key=key, **found)

    def _with_settings(self, fields: dict[str, Field]) -> dict[str, Field]:
        """Return the fields of an activity with those of its `settings` beside them."""
        if "settings" not in fields:
            return fields
        settings = self.reading.known(fields["settings"], SETTINGS, "settings")
        for name, entry in settings.items():
            if name in fields:
                self.reading.twice(entry, fields[name])
        return {**settings, **fields}

    def _own(self, key: str, fields: dict[str, Field]) -> dict[str, Any]:
        """Return the attributes of an activity that are no settings."""
        reading = self.reading
        found: dict[str, Any] = {"name": self._name(fields)}
        queue = reading.name(fields["worker"], "a queue name") if "worker" in fields else None
        found["queue"] = queue or _queue_of(found["name"])
        if "parameters" in fields:
            found["parameters"] = {n: reading.value(f) for n, f in reading.mapping(fields["parameters"]).items()}
        if "outputs" in fields:
            found["outputs"] = self._outputs(fields["outputs"])
        if "depends_on" in fields:
            found["depends_on"] = self.edges.into(key, fields["depends_on"])
        if "dependency_of" in fields:
            self.edges.out_of(key, fields["dependency_of"])
        if "workflow" in fields:
            found["workflow"] = self._sub_workflow(fields)
        if "when" in fields:
            found["when"] = reading.condition(fields["when"])
        if "join" in fields:
            found["join"] = reading.choice(fields["join"], ("default", "all", "any")) or "default"
        return found | self._fan_out(fields)

    def _fan_out(self, fields: dict[str, Field]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if "for_each" in fields:
            field = fields["for_each"]
            if isinstance(field.node, Listing) or (
                isinstance(field.node, Scalar) and isinstance(field.node.value, str)
            ):
                found["for_each"] = self.reading.value(field)
            else:
                self.reading.expected("a list, or a template that yields one", field)
        if "max_parallel" in fields:
            parallel = self.reading.whole(fields["max_parallel"])
            if "for_each" not in fields:
                self.reading.note("`max_parallel` means nothing without `for_each`; remove it.", fields["max_parallel"])
            elif parallel is not None:
                found["max_parallel"] = parallel
        return found

    def _name(self, fields: dict[str, Field]) -> str:
        if "activity_name" not in fields:
            return ""
        return self.reading.text(fields["activity_name"], "the name of an activity") or "?"

    def _sub_workflow(self, fields: dict[str, Field]) -> SubWorkflow | None:
        field, reading = fields["workflow"], self.reading
        if not isinstance(field.node, Mapping):
            name = reading.name(field, "a workflow's name")
            return SubWorkflow(name=name or "?")
        inner = reading.known(field, SUB_WORKFLOW, "workflow")
        if "name" not in inner:
            reading.note("a sub-workflow needs the `name` of the workflow that it runs.", field)
            return SubWorkflow(name="?")
        share = reading.flag(inner["share"]) if "share" in inner else None
        if share is False and "budget" not in inner:
            reading.note("`share: false` needs a `budget` of its own beside it.", inner["share"])
        if share and "budget" in inner:
            reading.note("`share` and `budget` exclude each other; keep one of them.", inner["share"])
        budget: Budget | None = read_budget(reading, inner["budget"]) if "budget" in inner else None
        return SubWorkflow(
            name=reading.name(inner["name"], "a workflow's name") or "?",
            version=reading.text(inner["version"]) if "version" in inner else None,
            budget=budget.limit if budget else None,
        )

    def _outputs(self, field: Field) -> tuple[Output, ...]:
        outputs: dict[str, Output] = {}
        for item in self.reading.listed(field):
            output = self._output(item)
            if output is not None and outputs.setdefault(output.name, output) is not output:
                self.reading.note(f'the output "{output.name}" stands here twice; remove one.', item)
        return tuple(outputs.values())

    def _output(self, field: Field) -> Output | None:
        if not isinstance(field.node, Mapping):
            name = self.reading.text(field, "the name of an output")
            return None if name is None else Output(name=name)
        fields = self.reading.known(field, OUTPUT, "an output")
        if "name" not in fields:
            self.reading.note("an output needs a `name`.", field)
            return None
        kind = fields.get("type")
        if kind is not None and isinstance(kind.node, Scalar) and kind.node.value in OUTPUT_TYPES_NOT_YET:
            self.reading.note(
                f'the output type "{kind.node.text}" is not built yet. Leave `type` out for a value.', kind
            )
        elif kind is not None:
            self.reading.choice(kind, ("value", "file"))
        name = self.reading.text(fields["name"], "the name of an output")
        is_file = kind is not None and isinstance(kind.node, Scalar) and kind.node.value == "file"
        return None if name is None else Output(name=name, type="file" if is_file else "value")


def _queue_of(name: str) -> str:
    builtin = BUILTINS.get(name)
    return builtin.queue if builtin else "std"


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 128 and all(c.isascii() and (c.isalnum() or c in "_-") for c in text)
