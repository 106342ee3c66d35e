"""What a case expects, held against what came of it: one `Mismatch` for each thing that is different."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from headgate.core.money import NANO
from headgate.core.place import key_of_place
from headgate.core.view import RunView
from headgate.ports import EventView
from headgate.testing.cases import Expected, Mismatch

__all__ = ["MATCHERS", "completed_keys", "differences", "mismatches_of"]

MATCHERS = frozenset({"matches", "contains", "any"})
ENDS = frozenset({"activity_completed", "activity_resolved"})


def mismatches_of(expect: Expected, view: RunView, events: Sequence[EventView]) -> list[Mismatch]:
    """Return what is not as it should be, in the order in which a reader wants to know it."""
    return [
        *_status(expect, view),
        *_error(expect, view),
        *([] if expect.outputs == _UNSET else differences("outputs", expect.outputs, view.outputs)),
        *_path(expect, view, events),
        *_calls(expect, events),
        *_cost(expect, view),
        *_events(expect, events),
    ]


_UNSET = Expected().outputs


def _status(expect: Expected, view: RunView) -> Iterator[Mismatch]:
    wanted = expect.status or ("failed" if expect.error_code or expect.error_contains else "completed")
    if view.status != wanted:
        why = view.error or view.waiting_for
        yield Mismatch("status", f"the run is {view.status}" + (f": {why}" if why else ""), wanted, view.status)


def _error(expect: Expected, view: RunView) -> Iterator[Mismatch]:
    if expect.error_code and view.error_code != expect.error_code:
        yield Mismatch("error.code", "another error", expect.error_code, view.error_code)
    if expect.error_contains and expect.error_contains not in view.error:
        yield Mismatch("error.contains", "another message", expect.error_contains, view.error)


def _path(expect: Expected, view: RunView, events: Sequence[EventView]) -> Iterator[Mismatch]:
    if isinstance(expect.path, Mapping):
        statuses = {activity.key: activity.status for activity in view.activities}
        for key, wanted in expect.path.items():
            if statuses.get(key) != wanted:
                yield Mismatch(f"path.{key}", "another status", wanted, statuses.get(key, "no such activity"))
    elif expect.path is not None and (got := completed_keys(events)) != list(expect.path):
        yield Mismatch("path", "other activities, or another order", list(expect.path), got)


def completed_keys(events: Sequence[EventView]) -> list[str]:
    """Return the keys of the activities in the order in which they completed, once for each round of a loop."""
    return [key_of_place(event.place) for event in events if event.type in ENDS and not event.place.endswith("]")]


def _calls(expect: Expected, events: Sequence[EventView]) -> Iterator[Mismatch]:
    made = Counter(key_of_place(event.place) for event in events if event.type == "call_admitted")
    if isinstance(expect.calls, int):
        if made.total() != expect.calls:
            yield Mismatch("calls", f"by activity: {dict(made)}", expect.calls, made.total())
    elif expect.calls is not None:
        for key, wanted in expect.calls.items():
            if made[key] != wanted:
                yield Mismatch(f"calls.{key}", "another number of model calls", wanted, made[key])


def _cost(expect: Expected, view: RunView) -> Iterator[Mismatch]:
    if expect.cost is not None and view.cost != expect.cost:
        yield Mismatch("cost", "the run cost something else", _dollars(expect.cost), _dollars(view.cost))
    if expect.cost_max is not None and view.cost > expect.cost_max:
        yield Mismatch("cost_max", "the run cost more", _dollars(expect.cost_max), _dollars(view.cost))


def _dollars(amount: int) -> str:
    """Return nano-dollars exactly: what is compared must not be rounded."""
    return f"${(Decimal(amount) / NANO).normalize():f}"


def _events(expect: Expected, events: Sequence[EventView]) -> Iterator[Mismatch]:
    counts = Counter(event.type for event in events)
    for kind, wanted in (expect.events or {}).items():
        if counts[kind] != wanted:
            yield Mismatch(f"events.{kind}", "another number of events", wanted, counts[kind])


# --- Values --------------------------------------------------------------------------------------------------------


def differences(where: str, wanted: Any, got: Any) -> Iterator[Mismatch]:
    """Yield where `got` is not what is wanted: maps need have only the keys that are wanted, lists are whole."""
    if isinstance(wanted, Mapping):
        values = cast("Mapping[str, Any]", wanted)
        if len(values) == 1 and values.keys() <= MATCHERS:
            yield from _matched(where, *next(iter(values.items())), got)
        else:
            yield from _map_differences(where, values, got)
    elif isinstance(wanted, list | tuple):
        yield from _list_differences(where, cast("Sequence[Any]", wanted), got)
    elif not _equal(wanted, got):
        yield Mismatch(where, "another value", wanted, got)


def _matched(where: str, matcher: str, wanted: Any, got: Any) -> Iterator[Mismatch]:
    match matcher:
        case "matches":
            if not (isinstance(got, str) and re.search(str(wanted), got)):
                yield Mismatch(where, "does not match", {"matches": wanted}, got)
        case "contains":
            inside = isinstance(got, str | list) and wanted in got
            if not inside:
                yield Mismatch(where, "does not contain it", {"contains": wanted}, got)
        case _:
            if (got is not None) is not bool(wanted):
                yield Mismatch(where, "is null" if wanted else "is not null", {"any": wanted}, got)


def _map_differences(where: str, wanted: Mapping[str, Any], got: Any) -> Iterator[Mismatch]:
    if not isinstance(got, Mapping):
        yield Mismatch(where, "is no map", wanted, got)
        return
    values = cast("Mapping[str, Any]", got)
    for key, value in wanted.items():
        if key not in values:
            yield Mismatch(f"{where}.{key}", f"is missing; there are {', '.join(values) or 'no keys'}", value)
        else:
            yield from differences(f"{where}.{key}", value, values[key])


def _list_differences(where: str, wanted: Sequence[Any], got: Any) -> Iterator[Mismatch]:
    if not isinstance(got, list | tuple):
        yield Mismatch(where, "is no list", list(wanted), got)
        return
    values = cast("Sequence[Any]", got)
    if len(values) != len(wanted):
        yield Mismatch(where, f"expected {len(wanted)} items, got {len(values)}", list(wanted), list(values))
        return
    for number, (value, other) in enumerate(zip(wanted, values, strict=True)):
        yield from differences(f"{where}[{number}]", value, other)


def _equal(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(got, bool):
        return wanted is got
    return wanted == got
