"""A workflow built in Python: the same definition, with the same version, as the YAML that says the same."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import msgspec

from headgate.authoring import InvalidDefinition, given_files, load_definition
from headgate.authoring.definition_text import LONG_KEYS, document_of, write_yaml
from headgate.core.definition import Definition
from headgate.core.errors import Invalid, Problem
from headgate.core.money import Amount
from headgate.sdk.activity import Function, settings_of
from headgate.sdk.files_beside import FilesBeside

__all__ = ["Reference", "Workflow"]


class Reference:
    """A name in an expression. Attributes and items lead further into it; as a value it is its template.

    `fetch.response.body` is `{{ fetch.response.body }}`, alone or inside an f-string; `rows["*"]` is `{{ rows[*] }}`.
    It has no methods, so that every attribute is free for names; what begins with an underscore is reached as an item.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("_"):
            raise AttributeError(f"write [{name!r}] for a field whose name begins with an underscore")
        return Reference(f"{self._text}.{name}")

    def __getitem__(self, key: str | int) -> Reference:
        if key == "*":
            return Reference(f"{self._text}[*]")
        return Reference(f"{self._text}[{msgspec.json.encode(key).decode()}]")

    def __iter__(self) -> Any:
        raise TypeError(f"{self._text} is known only when the workflow runs; use for_each to go through it")

    def __bool__(self) -> bool:
        raise TypeError(f'{self._text} is known only when the workflow runs; write a condition: when="{self._text}"')

    def __str__(self) -> str:
        return f"{{{{ {self._text} }}}}"

    def __repr__(self) -> str:
        return f"<reference {self._text}>"


