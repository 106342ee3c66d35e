"""The Jinja environment that expressions run in: its operators, fields, functions and methods.

It is closed: a name is either data or on a list in this file, so no attribute of a Python object is
reached. It is bounded: whatever multiplies work or text (operators, loops, filters, literals) draws on the
`Bound` of the rendering. It is pure: nothing here reads a clock or draws a random number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from jinja2.nodes import EvalContext
from jinja2.runtime import Context, LoopContext, StrictUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, missing

from headgate.core.scope import EVERY, Every, View
from headgate.core.template_filters import build_filters, build_tests, join_text, replace_text
from headgate.core.template_values import (
    Bound,
    Unsuitable,
    compare,
    format_percent,
    kind,
    measure,
    text,
    truth,
    unwrap,
)

__all__ = ["FUNCTIONS", "HYPHEN", "Missing", "Rendering", "Sandbox", "show_name", "suggestion"]

RANGE_MAX = 100_000
DIGITS_MAX = 1_024
"""Bits of the largest whole number that a calculation may pass through."""
HYPHEN = "\N{MODIFIER LETTER LOW MACRON}"
"""Stands for a hyphen inside an identifier that Python must be able to read."""


def show_name(identifier: str) -> str:
    """Return the author's name for an identifier of the compiled code."""
    return identifier.removeprefix(2 * HYPHEN).replace(HYPHEN, "-")


class Missing(StrictUndefined):
    """What is not there. Only `default`, `coalesce` and `is defined` accept it; its fields are missing as
    well."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        return f"{show_name(str(self._undefined_name))!r} is undefined"


class Rendering(Context):
    """One rendering of one text: the names it may read, and what is left of its bound."""

    bound: Bound
    sandbox: Sandbox

    def __init__(self, environment: Sandbox, names: dict[str, object], bound: Bound) -> None:
        # Jinja's own constructor is for templates that inherit, include and export; ours do not.
        self.parent = names
        self.vars = {}
        self.environment = self.sandbox = environment
        self.eval_ctx = environment.evaluation
        self.exported_vars = set()
        self.name = None
        self.globals_keys = set()
        self.blocks = {}
        self.bound = bound

    def resolve_or_missing(self, key: str) -> Any:
        value = self.parent.get(key, missing)
        return FUNCTIONS.get(key, missing) if value is missing else value


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment. Its methods are called by the compiled code, for each operation that needs a rule of
    ours."""

    intercepted_binops = frozenset({"+", "*", "**", "/", "//", "%"})
    context_class = Rendering

    def __init__(self) -> None:
        super().__init__(undefined=Missing, autoescape=False, optimized=False, keep_trailing_newline=True)
        self.globals.clear()
        self.filters = build_filters()
        self.tests = build_tests()
        self.evaluation = EvalContext(self)

    truth = staticmethod(truth)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict:
            return cast("dict[str, object]", obj).get(attribute)
        if isinstance(obj, View):
            return obj.field(attribute)
        return _inner_field(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, str):
            return _every(obj) if argument == EVERY else self.getattr(obj, argument)
        items_of_view = obj.items() if isinstance(obj, View) and isinstance(argument, int) else None
        obj = unwrap(obj) if items_of_view is None else items_of_view
        if isinstance(obj, dict):
            return cast("dict[object, object]", obj).get(argument)
        if not isinstance(obj, str | list | tuple | range) or not isinstance(argument, int):
            return Missing(f"{kind(obj)} has no item {text(argument, Bound())}")
        items = cast("list[object]", obj)
        try:
            return items[argument]
        except IndexError:
            return Missing(f"the list has no item {argument}: it has {len(items)}")

    def slice_of(self, context: Rendering, obj: Any, part: slice) -> Any:
        obj = unwrap(obj)
        if not isinstance(obj, str | list | tuple | range):
            raise Unsuitable(f"{kind(obj)} cannot be sliced")
        context.bound.work(1 + len(cast("list[object]", obj)) // 16)
        return cast("list[object]", obj)[part]

    def compare(self, context: Rendering, operator: str, left: Any, right: Any) -> bool:
        left_kind, right_kind = type(left), type(right)
        if operator == "gt" and left_kind in _NUMBERS and right_kind in _NUMBERS:
            return left > right
        return compare(operator, left, right, context.bound)

    def compare_chain(self, context: Rendering, first: Any, *rest: tuple[str, Any]) -> bool:
        for operator, right in rest:
            if not compare(operator, first, right, context.bound):
                return False
            first = right
        return True

    def show(self, context: Rendering, value: Any) -> str:
        return value if type(value) is str else text(value, context.bound)

    def print_text(self, context: Rendering, value: Any) -> str:
        value = self.show(context, value)
        context.bound.write(len(value))
        return value

    def concatenate(self, context: Rendering, values: Iterable[Any]) -> str:
        return "".join([self.print_text(context, value) for value in values])

    def built(self, context: Rendering, value: Any) -> Any:
        # A literal may hold a variable twice: measured when it is built, it cannot grow as 2^n by nesting.
        measure(value, context.bound)
        return value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        left, right = unwrap(left), unwrap(right)
        if operator in {"/", "//", "%"} and isinstance(right, int | float) and not isinstance(left, str) and not right:
            return None
        if isinstance(left, int | float) and isinstance(right, int | float):
            return _calculate(operator, left, right)
        return _join(operator, left, right, cast("Rendering", context).bound)

    def call_method(self, context: Rendering, obj: Any, name: str, *args: Any, **named: Any) -> Any:
        if isinstance(obj, LoopContext) and name in {"cycle", "changed"}:
            return getattr(obj, name)(*args)
        obj = unwrap(obj)
        allowed = _METHODS.get(type(obj), frozenset())
        if name not in allowed:
            options = f"; there are {', '.join(sorted(allowed))}" if allowed else ""
            raise Unsuitable(f"{kind(obj)} has no method {name!r}{options}")
        if isinstance(obj, str) and name in {"replace", "join"}:
            return replace_text(context, obj, *args, **named) if name == "replace" else join_text(context, args[0], obj)
        context.bound.work(1 + len(obj) // 16)
        result = getattr(obj, name)(*(unwrap(argument) for argument in args), **named)
        return list(result) if isinstance(obj, dict) and name != "get" else result


_NUMBERS = frozenset({int, float})

_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        [
            "capitalize",
            "count",
            "endswith",
            "find",
            "index",
            "isalnum",
            "isalpha",
            "isdigit",
            "islower",
            "isnumeric",
            "isspace",
            "isupper",
            "join",
            "lower",
            "lstrip",
            "partition",
            "removeprefix",
            "removesuffix",
            "replace",
            "rfind",
            "rpartition",
            "rsplit",
            "rstrip",
            "split",
            "splitlines",
            "startswith",
            "strip",
            "swapcase",
            "title",
            "upper",
        ]
    ),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
}

