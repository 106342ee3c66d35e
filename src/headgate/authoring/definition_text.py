"""A definition written down again: as short-form YAML that loads to the same version.

Several files mean the same definition. The shortest comes first: dependencies that a template implies are left out;
then with all of them named; last the long form, in which nothing is implied. Which of them is right is not worked out
but tried: each is loaded, and the first that has the version of the original is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal

import msgspec
import yaml

from headgate.authoring.expressions import reads_of
from headgate.authoring.load import load_definition
from headgate.authoring.problems import InvalidDefinition
from headgate.authoring.prompt_templates import Read
from headgate.core.catalogue import BUILTINS
from headgate.core.definition import (
    Activity,
    Backoff,
    Budget,
    Cache,
    Definition,
    Dependency,
    Input,
    Notify,
    PolicyUse,
    SignalWait,
)
from headgate.core.duration import parse_seconds
from headgate.core.money import NANO

__all__ = ["ACTIVITY_WRITERS", "DERIVED", "LONG_KEYS", "WORKFLOW_WRITERS", "document_of", "write_yaml"]

Form = Literal["implied", "named", "long"]
"""How dependencies are written: without those that templates imply, all of them, or all in a list of activities."""

LINE_WIDTH = 120
HALF_A_MICROSECOND = 0.5e-6
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ /.()-]*(?<! )")
"""Texts that need no quotes in any YAML, if they are no word of it."""


def document_of(definition: Definition, read: Read | None = None) -> dict[str, Any]:
    """Return the map that a file of this definition holds: the shortest that loads to the same version.

    `read` gives the files that the definition refers to, as it gave them when the definition was loaded.
    """
    names = frozenset(activity.name for activity in definition.activities)
    providers = frozenset(_providers_of(definition))
    forms: tuple[Form, ...] = ("implied", "named", "long")
    for form in forms:
        document = _document(definition, form)
        if _version(document, names, providers, read) == definition.version:
            return document
    raise AssertionError(f"no form of {definition.name!r} loads to the version {definition.version}")


def write_yaml(document: dict[str, Any]) -> str:
    """Return a document as YAML 1.2 that is also read alike by parsers of YAML 1.1."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LINE_WIDTH)


def _version(document: dict[str, Any], names: frozenset[str], providers: frozenset[str], read: Read | None) -> str:
    text = msgspec.json.encode(document)
    try:
        return load_definition(text, activities=names, providers=providers, read=read).version
    except InvalidDefinition:
        return ""


def _providers_of(definition: Definition) -> set[str]:
    models = [activity.parameters.get("model") for activity in definition.activities]
    names = [name for model in models for name in (model if isinstance(model, list) else [model])]
    return {name.partition("/")[0] for name in names if isinstance(name, str)}


# --- A definition's parts ------------------------------------------------------------------------------------------


def _document(definition: Definition, form: Form) -> dict[str, Any]:
    implied = _implied(definition) if form == "implied" else {}
    bodies = {
        activity.key: _activity(activity, implied.get(activity.key, frozenset()), form)
        for activity in definition.activities
    }
    found: dict[str, Any] = {"name": definition.name}
    for name, write in WORKFLOW_WRITERS.items():
        value = getattr(definition, name)
        if value != _default(Definition, name):
            found[name] = write(value)
    if form == "long":
        activities: Any = [{"key": key, **body} for key, body in bodies.items()]
    else:
        activities = bodies
    outputs = found.pop("outputs", None)
    found["activities"] = activities
    return found if outputs is None else {**found, "outputs": outputs}


def _implied(definition: Definition) -> dict[str, frozenset[str]]:
    """Return by activity which others its parameters, `when` and `for_each` name."""
    named: dict[str, set[str]] = {}
    for reads in reads_of(definition):
        if reads.path[0] == "activities" and reads.path[2] in ("parameters", "when", "for_each"):
            named.setdefault(str(reads.path[1]), set()).update(one.root for one in reads.references)
    return {key: frozenset(roots) for key, roots in named.items()}


def _activity(activity: Activity, implied: frozenset[str], form: Form) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if activity.name:
        found["use"] = activity.name
    builtin = BUILTINS.get(activity.name)
    if activity.queue != (builtin.queue if builtin else "std"):
        found["queue"] = activity.queue
    after = [_dependency(one) for one in activity.depends_on if one.conditions or one.key not in implied]
    if after:
        found["after"] = after
    for name, (key, write) in ACTIVITY_WRITERS.items():
        value = getattr(activity, name)
        if value != _default(Activity, name):
            found[key] = write(value)
    for name, inlined in INLINED.get(activity.name, {}).items():
        if name in activity.parameters:
            found["with"] = {key: value for key, value in activity.parameters.items() if key != inlined}
    return {LONG_KEYS.get(key, key): value for key, value in found.items()} if form == "long" else found


def _default(kind: Any, name: str) -> Any:
    """Return the default of a field, made anew where it is a container."""
    field = next(field for field in msgspec.structs.fields(kind) if field.name == name)
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _dependency(dependency: Dependency) -> Any:
    if not dependency.conditions:
        return dependency.key
    conditions = list(dependency.conditions)
    if len(conditions) == 1:
        return {"activity_key": dependency.key, "condition": conditions[0]}
    return {"activity_key": dependency.key, "conditions": conditions}


def _same(value: Any) -> Any:
    return value


