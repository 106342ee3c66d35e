"""The filters and tests of expressions: Jinja's where they are pure and bounded, else our own.

Each is told what it works on is JSON (views are unwrapped first) and draws on the rendering's bound for
what it walks over or writes. Left out of Jinja's: what draws random numbers, reaches attributes or pads
without limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import msgspec
from jinja2 import pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Undefined
from jinja2.tests import TESTS

from headgate.core.scope import ABSENT, View
from headgate.core.template_values import (
    Bound,
    Unsuitable,
    compare,
    contains,
    format_percent,
    kind,
    measure,
    plain,
    text,
    truth,
    unwrap,
)

if TYPE_CHECKING:
    from headgate.core.template_sandbox import Rendering

__all__ = ["build_filters", "build_tests", "join_text", "replace_text"]

WIDTH_MAX = 10_000

_PLAIN_FILTERS = [
    "abs",
    "batch",
    "dictsort",
    "float",
    "groupby",
    "int",
    "items",
    "list",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "reverse",
    "select",
    "selectattr",
    "slice",
    "sort",
    "unique",
]
_TEXT_FILTERS = [
    "capitalize",
    "escape",
    "e",
    "lower",
    "striptags",
    "title",
    "trim",
    "truncate",
    "upper",
    "urlencode",
    "wordcount",
]
_DEEP_FILTERS = frozenset(["dictsort", "groupby", "max", "min", "sort", "unique"])
_PLAIN_TESTS = [
    "boolean",
    "divisibleby",
    "even",
    "false",
    "float",
    "integer",
    "iterable",
    "lower",
    "mapping",
    "number",
    "odd",
    "sequence",
    "string",
    "true",
    "upper",
]
_COMPARING_TESTS = {
    "eq": ("eq", "==", "equalto"),
    "ne": ("ne", "!="),
    "lt": ("lt", "<", "lessthan"),
    "lteq": ("le", "<="),
    "gt": ("gt", ">", "greaterthan"),
    "gteq": ("ge", ">="),
    "in": ("in",),
    "contains": ("contains",),
}


def build_filters() -> dict[str, Callable[..., Any]]:
    ours: dict[str, Callable[..., Any]] = {
        "coalesce": _coalesce,
        "contains": _contains_filter,
        "count": _length,
        "d": _default,
        "default": _default,
        "first": _first,
        "format": _format,
        "indent": _indent,
        "iterate": _iterate,
        "join": join_text,
        "json": _json,
        "last": _last,
        "length": _length,
        "replace": replace_text,
        "round": _round,
        "string": _string,
        "sum": _sum,
        "tojson": _json,
    }
    wrapped = {name: _bounded_filter(name, FILTERS[name]) for name in (*_PLAIN_FILTERS, *_TEXT_FILTERS)}
    return {name: pass_context(filter_) for name, filter_ in ours.items()} | wrapped


def _bounded_filter(name: str, jinja: Callable[..., Any]) -> Callable[..., Any]:
    """Return Jinja's own filter, told of views and charged for what it walks over."""
    passed = getattr(getattr(jinja, "jinja_pass_arg", None), "name", None)

    @pass_context
    def bounded(context: Rendering, value: Any, *args: Any, **named: Any) -> Any:
        value = _charged(context.bound, unwrap(value), deep=name in _DEEP_FILTERS)
        if name in _TEXT_FILTERS and not (name == "urlencode" and isinstance(value, dict | list)):
            value = text(value, context.bound)
        arguments = [_expect_width(unwrap(argument)) for argument in args]
        named = {key: _expect_width(unwrap(argument)) for key, argument in named.items()}
        if passed == "context":
            return jinja(context, value, *arguments, **named)
        if passed == "eval_context":
            return jinja(context.eval_ctx, value, *arguments, **named)
        return jinja(context.environment, value, *arguments, **named) if passed else jinja(value, *arguments, **named)

    return bounded


