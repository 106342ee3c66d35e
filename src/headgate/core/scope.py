"""What names mean when a template is rendered: `<key>`, `SECRET`, and the small views that stand for
outputs.

A view answers `.name` in an expression and becomes plain JSON when it is printed or passed on. It loads
what it needs when it is asked, once, and must not know Jinja, the log, or where results are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from headgate.core.errors import Invalid
from headgate.core.money import dollars

__all__ = [
    "ABSENT",
    "EVERY",
    "ActivityView",
    "Every",
    "Iterations",
    "MarkedSecrets",
    "SecretView",
    "UnknownSecret",
    "View",
]

EVERY = "[*]"
"""The path segment of `<key>[*]`."""

SIGNAL_DATA = "signal_data"
"""The field of an activity that holds what its signal brought; null, however deep, where none came."""


class UnknownSecret(Invalid):
    """An expression asks for a secret that is not set, or for all secrets at once."""

    code = "unknown_secret"


class View:
    """An object inside an expression that is not plain JSON yet."""

    __slots__ = ()

    def field(self, name: str) -> object:
        """Return what `.name` means here: a JSON value, a view, or None where there is no such field."""
        raise NotImplementedError  # each kind of view has its own

    def plain(self) -> Any:
        """Return the JSON value that this view stands for."""
        raise NotImplementedError  # each kind of view has its own

    def every(self) -> View:
        """Return what `[*]` means here."""
        value = self.plain()
        return Every(cast("list[object]", value) if isinstance(value, list) else [])

    def items(self) -> list[View] | None:
        """Return what `[0]`, `[1]`… mean here, or None: the same as in the JSON value."""
        return None

    def truth(self) -> bool:
        return bool(self.plain())


class Absent(View):
    """The output of an activity that has none (yet). It is null, and so is every field of it, however deep:
    a loop may read its own earlier output in its first iteration, and a join the output of a branch that
    was skipped."""

    __slots__ = ()

    def field(self, name: str) -> object:
        return self

    def plain(self) -> None:
        return None


ABSENT = Absent()


class Every(View):
    """Many values at once: a field of it is the list of that field of each (null where there is none)."""

    __slots__ = ("_values",)

    def __init__(self, values: Sequence[object]) -> None:
        self._values = values

    def field(self, name: str) -> object:
        return Every([_field(value, name) for value in self._values])

    def plain(self) -> list[object]:
        return [_plain(value) for value in self._values]


class Iterations(View):
    """The values of every iteration, oldest first. A field name reads the latest."""

    __slots__ = ("_values",)

    def __init__(self, values: Sequence[object]) -> None:
        self._values = values

    def field(self, name: str) -> object:
        return _field(self._values[-1], name) if self._values else ABSENT

    def plain(self) -> list[object]:
        return [_plain(value) for value in self._values]


class ActivityView(View):
    """What `<key>` is inside an expression.

    `own` is the output name of the activity's kind (`result`, `response`, `echo`), `declared` the names
    under `outputs`. `results` loads the latest output (None: none yet; a list of item outputs with
    `fan_out`), `history` the outputs of all iterations, oldest first; each is called at most once, and only
    if it is needed. `signal` loads what the signal brought that woke the activity. Amounts are nano-dollars.
    `llm`: text that is a JSON object lends its fields. `script`: a declared output is read from the result's
    field of that name where there is one. `custom`: it is none of ours; its fields are outputs that its maker has
    named, and any name is read from the field of that name first, the own one too.
    """

    __slots__ = (
        "_custom",
        "_declared",
        "_fan_out",
        "_history",
        "_latest",
        "_llm",
        "_load_history",
        "_load_latest",
        "_load_signal",
        "_loaded",
        "_own",
        "_scoped",
        "_script",
        "_status_words",
        "key",
    )

    def __init__(
        self,
        key: str,
        own: str,
        declared: tuple[str, ...],
        status: str,
        error: object | None,
        iteration: int,
        cost_nano: int,
        accumulated_cost_nano: int,
        remaining_budget_nano: int | None,
        results: Callable[[], object],
        history: Callable[[], list[object]],
        signal: Callable[[], object] = lambda: None,
        scoped: bool = False,
        llm: bool = False,
        fan_out: bool = False,
        script: bool = False,
        custom: bool = False,
    ) -> None:
        self.key = key
        self._own = own
        self._declared = declared
        self._scoped = scoped
        self._llm = llm
        self._fan_out = fan_out
        self._script = script
        self._custom = custom
        self._load_latest = results
        self._load_history = history
        self._load_signal = signal
        self._loaded = False
        self._latest: object = None
        self._history: list[object] | None = None
        self._status_words: dict[str, object] = {
            "status": status,
            "error": _error(error),
            "iteration": iteration,
            "cost_usd": dollars(cost_nano),
            "accumulated_cost_usd": dollars(accumulated_cost_nano),
            "total_cost_usd": dollars(accumulated_cost_nano),
            "remaining_budget_usd": None if remaining_budget_nano is None else dollars(remaining_budget_nano),
        }

    def field(self, name: str) -> object:
        """Return the first that matches: a status word, `signal_data`, the own output name, a declared output, a
        field of the result, a field of the model's JSON text; else None."""
        if name in self._status_words:
            return self._status_words[name]
        if name == SIGNAL_DATA:
            data = self._load_signal()
            return ABSENT if data is None else data
        if self._scoped and (name == self._own or name in self._declared):
            return Iterations([self._of(output, name) for output in self._outputs()])
        return self._of(self._result(), name)

    def every(self) -> View:
        return _Everywhere(self)

    def items(self) -> list[View] | None:
        """Of a `for_each`: its items, each with the fields that the activity has without one."""
        output = self._result()
        if not self._fan_out or not isinstance(output, list):
            return None
        return [_ItemView(self, item) for item in cast("list[object]", output)]

    def plain(self) -> dict[str, object]:
        """Return the output under its own name, and the status."""
        return {self._own: _plain(self.field(self._own)), "status": self._status_words["status"]}

    def truth(self) -> bool:
        return True

    def over_iterations(self, name: str) -> View:
        """Return `<key>[*].name`."""
        return Every([self._of(output, name) for output in self._outputs()])

    def _result(self) -> object:
        if not self._loaded:
            self._latest, self._loaded = self._load_latest(), True
        return self._latest

    def _outputs(self) -> list[object]:
        if self._history is None:
            self._history = self._load_history()
        return self._history

    def _of(self, output: object, name: str) -> object:
        """Return what `name` means in one iteration's output."""
        if output is None:
            return ABSENT
        if self._fan_out and isinstance(output, list):
            items = cast("list[object]", output)
            return Every([None if item is None else self._of_one(item, name) for item in items])
        return self._of_one(output, name)

    def _of_one(self, output: object, name: str) -> object:
        fields = cast("dict[str, object]", output) if isinstance(output, dict) else {}
        if self._custom and name in fields:
            return fields[name]
        if name == self._own:
            return output
        if name in self._declared:
            return self._declared_output(output, fields, name)
        if name in fields or not self._llm:
            return fields.get(name)
        return _json_object(fields).get(name)

    def _declared_output(self, output: object, fields: dict[str, object], name: str) -> object:
        if self._llm and name in (said := _json_object(fields)):
            return said[name]
        if self._script and name in fields:
            return fields[name]
        return output if len(self._declared) == 1 else fields.get(name)


