"""Numbers and words of a definition within their bounds: budgets, attempts, times, labels, names, inputs."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from headgate.authoring.checking import Checking
from headgate.authoring.inputs import fault_of
from headgate.authoring.positions import Path
from headgate.core.definition import Activity, Backoff, Budget, Input
from headgate.core.money import NANO, USD_MAX, show

__all__ = ["LABELS_MAX", "LABEL_NAME_MAX", "LABEL_VALUE_MAX", "check_bounds"]

LABELS_MAX = 16
LABEL_NAME_MAX = 64
LABEL_VALUE_MAX = 256
ATTEMPTS_MAX = 1_000
FACTOR_MAX = 1_000.0
SECONDS_MAX = 100 * 365 * 86_400.0
PARALLEL_MAX = 100_000
ITERATIONS_MAX = 1_000_000
NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
DELAY = re.compile(r"\d+(ms|s|m|mi|h|d|w|mo|y)")


def check_bounds(checking: Checking) -> None:
    """Note every number and word that is out of its bounds."""
    definition = checking.definition
    if definition.name and not NAME.fullmatch(definition.name):
        checking.note(("name",), f'expected name to be at most 128 letters, digits, _ and -, got "{definition.name}".')
    _budget(checking, ("budget",), definition.budget)
    _number(checking, ("timeout_seconds",), "timeout", definition.timeout_seconds, above=0, most=SECONDS_MAX)
    _labels(checking, definition.labels)
    for declared in definition.inputs or ():
        _input(checking, declared)
    for activity in definition.activities:
        _activity(checking, activity)


def _activity(checking: Checking, activity: Activity) -> None:
    place: Path = ("activities", activity.key)
    _budget(checking, (*place, "budget"), activity.budget)
    _number(checking, (*place, "timeout_seconds"), "timeout", activity.timeout_seconds, above=0, most=SECONDS_MAX)
    _number(checking, (*place, "max_parallel"), "max_parallel", activity.max_parallel, least=1, most=PARALLEL_MAX)
    limit = activity.iteration_limit
    _number(checking, (*place, "iteration_limit"), "iteration_limit", limit, least=1, most=ITERATIONS_MAX)
    if activity.retry is not None:
        _retry(checking, (*place, "retry"), activity.retry)
    if activity.wait_for_signal is not None:
        wait = activity.wait_for_signal
        _plain_name(checking, (*place, "wait_for_signal"), "the name of a signal", wait.event_name)
        seconds = (*place, "wait_for_signal", "timeout_seconds")
        _number(checking, seconds, "timeout_seconds", wait.timeout_seconds, above=0, most=SECONDS_MAX)
    if activity.workflow is not None and activity.workflow.budget is not None:
        _budget(checking, (*place, "workflow", "budget"), Budget(activity.workflow.budget))
    for number, output in enumerate(activity.outputs):
        _plain_name(checking, (*place, "outputs", number), "the name of an output", output.name)
    _times(checking, place, activity)


def _times(checking: Checking, place: Path, activity: Activity) -> None:
    delay, at = activity.delay, activity.scheduled_for
    if delay is not None and at is not None:
        checking.note(
            (*place, "delay"),
            "`delay` and `scheduled_for` exclude each other; keep one of them.",
            at_key=True,
        )
    if delay is not None and "{{" not in delay and not DELAY.fullmatch(delay):
        form = "a whole number with ms, s, m, h, d, w, mo or y, such as 30s"
        checking.note((*place, "delay"), f'expected delay to be {form}, got "{delay}".')
    if at is not None and "{{" not in at and not _is_instant(at):
        message = f'expected scheduled_for to be a time with its zone such as 2030-01-31T09:00:00Z, got "{at}".'
        checking.note((*place, "scheduled_for"), message)


def _is_instant(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _retry(checking: Checking, place: Path, retry: Backoff) -> None:
    _number(checking, (*place, "max_attempts"), "retry", retry.max_attempts, least=1, most=ATTEMPTS_MAX)
    _number(checking, (*place, "base_seconds"), "base_seconds", retry.base_seconds, least=0, most=SECONDS_MAX)
    _number(checking, (*place, "factor"), "factor", retry.factor, least=1, most=FACTOR_MAX)
    _number(checking, (*place, "max_seconds"), "max_seconds", retry.max_seconds, least=0, most=SECONDS_MAX)


def _budget(checking: Checking, place: Path, budget: Budget | None) -> None:
    if budget is None:
        return
    if budget.limit <= 0:
        got = show(budget.limit)
        checking.note(
            (*place, "limit"),
            f"expected a budget above $0, got {got}; nothing could be spent. Leave it out for no limit.",
        )
    elif budget.limit > USD_MAX * NANO:
        checking.note(
            (*place, "limit"),
            f"expected a budget of at most {show(USD_MAX * NANO)}, got {show(budget.limit)}.",
        )


def _labels(checking: Checking, labels: dict[str, str]) -> None:
    if len(labels) > LABELS_MAX:
        checking.note(("labels",), f"expected at most {LABELS_MAX} labels, got {len(labels)}; remove some.")
    for name, value in labels.items():
        if not 0 < len(name) <= LABEL_NAME_MAX:
            message = f"expected the name of a label to be at most {LABEL_NAME_MAX} characters, got {len(name)}."
            checking.note(("labels", name), message if name else "a label needs a name.", at_key=True)
        if len(value) > LABEL_VALUE_MAX:
            checking.note(
                ("labels", name),
                f"expected a label to be at most {LABEL_VALUE_MAX} characters, got {len(value)}.",
            )


def _input(checking: Checking, declared: Input) -> None:
    place: Path = ("inputs", declared.name)
    for number, value in enumerate(declared.enum):
        if fault := fault_of(Input(name=declared.name, type=declared.type), value):
            checking.note((*place, "enum", number), f"{fault}: it is one of the values of {declared.name}.")
    if not declared.required and declared.default is not None and (fault := fault_of(declared, declared.default)):
        checking.note((*place, "default"), f"{fault}: it is the default of {declared.name}.")


def _plain_name(checking: Checking, place: Path, what: str, name: str) -> None:
    if not name.strip():
        checking.note(place, f"expected {what}, got nothing.")
    elif "{{" in name or "{%" in name:
        checking.note(place, f'{what} is not rendered: write it out, got "{name}".')
    elif len(name) > 256:
        checking.note(place, f"expected {what} to be at most 256 characters, got {len(name)}.")


def _number(
    checking: Checking,
    place: Path,
    what: str,
    value: Any,
    *,
    most: float,
    least: float | None = None,
    above: float | None = None,
) -> None:
    if value is None:
        return
    if above is not None and not value > above:
        checking.note(place, f"expected {what} to be more than {above:g}, got {value:g}.")
    elif least is not None and not value >= least:
        checking.note(place, f"expected {what} to be at least {least:g}, got {value:g}.")
    elif not value <= most:
        checking.note(place, f"expected {what} to be at most {most:,.0f}, got {value:,.0f}.")