class Workflow:
    """A definition in the making. Nothing is checked before `definition()`, which finds all that is wrong at once.

    `inputs` are types by name (`{"url": "string"}`) or maps as in YAML; `budget` is what a run may cost, in US dollars;
    `outputs` are templates or references by name, and may also be set later, as an attribute. `folder` is where the
    prompt templates and script files are that it names. Any other key of a workflow file goes by its name:
    `Workflow("x", timeout="2h")`.
    """

    def __init__(
        self,
        name: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        budget: Amount | Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
        description: str | None = None,
        folder: Path | None = None,
        **settings: Any,
    ) -> None:
        self.name = name
        self.folder = folder
        self.outputs = outputs
        self._head = _given(
            {"description": description, "inputs": inputs, "budget": budget, "labels": labels, **settings}
        )
        self._activities: dict[str, dict[str, Any]] = {}
        self._long = False
        """Written in the long form: dependencies are those that are named, and no others."""
        self._functions: dict[str, Function] = {}
        self._places: dict[str, tuple[str, int]] = {}

    # --- Names in expressions --------------------------------------------------------------------------------------

    @property
    def input(self) -> Reference:
        """The run's input: `flow.input.url` is `{{ INPUT.url }}`."""
        return Reference("INPUT")

    @property
    def item(self) -> Reference:
        """The item, in an activity with `for_each`."""
        return Reference("ITEM")

    @property
    def index(self) -> Reference:
        """The item's number, from 0."""
        return Reference("INDEX")

    @property
    def secret(self) -> Reference:
        """The tenant's secrets; only in `with_`."""
        return Reference("SECRET")

    def __getitem__(self, key: str) -> Reference:
        """Return the reference to an activity by its key. Raises `KeyError` for one that has not been added."""
        if key not in self._activities:
            raise KeyError(f"{self.name} has no activity {key!r} yet; it has {', '.join(self._activities) or 'none'}")
        return Reference(key)

    # --- Building --------------------------------------------------------------------------------------------------

    def add(
        self,
        key: str,
        use: str | Function | None = None,
        *,
        with_: Mapping[str, Any] | None = None,
        after: str | Reference | Sequence[Any] | None = None,
        when: str | Reference | None = None,
        for_each: Reference | str | Sequence[Any] | None = None,
        retry: int | Mapping[str, Any] | None = None,
        timeout: float | str | None = None,
        budget: Amount | Mapping[str, Any] | None = None,
        workflow: str | Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Reference:
        """Add an activity, and return the reference to what it will come to.

        `use` is the name of an activity, or a function (marked with `@headgate.activity`, or any other whose arguments
        go by name). `with_` holds its parameters: JSON values, templates as text, and references at any depth. What
        they name is waited for; `after` names what is waited for besides. Any other key of an activity goes by its
        name (`join="any"`, `on_failure="continue"`). What the decorator said of a function holds where nothing is said
        here.

        Raises `Invalid` for a key that is there already, and for two functions of one name.
        """
        if key in self._activities:
            raise Invalid(f"{self.name} has an activity {key!r} already; choose another key.")
        body = {"with": with_, "after": _after(after), "when": when, "for_each": for_each, "retry": retry}
        body |= {"timeout": timeout, "budget": budget, "workflow": workflow, **settings}
        if callable(use):
            use = self._take(use, body)
        self._activities[key] = _given({"use": use, **body})
        caller = inspect.currentframe()
        if caller is not None and caller.f_back is not None:
            self._places[key] = (caller.f_back.f_code.co_filename, caller.f_back.f_lineno)
        return Reference(key)

    def _take(self, function: Function, body: dict[str, Any]) -> str:
        """Return the function's name as an activity, and keep it; fill in what its decorator said."""
        settings = settings_of(function)
        name = settings.name if settings else function.__name__
        if self._functions.setdefault(name, function) is not function:
            raise Invalid(f"{self.name} has another function called {name!r} already; give one of them another name=.")
        if settings:
            defaults = {"retry": settings.attempts, "timeout": settings.timeout, "queue": settings.queue}
            for key, value in defaults.items():
                if body.get(key) is None:
                    body[key] = value
        return name

    @property
    def functions(self) -> tuple[Function, ...]:
        """The functions that it uses as activities."""
        return tuple(self._functions.values())

    @property
    def named_functions(self) -> dict[str, Function]:
        """The same by the names that they have as activities."""
        return dict(self._functions)

    # --- As a definition, and as YAML ------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """Return what a file of this workflow holds, as plain values."""
        document = {"name": self.name, **self._head}
        if self._long:
            document["activities"] = [{"key": key, **_in_long(body)} for key, body in self._activities.items()]
        else:
            document["activities"] = self._activities
        return {**document, **_given({"outputs": self.outputs})}

    def definition(self, *, activities: Iterable[str] = (), providers: Iterable[str] = ()) -> Definition:
        """Return the checked definition: equal, with the same version, to that of the YAML that says the same.

        `activities` and `providers` are known beside its own functions, the built-in ones, and the providers that the
        environment names. Raises `InvalidDefinition` with all problems, each with the line of its `add`.
        """
        return self.loaded(activities=activities, providers=providers)[0]

    def loaded(
        self, *, activities: Iterable[str] = (), providers: Iterable[str] = ()
    ) -> tuple[Definition, dict[str, str]]:
        """Return the definition, and the texts of the files that it refers to."""
        from headgate.llm.registry import build_providers

        files = FilesBeside(self.folder) if self.folder else None
        try:
            definition = load_definition(
                self.text(),
                source=f"workflow {self.name}",
                providers=frozenset(build_providers(os.environ)) | frozenset(providers),
                activities=frozenset(self._functions) | frozenset(activities),
                read=files.read if files else None,
            )
        except InvalidDefinition as error:
            found = [self._placed(problem, error.source) for problem in error.problems]
            raise InvalidDefinition(error.source, found) from None
        return definition, files.texts if files else {}

    def text(self) -> bytes:
        """Return the document as JSON text, which is what is handed to an engine."""
        try:
            return msgspec.json.encode(self.document())
        except (TypeError, ValueError) as error:
            raise Invalid(f"workflow {self.name} holds a value that JSON cannot: {error}") from None

    def _placed(self, problem: Problem, source: str) -> Problem:
        """Return the problem with the place in the program where its activity was added."""
        words = problem.path.split(".")
        key = words[1] if len(words) > 1 and words[0] == "activities" else ""
        file, line = self._places.get(key, (source, 0))
        return msgspec.structs.replace(problem, source=file, line=line or None, column=None)

    def to_yaml(self) -> str:
        """Return short-form YAML that loads to the same version. Raises `InvalidDefinition` as `definition` does, but
        takes it on trust that an activity which is only named will be there.

        A workflow that the short form cannot express (a template names what is not waited for directly) is written in
        the long form.
        """
        definition, files = self.loaded(activities=self._names())
        return write_yaml(document_of(definition, given_files(files)))

    def _names(self) -> set[str]:
        bodies = self._activities.values()
        return {str(body["use"]) for body in bodies if "use" in body}

    @classmethod
    def from_yaml(cls, source: str | Path, *, functions: Iterable[Function] = ()) -> Self:
        """Return the workflow of a YAML or JSON text, or of the file at a `Path`, checked, with the same version.

        `functions` are those that it names with `use`. Raises `InvalidDefinition` with line and column, and `Invalid`
        for a file that cannot be read.
        """
        from headgate.llm.registry import build_providers
        from headgate.sdk.given import read_definition_file

        text = source if isinstance(source, str) else read_definition_file(source)
        given = {(settings.name if (settings := settings_of(one)) else one.__name__): one for one in functions}
        files = None if isinstance(source, str) else FilesBeside(source.parent)
        definition = load_definition(
            text,
            source="definition" if isinstance(source, str) else str(source),
            providers=frozenset(build_providers(os.environ)),
            activities=frozenset(given),
            read=files.read if files else None,
        )
        workflow = cls(definition.name, folder=None if isinstance(source, str) else source.parent)
        workflow._fill(document_of(definition, files.read if files else None))
        used = {activity.name for activity in definition.activities}
        workflow._functions.update((name, function) for name, function in given.items() if name in used)
        return workflow

    def _fill(self, document: dict[str, Any]) -> None:
        head = dict(document)
        self.name, self.outputs, activities = head.pop("name"), head.pop("outputs", None), head.pop("activities")
        self._head = head
        self._long = isinstance(activities, list)
        if self._long:
            activities = {body.pop("key"): body for body in cast("list[dict[str, Any]]", activities)}
        self._activities = activities


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given, with references as templates."""
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    return value


def _after(after: Any) -> Any:
    """Return dependencies by key: a reference stands for its activity."""
    if after is None:
        return None
    listed = cast("Sequence[Any]", after) if isinstance(after, list | tuple) else [after]
    return [_key(one) for one in listed]


def _key(one: Any) -> Any:
    if isinstance(one, Reference):
        return str(one).removeprefix("{{ ").removesuffix(" }}").split(".")[0].split("[")[0]
    if isinstance(one, Mapping):
        entries = cast("Mapping[str, Any]", one).items()
        return {name: _key(value) if name == "activity_key" else value for name, value in entries}
    return one


def _in_long(body: dict[str, Any]) -> dict[str, Any]:
    return {LONG_KEYS.get(key, key): value for key, value in body.items()}