class _ItemView(View):
    """`<key>[0]` of a `for_each`: one item's output. One that was skipped is null, and so is every field of it."""

    __slots__ = ("_activity", "_output")

    def __init__(self, activity: ActivityView, output: object) -> None:
        self._activity = activity
        self._output = output

    def field(self, name: str) -> object:
        return ABSENT if self._output is None else self._activity._of_one(self._output, name)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # one mechanism in two classes

    def plain(self) -> object:
        return _plain(self._output)


class _Everywhere(View):
    """`<key>[*]`: the next name is read in every iteration."""

    __slots__ = ("_activity",)

    def __init__(self, activity: ActivityView) -> None:
        self._activity = activity

    def field(self, name: str) -> object:
        return self._activity.over_iterations(name)

    def plain(self) -> list[object]:
        return [_plain(output) for output in self._activity._outputs()]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # one mechanism in two classes


class SecretView(View):
    """`SECRET`: one secret by name, whatever its case. All of them at once cannot be had."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name.upper(): value for name, value in values.items()}

    def field(self, name: str) -> object:
        """Return the secret's text. Raises `UnknownSecret`."""
        value = self._values.get(name.upper())
        if value is None:
            raise UnknownSecret(
                f"secret {name!r} is not set: set the environment variable HEADGATE_SECRET_{name.upper()}"
            )
        return value

    def plain(self) -> object:
        raise UnknownSecret("SECRET stands for no single value: name the secret, as in SECRET.api_key")

    def truth(self) -> bool:
        return True


class MarkedSecrets(View):
    """`SECRET` for the input hash: every secret is the text `secret:NAME`, set or not."""

    __slots__ = ()

    def field(self, name: str) -> object:
        return f"secret:{name.upper()}"

    def plain(self) -> object:
        raise UnknownSecret("SECRET stands for no single value: name the secret, as in SECRET.api_key")

    def truth(self) -> bool:
        return True


def _field(value: object, name: str) -> object:
    if isinstance(value, View):
        return value.field(name)
    if isinstance(value, dict):
        return cast("dict[str, object]", value).get(name)
    if isinstance(value, list):
        return Every(cast("list[object]", value)).field(name)
    return None


def _plain(value: object) -> object:
    return value.plain() if isinstance(value, View) else value


def _error(error: object | None) -> object:
    """Return the `code` and `message` of a failure, given as an object or as a mapping; without one they are null."""
    if error is None:
        return ABSENT
    if isinstance(error, Mapping):
        fields = cast("Mapping[str, object]", error)
        return {"code": fields.get("code"), "message": fields.get("message")}
    return {"code": getattr(error, "code", "error"), "message": getattr(error, "message", str(error))}


def _json_object(result: dict[str, object]) -> dict[str, object]:
    """Return the JSON object that a model's answer is, parsed already or as text; empty where it is none."""
    parsed = result.get("parsed")
    if isinstance(parsed, dict):
        return cast("dict[str, object]", parsed)
    text = result.get("content")
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except msgspec.DecodeError:
        return {}
