"""What values do inside expressions: truth, text, comparison, JSON; each within a bound on the work it may
cause.

Nothing here knows Jinja's environment or syntax; an undefined value is known by refusing to be used.
"""

from __future__ import annotations

import math
import operator as operators
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import msgspec
from jinja2.runtime import Undefined

from headgate.core.scope import View

__all__ = [
    "TEXT_MAX",
    "WORK_MAX",
    "Bound",
    "Unsuitable",
    "compare",
    "contains",
    "format_percent",
    "kind",
    "measure",
    "plain",
    "text",
    "truth",
    "unwrap",
]

WORK_MAX = 1_000_000
"""Units of work (about a tenth of a microsecond to a microsecond each) that one rendering may cause."""

TEXT_MAX = 4 * 1024 * 1024
"""Characters that one rendering may build. Values that are passed on as they are do not count."""

DIGITS_SHOWN_MAX = 310
"""Characters that a number may take in a text pattern, its width not counted."""

NUMBER_MIN, NUMBER_MAX = -(2**63), 2**64 - 1
"""What JSON readers agree on as a whole number."""


class Unsuitable(Exception):  # it ends a sentence that the compile functions begin, and never leaves them
    """A value cannot be used in this way; the text says why, without the value."""


class Bound:
    """What is left of the work and text of one rendering; running out of either is `Unsuitable`."""

    __slots__ = ("text_left", "work_left")

    def __init__(self) -> None:
        self.work_left = WORK_MAX
        self.text_left = TEXT_MAX

    def work(self, units: int) -> None:
        self.work_left -= units
        if self.work_left < 0:
            raise Unsuitable(f"it takes too much work: more than {WORK_MAX:,} units; loop over less")

    def write(self, characters: int) -> None:
        self.text_left -= characters
        if self.text_left < 0:
            raise Unsuitable(f"it builds too much text: more than {TEXT_MAX:,} characters")


def kind(value: object) -> str:
    """Return what people call a value of this kind."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true/false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "an object" if isinstance(value, dict | View) else "a list"


def unwrap(value: Any) -> Any:
    """Return the JSON value of a view, anything else as it is. An undefined value raises `UndefinedError`."""
    if isinstance(value, View):
        return value.plain()
    if isinstance(value, Undefined):
        str(value)
    return value


def truth(value: object) -> bool:
    """Return whether a condition with this value holds."""
    if isinstance(value, str):
        return value not in ("", "false")
    return value.truth() if isinstance(value, View) else bool(value)


def text(value: object, bound: Bound) -> str:
    """Return how a value prints in text: lists and maps as JSON, booleans and null as JSON words."""
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(_number(value))
    return msgspec.json.encode(plain(value, bound)).decode()


def plain(value: object, bound: Bound) -> Any:
    """Return `value` as JSON has it: no views, tuples, ranges or generators; finite numbers of at most 64
    bits.

    Raises `Unsuitable` for anything else, `UndefinedError` for what is undefined.
    """
    bound.work(1)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _unicode(value)
    if isinstance(value, int | float):
        return _number(value)
    value = unwrap(value)
    if isinstance(value, dict):
        fields = cast("dict[object, object]", value)
        return {_unicode(text(name, bound)): plain(field, bound) for name, field in fields.items()}
    if isinstance(value, list | tuple | range | Iterator):
        return [plain(item, bound) for item in cast("Iterable[object]", value)]
    if value is None or isinstance(value, str | int | float):
        return value
    raise Unsuitable(f"its value is no JSON value but an internal object ({type(value).__name__})")


def _unicode(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unsuitable("its text holds half a character (a lone surrogate)") from None
    return value if type(value) is str else str.__str__(value)


def _number(value: float) -> int | float:
    if isinstance(value, int):
        if NUMBER_MIN <= value <= NUMBER_MAX:
            return value
        raise Unsuitable("its value is a whole number of more than 64 bits")
    if math.isfinite(value):
        return value
    raise Unsuitable("its value is not a finite number")


def compare(operator: str, left: object, right: object, bound: Bound) -> bool:
    """Return `left operator right` for an operator by Jinja's name. In an ordering, null counts as 0."""
    left, right = unwrap(left), unwrap(right)
    match operator:
        case "eq":
            return _equal(left, right, bound)
        case "ne":
            return not _equal(left, right, bound)
        case "in":
            return contains(right, left, bound)
        case "notin":
            return not contains(right, left, bound)
        case "contains":
            return contains(left, right, bound)
        case "notcontains":
            return not contains(left, right, bound)
        case _:
            return _ordered(operator, left, right, bound)