_LOOP_FIELDS = frozenset(
    [
        "index",
        "index0",
        "first",
        "last",
        "length",
        "revindex",
        "revindex0",
        "previtem",
        "nextitem",
        "depth",
        "depth0",
    ]
)


def _inner_field(obj: Any, name: str) -> Any:
    if isinstance(obj, Undefined):
        return obj
    if isinstance(obj, LoopContext) and name in _LOOP_FIELDS:
        return getattr(obj, name)
    if isinstance(obj, Namespace):
        return cast("dict[str, object]", object.__getattribute__(obj, "_Namespace__attrs")).get(name)
    if isinstance(obj, tuple) and name in cast("tuple[str, ...]", getattr(cast("object", obj), "_fields", ())):
        return getattr(cast("object", obj), name)
    return Missing(f"{kind(obj)} has no field {name!r}")


def _every(obj: Any) -> View:
    if isinstance(obj, View):
        return obj.every()
    if isinstance(obj, list | tuple | range):
        return Every(cast("list[object]", obj))
    raise Unsuitable(f"{kind(unwrap(obj))} has no [*]: expected a list or an activity")


# --- Operators ----------------------------------------------------------------------------------------------


def _calculate(operator: str, left: float, right: float) -> Any:
    if operator == "**":
        return _power(left, right)
    if operator == "*" and isinstance(left, int) and isinstance(right, int):
        _expect_bits(left.bit_length() + right.bit_length())
    match operator:
        case "+":
            return left + right
        case "*":
            return left * right
        case "/":
            return left / right
        case "//":
            return left // right
        case _:
            return left % right


def _power(base: float, exponent: float) -> Any:
    if isinstance(base, int) and isinstance(exponent, int):
        _expect_bits(base.bit_length() * abs(exponent))
    if base == 0 and exponent < 0:
        return None
    result = base**exponent
    if isinstance(result, complex):
        raise Unsuitable("the power of a negative number to a fraction is no real number")
    return result


def _expect_bits(bits: int) -> None:
    if bits > DIGITS_MAX:
        raise Unsuitable(f"the number becomes too large: more than {DIGITS_MAX} bits")


def _join(operator: str, left: Any, right: Any, bound: Bound) -> Any:
    """Return what an operator makes of values that are not both numbers: joined, repeated text and lists."""
    if operator == "+" and isinstance(left, str) and isinstance(right, str):
        bound.write(len(left) + len(right))
        return left + right
    if operator == "+" and isinstance(left, list | tuple) and isinstance(right, list | tuple):
        joined = [*cast("list[object]", left), *cast("list[object]", right)]
        measure(joined, bound)
        return joined
    if operator == "*" and isinstance(left, str | list) and isinstance(right, int):
        return _repeat(cast("str | list[object]", left), right, bound)
    if operator == "%" and isinstance(left, str):
        return format_percent(left, right, bound)
    raise Unsuitable(f"{operator!r} cannot be used between {kind(left)} and {kind(right)}")


def _repeat(value: str | list[object], times: int, bound: Bound) -> Any:
    size = len(value) * max(times, 0)
    if isinstance(value, str):
        bound.write(size)
        return value * times
    bound.work(size)
    repeated = value * times
    measure(repeated, bound)
    return repeated


# --- Functions ----------------------------------------------------------------------------------------------


def _bounded_range(*limits: int) -> range:
    numbers = range(*limits)
    if len(numbers) > RANGE_MAX:
        raise Unsuitable(f"range() would have {len(numbers):,} items: at most {RANGE_MAX:,}")
    return numbers


def _dictionary(**fields: Any) -> dict[str, Any]:
    return fields


FUNCTIONS: dict[str, Any] = {"dict": _dictionary, "namespace": Namespace, "range": _bounded_range}


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name nearest to `name`, or nothing."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
