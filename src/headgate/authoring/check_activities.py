"""What each activity runs, and whether it can: its name, its queue, the parameters of the built-in ones,
their models."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from headgate.authoring.checking import Checking
from headgate.authoring.positions import Path
from headgate.authoring.problems import one_of
from headgate.authoring.vocabulary import ACTIVITIES_NOT_YET, PARAMETERS_NOT_YET, PROVIDERS
from headgate.core.catalogue import BUILTINS, Builtin
from headgate.core.definition import Activity
from headgate.core.model_list import ENTRY_KEYS, entries_of, read_entry

__all__ = ["check_activities"]

STD = "std"
ONE_MODEL: dict[str, type | tuple[type, ...]] = {"embedding": (str, dict), "vector_index": str}
"""Activities that ask one model only, and how it is written."""
ONE_OF_PARAMETERS = {
    "llm_prompt": ("prompt", "messages", "template"),
    "wait": ("seconds", "duration", "until"),
    "script": ("script", "script_file"),
}
"""Activities that need one of several parameters."""

CHOICES = {("approval", "on_timeout"): ("fail", "approve", "reject")}


def check_activities(checking: Checking, *, providers: frozenset[str], activities: frozenset[str]) -> None:
    """Note every activity that nothing could run as it stands.

    `providers` and `activities` are known beside the built-in ones.
    """
    for activity in checking.definition.activities:
        place: Path = ("activities", activity.key)
        if activity.workflow is not None or not activity.name:
            _check_without_name(checking, place, activity)
        elif activity.name != "?":
            _check_named(checking, place, activity, PROVIDERS | providers, activities)
        if activity.cache is not None and not _is_worked_on(activity):
            message = "`cache` reuses what a worker has made; nothing of the kind happens here. Remove it."
            checking.note((*place, "cache"), message, at_key=True)


def _is_worked_on(activity: Activity) -> bool:
    builtin = BUILTINS.get(activity.name)
    return bool(activity.name) and activity.workflow is None and (builtin is None or not builtin.native)


def _check_without_name(checking: Checking, place: Path, activity: Activity) -> None:
    if activity.workflow is None:
        if activity.wait_for_signal is None:
            checking.note(place, f"activity {activity.key} needs `use`: the name of what it runs.", at_key=True)
    elif activity.name:
        checking.note((*place, "workflow"), "`workflow` and `use` exclude each other; keep one of them.", at_key=True)


def _check_named(
    checking: Checking, place: Path, activity: Activity, providers: frozenset[str], others: frozenset[str]
) -> None:
    name = activity.name
    builtin = BUILTINS.get(name)
    at_name = (*place, "activity_name")
    if builtin is not None and activity.queue in (builtin.queue, STD):
        if activity.queue != builtin.queue:
            queues = f'on the queue "{activity.queue}" but on "{builtin.queue}"'
            checking.note((*place, "worker"), f'"{name}" does not run {queues}; leave the queue out.')
        _check_parameters(checking, place, activity, builtin, providers)
    elif activity.queue == STD and name not in others:
        if name in ACTIVITIES_NOT_YET:
            checking.note(at_name, f'"{name}" is not built yet. Run it on a worker of your own by naming its `queue`.')
        else:
            near = checking.near(name, {*BUILTINS, *others})
            checking.note(
                at_name,
                f'there is no activity "{name}" on the queue std.{near} One of your own needs a `queue`.',
            )


def _check_parameters(
    checking: Checking, place: Path, activity: Activity, builtin: Builtin, providers: frozenset[str]
) -> None:
    given, name = activity.parameters, activity.name
    for parameter in given:
        at = (*place, "parameters", parameter)
        if instead := PARAMETERS_NOT_YET.get((name, parameter)):
            checking.note(at, f'the parameter "{parameter}" of {name} is not built yet. {instead}', at_key=True)
        elif builtin.parameters is not None and parameter not in builtin.parameters:
            near = checking.near(parameter, builtin.parameters)
            checking.note(at, f'{name} has no parameter "{parameter}".{near}', at_key=True)
    for parameter in sorted(builtin.required - given.keys()):
        checking.note((*place, "parameters"), f"{name} needs the parameter `{parameter}`.", at_key=True)
    choices = ONE_OF_PARAMETERS.get(name)
    if choices and given.keys().isdisjoint(choices):
        available = [choice for choice in choices if (name, choice) not in PARAMETERS_NOT_YET]
        checking.note((*place, "parameters"), f"{name} needs the parameter {one_of(available)}.", at_key=True)
    for parameter, value in given.items():
        words = CHOICES.get((name, parameter))
        if words and not (isinstance(value, str) and ("{{" in value or value in words)):
            checking.note(
                (*place, "parameters", parameter),
                f"expected {parameter} to be {one_of(words)}, got {value!r}.",
            )
    if "model" in given and "model" in (builtin.parameters or ()):
        at = (*place, "parameters", "model")
        if not isinstance(given["model"], ONE_MODEL.get(name, object)):
            checking.note(at, f"{name} takes one model by its name: vectors of two models cannot be compared.")
        else:
            _check_models(checking, at, given["model"], providers)


def _check_models(checking: Checking, place: Path, model: object, providers: Collection[str]) -> None:
    if not isinstance(model, list | tuple):
        _check_entry(checking, place, model, providers)
        return
    if not model:
        checking.note(place, "expected at least one model, got an empty list.")
    for number, one in enumerate(entries_of(model)):
        _check_entry(checking, (*place, number), one, providers)


def _check_entry(checking: Checking, place: Path, entry: object, providers: Collection[str]) -> None:
    """Check an entry of the list: a model, or a map of one and how it is asked."""
    if not isinstance(entry, dict):
        _check_model(checking, place, entry, providers)
        return
    fields = cast("dict[str, object]", entry)
    for key in fields:
        if key not in ENTRY_KEYS:
            near = checking.near(str(key), ENTRY_KEYS)
            known = ", ".join(ENTRY_KEYS)
            checking.note((*place, str(key)), f'a model has no setting "{key}".{near} There are {known}.', at_key=True)
    if "model" not in fields:
        checking.note(place, "a map in the list of models needs `model`: {model: openai/gpt-5, attempts: 2}.")
        return
    _check_model(checking, (*place, "model"), fields["model"], providers)
    settings = {name: fields[name] for name in ("attempts", "when_limited") if name in fields}
    for name, value in settings.items():
        if not (isinstance(value, str) and "{{" in value):
            try:
                read_entry({"model": "the model", name: value})
            except ValueError as error:
                checking.note((*place, name), f"expected {error}.")


def _check_model(checking: Checking, place: Path, model: object, providers: Collection[str]) -> None:
    if not isinstance(model, str):
        checking.note(place, f"expected a model to be a text such as anthropic/claude-haiku-4-5, got {model!r}.")
        return
    if "{{" in model or "{%" in model:
        return
    provider, slash, name = model.partition("/")
    if not slash or not name.strip():
        checking.note(
            place,
            f'expected a model to be provider/model, such as anthropic/claude-haiku-4-5, got "{model}".',
        )
    elif provider not in providers:
        near = checking.near(provider, providers)
        known = one_of(sorted(providers))
        checking.note(place, f'there is no provider "{provider}" (in "{model}").{near} Known are {known}.')