def _seconds(value: float) -> float:
    """Return the number that is read as `value`: reading cuts off below a microsecond, so it may need a little more."""
    if value.is_integer():
        return int(value)
    return value if parse_seconds(value) == value else value + HALF_A_MICROSECOND


def _dollars(amount: int) -> Decimal:
    return Decimal(amount) / NANO


def _budget(budget: Budget) -> Any:
    limit = _dollars(budget.limit)
    return limit if budget == Budget(budget.limit) else {"limit": limit, "action": budget.action}


def _retry(backoff: Backoff) -> Any:
    return backoff.max_attempts if backoff == Backoff(backoff.max_attempts) else _changed(backoff, Backoff())


def _changed(value: msgspec.Struct, default: msgspec.Struct) -> dict[str, Any]:
    found = {name: getattr(value, name) for name in value.__struct_fields__}
    changed = {name: one for name, one in found.items() if one != getattr(default, name)}
    return {name: list(one) if isinstance(one, tuple) else one for name, one in changed.items()}


def _cache(cache: Cache) -> Any:
    return _changed(cache, Cache()) or True


def _signal(wait: SignalWait) -> Any:
    if wait == SignalWait(wait.event_name):
        return wait.event_name
    found = {"event_name": wait.event_name, **_changed(wait, SignalWait(wait.event_name))}
    if wait.timeout_seconds is not None:
        found["timeout_seconds"] = _seconds(wait.timeout_seconds)
    return found


def _sub_workflow(workflow: Any) -> Any:
    found = {"name": workflow.name}
    if workflow.version is not None:
        found["version"] = workflow.version
    if workflow.budget is not None:
        found["budget"] = _dollars(workflow.budget)
    return found if len(found) > 1 else workflow.name


def _outputs(outputs: Any) -> list[Any]:
    return [one.name if one.type == "value" else {"name": one.name, "type": one.type} for one in outputs]


def _inputs(inputs: tuple[Input, ...]) -> dict[str, Any]:
    return {one.name: _input(one) for one in inputs}


def _input(declared: Input) -> Any:
    found: dict[str, Any] = {"type": declared.type}
    if not declared.required:
        found |= {"required": False} if declared.default is None else {"default": declared.default}
    if declared.description:
        found["description"] = declared.description
    if declared.enum:
        found["enum"] = list(declared.enum)
    if declared.trusted is not None:
        found["trusted"] = declared.trusted
    return found if len(found) > 1 else declared.type


def _policies(policies: tuple[PolicyUse, ...]) -> list[Any]:
    return [one.use if one == PolicyUse(one.use) else _policy(one) for one in policies]


def _policy(policy: PolicyUse) -> dict[str, Any]:
    return {"use": policy.use, **policy.options, **({"dry_run": True} if policy.dry_run else {})}


def _notify(notify: Notify) -> dict[str, Any]:
    found: dict[str, Any] = {"on": list(notify.on)}
    if notify.email:
        found["email"] = notify.email[0] if len(notify.email) == 1 else list(notify.email)
    return found | {name: value for name in ("slack", "webhook", "secret") if (value := getattr(notify, name))}


WORKFLOW_WRITERS: dict[str, Callable[[Any], Any]] = {
    "description": _same,
    "inputs": _inputs,
    "budget": _budget,
    "timeout_seconds": _seconds,
    "labels": _same,
    "policies": _policies,
    "scrub": _same,
    "notify": _notify,
    "outputs": _same,
}

ACTIVITY_WRITERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "when": ("when", _same),
    "join": ("join", _same),
    "for_each": ("for_each", _same),
    "max_parallel": ("max_parallel", _same),
    "workflow": ("workflow", _sub_workflow),
    "parameters": ("with", _same),
    "outputs": ("outputs", _outputs),
    "iteration_limit": ("iteration_limit", _same),
    "iteration_scoped": ("iteration_scoped", _same),
    "streaming": ("streaming", _same),
    "retry": ("retry", _retry),
    "timeout_seconds": ("timeout_seconds", _seconds),
    "budget": ("budget", _budget),
    "cache": ("cache", _cache),
    "delay": ("delay", _same),
    "scheduled_for": ("scheduled_for", _same),
    "wait_for_signal": ("wait_for", _signal),
    "on_failure": ("on_failure", _same),
    "policies": ("policies", _policies),
    "trusted": ("trusted", _same),
}

DERIVED = frozenset({"key", "name", "queue", "depends_on", "prompt"})
"""Fields of an activity that are written in a way of their own, or follow from the others."""

INLINED = {"script": {"script_file": "script"}, "llm_prompt": {"template": "prompt"}}
"""Parameters that name a file, whose text stands under the other once the definition is loaded."""

LONG_KEYS = {"use": "activity_name", "with": "parameters", "after": "depends_on"}
"""Any of the short ones makes a file one of the short form, in which dependencies are implied."""


# --- YAML ----------------------------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Quotes every text that some parser might take for something else; long texts stand in blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)


def _write_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None if PLAIN.fullmatch(text) else "|" if "\n" in text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _write_decimal(dumper: _Dumper, amount: Decimal) -> yaml.ScalarNode:
    text = f"{amount:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return dumper.represent_scalar("tag:yaml.org,2002:float" if "." in text else "tag:yaml.org,2002:int", text)


_Dumper.add_representer(str, _write_text)
_Dumper.add_representer(Decimal, _write_decimal)
