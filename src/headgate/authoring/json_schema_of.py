"""The JSON Schema (2020-12) of definition files, short and long form, for editors: made of the tables that the reader
uses, so that a key which is refused there is refused here.

It knows shapes, not meanings: whether a reference exists or a condition can be read is for `headgate check` to say.
"""

from __future__ import annotations

from typing import Any

from headgate.authoring.vocabulary import (
    ACTIVITY,
    BUDGET,
    BUDGET_ACTIONS,
    CACHE,
    DEPENDENCY,
    INPUT,
    NOTIFY,
    NOTIFY_ON,
    OUTPUT,
    OUTPUT_TYPES_NOT_YET,
    PARAMETERS_NOT_YET,
    PII_KINDS,
    POLICIES,
    POLICY,
    RETRY,
    SETTINGS,
    SIGNAL_WAIT,
    STREAMING,
    SUB_WORKFLOW,
    WORKFLOW,
    WORKFLOW_SETTINGS,
    Key,
    Table,
)
from headgate.core.catalogue import BUILTINS, Builtin

__all__ = ["definition_schema"]

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,128}$"}
SECRET: Schema = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}
FLAG: Schema = {"type": "boolean"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
MAP: Schema = {"type": "object"}
SECONDS: Schema = {"anyOf": [NUMBER, {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|s|mi|mo|m|h|d|w|y)?\s*$"}]}
AMOUNT: Schema = {
    "anyOf": [NUMBER, {"type": "string", "pattern": r"^\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,3})?\s*$"}]
}
CONDITION: Schema = {"type": ["string", "boolean"]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _words(*words: str) -> Schema:
    return {"enum": list(words)}


def _one_or_many(one: Schema) -> Schema:
    return {"anyOf": [one, {"type": "array", "items": one}]}


def _or_map(one: Schema, name: str) -> Schema:
    return {"anyOf": [one, _ref(name)]}


SHAPES: dict[str, Schema] = {
    "activities": {
        "anyOf": [
            {"type": "object", "minProperties": 1, "additionalProperties": _ref("activity")},
            {"type": "array", "minItems": 1, "items": {**_ref("activity"), "required": ["key"]}},
        ]
    },
    "activity_key": TEXT,
    "activity_name": {"anyOf": [{"enum": sorted(BUILTINS)}, TEXT]},
    "base_seconds": NUMBER,
    "budget": _or_map(AMOUNT, "budget"),
    "cache": _or_map(FLAG, "cache"),
    "cache_ttl": SECONDS,
    "conditions": _one_or_many(CONDITION),
    "delay": TEXT,
    "dependency_of": _one_or_many(_or_map(TEXT, "dependency")),
    "depends_on": _one_or_many(_or_map(TEXT, "dependency")),
    "description": TEXT,
    "enabled": FLAG,
    "enum": _one_or_many({}),
    "event_name": TEXT,
    "factor": NUMBER,
    "for_each": {"type": ["string", "array"]},
    "iteration_limit": WHOLE,
    "iteration_scoped": FLAG,
    "join": _words("default", "all", "any"),
    "labels": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
    "limit": AMOUNT,
    "max_attempts": WHOLE,
    "max_parallel": WHOLE,
    "max_retries": WHOLE,
    "max_seconds": NUMBER,
    "on_failure": _words("fail", "continue"),
    "parameters": MAP,
    "policies": _one_or_many({"anyOf": [TEXT, _ref("policy")]}),
    "required": FLAG,
    "restore": FLAG,
    "retry": _or_map(WHOLE, "retry"),
    "scheduled_for": TEXT,
    "scrub": _words("input"),
    "settings": _ref("settings"),
    "share": FLAG,
    "strategy": _words("exponential", "fixed"),
    "streaming": _or_map(FLAG, "streaming"),
    "threshold": NUMBER,
    "timeout_seconds": SECONDS,
    "trusted": FLAG,
    "ttl_seconds": SECONDS,
    "wait_for_signal": _or_map(TEXT, "signal_wait"),
    "when": CONDITION,
    "worker": NAME,
    "workflow": _or_map(NAME, "sub_workflow"),
}
"""What stands under a key, by its canonical name, wherever it means the same."""

_TYPES = _words("string", "number", "integer", "boolean", "object", "array", "file", "any")
SHAPES_THERE: dict[str, dict[str, Schema]] = {
    "workflow": {
        "name": NAME,
        "inputs": {"type": "object", "additionalProperties": {"anyOf": [_TYPES, _ref("input"), {"type": "null"}]}},
        "outputs": MAP,
        "settings": _ref("workflow_settings"),
        "notify": _ref("notify"),
    },
    "activity": {"key": NAME, "outputs": _one_or_many(_or_map(TEXT, "output"))},
    "budget": {"action": _words(*BUDGET_ACTIONS)},
    "policy": {
        "kinds": _one_or_many(_words(*PII_KINDS)),
        "action": _words("deny", "record", "approve"),
        "models": _one_or_many(TEXT),
        "deny": _one_or_many(TEXT),
        "requests": WHOLE,
        "tokens": WHOLE,
        "money": AMOUNT,
        "per": SECONDS,
        "call": WHOLE,
        "activity": WHOLE,
        "run": WHOLE,
        "after_untrusted": _words("approve"),
        "also": _one_or_many(TEXT),
        "dry_run": FLAG,
    },
    "cache": {"key": _one_or_many(TEXT), "mode": _words("exact")},
    "signal_wait": {"on_timeout": _words("fail", "skip", "continue")},
    "output": {"name": TEXT, "type": _words(*sorted({"value", "file", "folder"} - OUTPUT_TYPES_NOT_YET))},
    "input": {"type": _TYPES, "default": {}},
    "sub_workflow": {"name": NAME, "version": TEXT},
    "notify": {
        "on": _one_or_many(_words(*NOTIFY_ON)),
        "email": _one_or_many(TEXT),
        "slack": SECRET,
        "webhook": {"type": "string", "pattern": "^https?://"},
        "secret": SECRET,
    },
}
"""The same for keys that mean something else in each place."""

TABLES: dict[str, tuple[Table, tuple[str, ...]]] = {
    "activity": (ACTIVITY, ()),
    "settings": (SETTINGS, ()),
    "workflow_settings": (WORKFLOW_SETTINGS, ()),
    "retry": (RETRY, ()),
    "budget": (BUDGET, ("limit",)),
    "cache": (CACHE, ()),
    "signal_wait": (SIGNAL_WAIT, ("event_name",)),
    "dependency": (DEPENDENCY, ("activity_key",)),
    "output": (OUTPUT, ("name",)),
    "input": (INPUT, ()),
    "sub_workflow": (SUB_WORKFLOW, ("name",)),
    "streaming": (STREAMING, ()),
    "notify": (NOTIFY, ()),
}
"""Each kind of map: the keys that it knows, and those that it needs."""


def definition_schema() -> Schema:
    """Return the schema. Keys that are not built yet are no part of it, so editors mark them as unknown."""
    defs = {name: _object(name, table, required) for name, (table, required) in TABLES.items()}
    defs["activity"]["allOf"] = [_rule(builtin) for builtin in BUILTINS.values() if builtin.parameters is not None]
    defs["policy"] = _policy()
    defs |= {f"parameters_of_{b.name}": _parameters(b) for b in BUILTINS.values() if b.parameters is not None}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Headgate workflow",
        "description": "A workflow definition, in YAML or JSON. `headgate check` says what a schema cannot.",
        **_object("workflow", WORKFLOW, ("name", "activities")),
        "$defs": defs,
    }


def _object(kind: str, table: Table, required: tuple[str, ...]) -> Schema:
    properties = {name: _property(kind, key) for name, key in table.items() if not key.not_yet}
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


def _property(kind: str, key: Key) -> Schema:
    """Return what stands under a key: a shape that is not known here (a key that is new) may be anything."""
    shape = SHAPES_THERE.get(kind, {}).get(key.canonical, SHAPES.get(key.canonical, {}))
    about = f"{key.about[:1].upper()}{key.about[1:]} ({key.holds})."
    if key.same_as:
        about += f" The same as `{key.same_as}`."
    return {"description": about, **shape}


def _policy() -> Schema:
    """Return an entry under `policies`: a built-in one knows its options, one of the user's own takes any."""
    about = [_object("policy", {**POLICY, **options}, ("use",)) for options in POLICIES.values()]
    for name, schema in zip(POLICIES, about, strict=True):
        schema["properties"]["use"] = {"const": name}
    own = {"type": "object", "properties": {"use": {"type": "string", "pattern": ":"}}, "required": ["use"]}
    return {"anyOf": [*about, own]}


def _rule(builtin: Builtin) -> Schema:
    """Return that a built-in activity takes its own parameters, where it runs on its own queue."""
    queues = {"enum": sorted({"std", builtin.queue})}
    named = [{"required": [word], "properties": {word: {"const": builtin.name}}} for word in ("use", "activity_name")]
    parameters = _ref(f"parameters_of_{builtin.name}")
    return {
        "if": {"anyOf": named, "properties": {"worker": queues, "queue": queues}},
        "then": {"properties": {"with": parameters, "parameters": parameters}},
    }


def _parameters(builtin: Builtin) -> Schema:
    known = sorted(name for name in builtin.parameters or () if (builtin.name, name) not in PARAMETERS_NOT_YET)
    return {
        "type": "object",
        "properties": {name: _parameter(builtin, name) for name in known},
        "required": sorted(builtin.required),
        "additionalProperties": False,
    }


def _parameter(builtin: Builtin, name: str) -> Schema:
    kind = "Required" if name in builtin.required else "Optional"
    return {"description": f"{kind} parameter of {builtin.name}; it may be a template."}
