"""Functions as activities: `@headgate.activity` marks one, `as_activity` makes of it what a worker calls.

A marked function stays what it was, and can be called and tested as before. As an activity, each argument is taken from
the parameter of its name and converted to its annotation; an argument annotated `headgate.ActivityContext` gets the
context.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, cast, get_type_hints, overload

import msgspec

from headgate.core.duration import parse_seconds
from headgate.core.errors import Invalid
from headgate.ports import ActivityContext, ActivityFunction, Attempt

__all__ = ["ActivitySettings", "Function", "activity", "as_activity", "collect_activities", "settings_of"]

P = ParamSpec("P")
R = TypeVar("R")
Function = Callable[..., Any]

MARK = "__headgate_activity__"
VALUES_SHOWN_MAX = 60


class ActivitySettings(msgspec.Struct, frozen=True):
    """What the decorator said. None: not said, the engine's default holds."""

    name: str
    attempts: int | None = None
    timeout: float | str | None = None
    queue: str | None = None


@overload
def activity(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def activity(
    *,
    name: str | None = None,
    attempts: int | None = None,
    timeout: float | str | None = None,
    queue: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def activity(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    attempts: int | None = None,
    timeout: float | str | None = None,
    queue: str | None = None,
) -> Any:
    """Mark a function, plain or async, as an activity, and return it unchanged. Marked again, the last mark holds.

    `name` is what workflows call it (default: the function's name). `attempts` in all, and `timeout` of one attempt
    (seconds, or a text such as "30s"), are what `Workflow.add` writes into the definition unless it is told otherwise;
    a YAML file says them itself. `queue`: who runs it, where that is not this process.

    As an activity it is called with its parameters by name, each converted to its annotation; what does not fit fails
    the attempt as `invalid_parameters`, without retry. It returns any value that msgspec can make JSON of; it fails by
    raising, with `Attempt.failed(...)` to choose a code and whether to try again. An attempt whose process died is
    made again from the start, so do nothing twice that may happen only once. Plain functions run in a thread.

    Raises `Invalid` for fewer than one attempt, for a timeout that is no duration, and for arguments that cannot be
    given by name.
    """

    def mark(function: Function) -> Function:
        settings = ActivitySettings(name or function.__name__, attempts, timeout, queue)
        _check(settings, function)
        setattr(function, MARK, settings)
        return function

    return mark if function is None else mark(function)


def settings_of(function: object) -> ActivitySettings | None:
    """Return what `@headgate.activity` said of a function; None for one that is not marked."""
    found = getattr(function, MARK, None)
    return found if isinstance(found, ActivitySettings) else None


def collect_activities(functions: Iterable[Function]) -> dict[str, ActivityFunction]:
    """Return functions as a worker takes them, by name; one that is not marked goes by its own name. The same function
    twice counts once. Raises `Invalid` where two share a name."""
    found: dict[str, ActivityFunction] = {}
    origins: dict[str, Function] = {}
    for function in functions:
        settings = settings_of(function)
        name = settings.name if settings else function.__name__
        if origins.setdefault(name, function) is not function:
            raise Invalid(f"Two activities are called {name!r}; give one of them another name=.")
        found[name] = as_activity(function)
    return found


def as_activity(function: Function) -> ActivityFunction:
    """Return the function as a worker calls it: with all parameters, and the context. Raises `Invalid` for annotations
    that do not resolve."""
    binding = _Binding(function)
    if inspect.iscoroutinefunction(function):

        async def call_later(parameters: dict[str, Any], context: ActivityContext) -> Any:
            return binding.output(await function(**binding.arguments(parameters, context)))

        return call_later

    def call(parameters: dict[str, Any], context: ActivityContext) -> Any:
        return binding.output(function(**binding.arguments(parameters, context)))

    return call


class _Binding:
    """A function's signature, ready to be filled."""

    def __init__(self, function: Function) -> None:
        self._name = function.__name__
        try:
            hints = get_type_hints(function, include_extras=True)
        except NameError as error:
            raise Invalid(
                f"{function.__name__}: an annotation cannot be resolved ({error}); import what it names where the "
                "function can see it."
            ) from None
        signature = inspect.signature(function).parameters.values()
        self._any_name = any(argument.kind is argument.VAR_KEYWORD for argument in signature)
        named = [argument for argument in signature if argument.kind is not argument.VAR_KEYWORD]
        self._context = tuple(one.name for one in named if hints.get(one.name) is ActivityContext)
        self._types = {one.name: hints.get(one.name, Any) for one in named if one.name not in self._context}
        self._needed = tuple(one.name for one in named if one.name in self._types and one.default is one.empty)

    def arguments(self, parameters: dict[str, Any], context: ActivityContext) -> dict[str, Any]:
        """Return the arguments of a call. Raises `Attempt`, not retryable, for parameters that do not fit."""
        for name in self._needed:
            if name not in parameters:
                raise self._misfit(f'needs the parameter "{name}" ({_shown(self._types[name])}); add it under `with`')
        unknown = sorted(parameters.keys() - self._types.keys())
        if unknown and not self._any_name:
            takes = ", ".join(self._types) or "none"
            raise self._misfit(f'has no parameter "{unknown[0]}"; it takes {takes}')
        found: dict[str, Any] = {name: self._converted(name, value) for name, value in parameters.items()}
        return found | dict.fromkeys(self._context, context)

    def _converted(self, name: str, value: Any) -> Any:
        wanted = self._types.get(name, Any)
        try:
            return msgspec.convert(value, wanted)
        except msgspec.ValidationError as error:
            raise self._misfit(f'takes "{name}" as {_shown(wanted)}: {error}') from None

    def output(self, value: Any) -> Any:
        """Return a result as JSON knows it. Raises `Attempt`, not retryable, for what JSON cannot hold."""
        try:
            return msgspec.to_builtins(value, str_keys=True)
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            raise Attempt.failed(
                "invalid_output",
                f"{self._name} returned {type(value).__name__}, which cannot be kept as JSON: {error}",
                retryable=False,
            ) from None

    def _misfit(self, message: str) -> Attempt:
        return Attempt.failed("invalid_parameters", f"{self._name} {message}.", retryable=False)


def _check(settings: ActivitySettings, function: Function) -> None:
    if settings.attempts is not None and settings.attempts < 1:
        raise Invalid(f"{settings.name}: expected attempts to be at least 1, got {settings.attempts}.")
    if settings.timeout is not None:
        parse_seconds(settings.timeout)
    for argument in inspect.signature(function).parameters.values():
        if argument.kind in (argument.POSITIONAL_ONLY, argument.VAR_POSITIONAL):
            raise Invalid(
                f"{settings.name}: the argument {argument.name!r} cannot be given by name, and the parameters of an "
                "activity come by name."
            )


def _shown(annotation: Any) -> str:
    """Return a type as its author wrote it, or nearly."""
    text = annotation.__name__ if isinstance(annotation, type) else str(cast("object", annotation))
    return text.replace("typing.", "")[:VALUES_SHOWN_MAX]