def _charged(bound: Bound, value: Any, *, deep: bool = False) -> Any:
    if isinstance(value, str):
        bound.work(1 + len(value) // 16)
    elif isinstance(value, Iterator):
        return _charged_items(bound, cast("Iterator[object]", value))
    elif isinstance(value, dict | list | tuple | range):
        bound.work(1 + len(cast("list[object]", value)))
        if deep:
            measure(value, bound)
    else:
        bound.work(1)
    return value


def _charged_items(bound: Bound, items: Iterable[object]) -> Iterator[object]:
    for item in items:
        bound.work(1)
        yield item


def _expect_width(argument: Any) -> Any:
    if isinstance(argument, int) and abs(argument) > WIDTH_MAX:
        raise Unsuitable(f"a filter's number is too large: {argument} is not within {WIDTH_MAX:,}")
    return argument


def _iterate(context: Rendering, value: Any, weight: int) -> Any:
    """Return what a `for` loops over; each turn costs as many units of work as the loop's body has parts."""
    value = [] if value is ABSENT else unwrap(value)
    if isinstance(value, Iterator):
        return _weighted(context.bound, cast("Iterator[object]", value), weight)
    if not isinstance(value, str | dict | list | tuple | range):
        raise Unsuitable(f"{kind(value)} cannot be looped over")
    context.bound.work(1 + len(cast("list[object]", value)) * weight)
    return value


def _weighted(bound: Bound, items: Iterator[object], weight: int) -> Iterator[object]:
    for item in items:
        bound.work(weight)
        yield item


def _sequence(value: Any) -> Any:
    value = unwrap(value)
    if isinstance(value, Iterator):
        return list(cast("Iterator[object]", value))
    if not isinstance(value, str | dict | list | tuple | range):
        raise Unsuitable(f"{kind(value)} has no length, first or last")
    return value


def _length(_: Rendering, value: Any) -> int:
    return 0 if unwrap(value) is None else len(_sequence(value))


def _first(_: Rendering, value: Any) -> Any:
    return None if unwrap(value) is None else next(iter(_sequence(value)), None)


def _last(_: Rendering, value: Any) -> Any:
    if unwrap(value) is None:
        return None
    items = _sequence(value)
    return next(reversed(items), None)


def _nothing(value: Any) -> bool:
    return (
        isinstance(value, Undefined)
        or (value.plain() if isinstance(value, View) and not value.truth() else value) is None
    )


def _default(_: Rendering, value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return default_value if _nothing(value) or (boolean and not truth(value)) else value


def _coalesce(_: Rendering, *values: Any) -> Any:
    return next((value for value in values if not _nothing(value)), None)


def _contains_filter(context: Rendering, value: Any, substring: Any) -> bool:
    return contains(value, substring, context.bound)


def _json(context: Rendering, value: Any, indent: int | None = None) -> str:
    encoded = msgspec.json.encode(plain(value, context.bound))
    if indent:
        encoded = msgspec.json.format(encoded, indent=min(max(int(indent), 0), 8))
    shown = encoded.decode()
    context.bound.write(len(shown))
    return shown


def _string(context: Rendering, value: Any) -> str:
    return context.sandbox.print_text(context, unwrap(value))


def join_text(context: Rendering, values: Any, separator: Any = "", attribute: Any = None) -> str:
    values = _sequence(values)
    if attribute is not None:
        values = [context.environment.getitem(value, attribute) for value in values]
    shown = [text(unwrap(value), context.bound) for value in values]
    separator = text(separator, context.bound)
    context.bound.work(1 + len(shown))
    context.bound.write(sum(map(len, shown)) + len(separator) * len(shown))
    return separator.join(shown)


def replace_text(context: Rendering, value: Any, old: Any, new: Any, count: int | None = -1) -> str:
    source, old, new = (text(unwrap(part), context.bound) for part in (value, old, new))
    found = source.count(old)
    context.bound.write(len(source) + found * len(new))
    return source.replace(old, new, -1 if count is None else count)


def _indent(context: Rendering, value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    source = text(unwrap(value), context.bound)
    margin = width if isinstance(width, str) else " " * _expect_width(width)
    lines = source.split("\n")
    context.bound.write(len(source) + len(lines) * len(margin))
    return "\n".join(
        margin + line if (line or blank) and (number or first) else line for number, line in enumerate(lines)
    )


def _format(context: Rendering, value: Any, *values: Any) -> str:
    return format_percent(text(unwrap(value), context.bound), tuple(map(unwrap, values)), context.bound)


def _round(_: Rendering, value: Any, precision: int = 0, method: str = "common") -> float | None:
    value = unwrap(value)
    if value is None:
        return None
    if not isinstance(value, int | float) or abs(precision) > 300 or method not in {"common", "ceil", "floor"}:
        raise Unsuitable("round expects a number, a precision of at most 300, and common, ceil or floor")
    if method == "common":
        return float(round(value, precision))
    factor = 10.0**precision
    return (math.ceil if method == "ceil" else math.floor)(value * factor) / factor


def _sum(context: Rendering, values: Any, attribute: Any = None, start: float = 0) -> float:
    total = start
    for value in _charged(context.bound, unwrap(values) or []):
        number = value if attribute is None else context.environment.getitem(value, attribute)
        number = 0 if number is None else unwrap(number)
        if not isinstance(number, int | float):
            raise Unsuitable(f"sum expects numbers, got {kind(number)}")
        total += number
    return total


def build_tests() -> dict[str, Callable[..., Any]]:
    tests: dict[str, Callable[..., Any]] = {name: _unwrapped(TESTS[name]) for name in _PLAIN_TESTS}
    for operator, names in _COMPARING_TESTS.items():
        tests |= dict.fromkeys(names, _comparing(operator))
    tests["defined"] = lambda value: not _nothing(value)
    tests["undefined"] = _nothing
    tests["none"] = tests["null"] = lambda value: unwrap(value) is None
    tests["empty"] = lambda value: unwrap(value) in (None, "", [], {})
    return tests


def _unwrapped(jinja: Callable[..., Any]) -> Callable[..., Any]:
    def test(value: Any, *args: Any) -> Any:
        return jinja(unwrap(value), *map(unwrap, args))

    return test


def _comparing(operator: str) -> Callable[..., Any]:
    @pass_context
    def test(context: Rendering, value: Any, other: Any) -> bool:
        return compare(operator, value, other, context.bound)

    return test