def _ordered(operator: str, left: Any, right: Any, bound: Bound) -> bool:
    left = 0 if left is None else left
    right = 0 if right is None else right
    if isinstance(left, str) and isinstance(right, str):
        bound.work(1 + min(len(left), len(right)) // 64)
        return _ORDERS[operator](left, right)
    if not (isinstance(left, int | float) and isinstance(right, int | float)):
        raise Unsuitable(f"{kind(left)} cannot be ordered against {kind(right)}")
    return _ORDERS[operator](left, right)


_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operators.lt,
    "lteq": operators.le,
    "gt": operators.gt,
    "gteq": operators.ge,
}


def _equal(left: Any, right: Any, bound: Bound) -> bool:
    left, right = unwrap(left), unwrap(right)
    if isinstance(left, dict) and isinstance(right, dict):
        fields = cast("dict[object, object]", left)
        others = cast("dict[object, object]", right)
        bound.work(1 + len(fields))
        return fields.keys() == others.keys() and all(_equal(fields[name], others[name], bound) for name in fields)
    if isinstance(left, list | tuple | range) and isinstance(right, list | tuple | range):
        items = cast("list[object]", left)
        bound.work(1 + len(items))
        same_length = len(items) == len(cast("list[object]", right))
        return same_length and all(_equal(a, b, bound) for a, b in zip(items, cast("list[object]", right), strict=True))
    if isinstance(left, str) and isinstance(right, str):
        bound.work(min(len(left), len(right)) // 64)
    return left == right


def contains(container: object, item: object, bound: Bound) -> bool:
    """Return whether text contains a text, a list an equal item, an object a key. Null contains nothing."""
    container, item = unwrap(container), unwrap(item)
    if container is None:
        return False
    if isinstance(container, str):
        bound.work(1 + len(container) // 64)
        return item is not None and text(item, bound) in container
    if isinstance(container, dict):
        return isinstance(item, str) and item in container
    if isinstance(container, list | tuple | range | Iterator):
        return any(_equal(candidate, item, bound) or bound.work(1) for candidate in cast("Iterable[object]", container))
    raise Unsuitable(f"{kind(container)} contains nothing: expected text, a list or an object")


def measure(value: Any, bound: Bound) -> None:
    """Charge for every item inside of a value: what is walked over whole, or might grow by being nested in
    itself."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            value = list(cast("dict[str, object]", value).values())
        if isinstance(value, list | tuple):
            items = cast("list[object]", value)
            bound.work(1 + len(items))
            waiting.extend(item for item in items if isinstance(item, dict | list | tuple))


def format_percent(pattern: str, values: Any, bound: Bound) -> str:
    """Return `pattern % values`, in which a number may not ask for more than three digits of width."""
    if re.search(r"%[^a-zA-Z%]*(\*|\d{4})", pattern):
        raise Unsuitable("the width in a text pattern is too large")
    listed = cast("tuple[object, ...]", values) if isinstance(values, tuple) else (values,)
    shown = tuple(
        value if isinstance(value, str | int | float) and not isinstance(value, bool) else text(value, bound)
        for value in listed
    )
    longest = max((len(value) if isinstance(value, str) else DIGITS_SHOWN_MAX for value in shown), default=0)
    bound.write(len(pattern) + pattern.count("%") * (longest + 1000))
    return pattern % shown
