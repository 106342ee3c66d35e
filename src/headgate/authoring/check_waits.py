"""Waiting that cannot end as its author means it: for a time that is none, for a person who cannot answer, over
something that is no list."""

from __future__ import annotations

import re
from collections.abc import Callable

from headgate.authoring.checking import Checking
from headgate.authoring.positions import Path
from headgate.core.definition import Activity
from headgate.core.duration import parse_instant, parse_microseconds
from headgate.core.errors import Invalid
from headgate.core.expression import ExpressionError, compile_value

__all__ = ["check_waits"]

WAITS: dict[str, Callable[[object], int]] = {
    "seconds": parse_microseconds,
    "duration": parse_microseconds,
    "until": parse_instant,
}
AN_INPUT = re.compile(r"\{\{\s*INPUT\.(\w+)\s*\}\}")


def check_waits(checking: Checking) -> None:
    """Note waits without a time, approvals that nobody can decide, and items that are no list."""
    for activity in checking.definition.activities:
        place: Path = ("activities", activity.key)
        if activity.workflow is None and activity.name == "wait":
            _check_wait(checking, place, activity)
        elif activity.workflow is None and activity.name == "approval":
            _check_approval(checking, place, activity)
        if activity.for_each is not None:
            _check_items(checking, place, activity)
        wait = activity.wait_for_signal
        if wait is not None and wait.timeout_seconds is None and wait.on_timeout != "fail":
            message = (
                f"`on_timeout: {wait.on_timeout}` does nothing without a `timeout`; the wait has no end of its own."
            )
            checking.warn((*place, "wait_for_signal", "on_timeout"), message)


def _check_wait(checking: Checking, place: Path, activity: Activity) -> None:
    given = [name for name in WAITS if activity.parameters.get(name) is not None]
    if not given and not activity.parameters.keys().isdisjoint(WAITS):
        name = next(name for name in WAITS if name in activity.parameters)
        checking.note((*place, "parameters", name), "expected a time to wait for, got nothing.")
    if len(given) > 1:
        checking.note(
            (*place, "parameters", given[1]),
            f"a wait takes one of seconds, duration and until, got {' and '.join(given)}; keep one of them.",
            at_key=True,
        )
    for name in given:
        _check_time(checking, (*place, "parameters", name), activity.parameters[name], WAITS[name])


def _check_approval(checking: Checking, place: Path, activity: Activity) -> None:
    parameters = activity.parameters
    if parameters.get("approvers", "anyone") in ([], ""):
        message = "nobody can decide this approval: its list of approvers is empty. Name them, or leave it out."
        checking.note((*place, "parameters", "approvers"), message)
    _check_reminder(checking, (*place, "parameters", "remind_after"), parameters.get("remind_after"))
    timeout = parameters.get("timeout")
    at_timeout: Path = (*place, "parameters", "timeout")
    if timeout is None:
        if parameters.get("on_timeout", "fail") != "fail":
            checking.warn(
                (*place, "parameters", "on_timeout"),
                "`on_timeout` does nothing without a `timeout`; the approval waits until somebody decides.",
            )
    elif _check_time(checking, at_timeout, timeout, parse_microseconds) == 0:
        checking.note(at_timeout, "nobody can decide this approval: it times out at once. Give it some time.")


def _check_reminder(checking: Checking, place: Path, after: object) -> None:
    if after is None:
        return
    if _check_time(checking, place, after, parse_microseconds) == 0:
        checking.note(place, "expected remind_after to be some time, got none.")
    notify = checking.definition.notify
    if notify is None or "waiting" not in notify.on:
        message = "`remind_after` reminds nobody: the workflow has no `notify` on waiting. Add one, or leave it out."
        checking.warn(place, message)


def _check_time(checking: Checking, place: Path, value: object, parse: Callable[[object], int]) -> int | None:
    if isinstance(value, str) and ("{{" in value or "{%" in value):
        return None
    try:
        return parse(value)
    except Invalid as error:
        checking.note(place, f"{error.message}.")
        return None


def _check_items(checking: Checking, place: Path, activity: Activity) -> None:
    at_items: Path = (*place, "for_each")
    items = activity.for_each
    if isinstance(items, str):
        if "{{" not in items and "{%" not in items:
            key = " It is an activity: write {{ " + items + ".… }}." if items in checking.keys else ""
            checking.note(at_items, f'for_each needs a list, or a template of one, got "{items}".{key}')
            return
        _check_items_of_template(checking, at_items, items)
    elif not items:
        checking.warn(at_items, f"the list is empty, so {activity.key} completes without doing anything.")


def _check_items_of_template(checking: Checking, place: Path, text: str) -> None:
    named = AN_INPUT.fullmatch(text.strip())
    declared = {entry.name: entry for entry in checking.definition.inputs or ()}
    if named is not None and named[1] in declared:
        kind = declared[named[1]].type
        if kind not in ("array", "any"):
            checking.note(place, f"for_each needs a list, but the input {named[1]} is declared as {kind}.")
        return
    try:
        template = compile_value(text, where="for_each", names=frozenset(checking.keys))
        value = None if template.roots else template.render({})
    except ExpressionError:
        return  # noted with the expressions
    if not template.roots and not isinstance(value, list):
        checking.note(place, f"for_each needs a list, got {value!r}.")
