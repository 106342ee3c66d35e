"""What a program gives to start a run with, read: the workflow in any of its forms, amounts, scripted models."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headgate.authoring import load_definition, validate_input
from headgate.core.definition import Definition
from headgate.core.errors import Invalid
from headgate.core.money import Amount, given_nano
from headgate.core.values import Mode
from headgate.ports import StartRequest
from headgate.sdk.files_beside import FilesBeside
from headgate.sdk.workflow import Workflow

if TYPE_CHECKING:
    from headgate.llm.scripted import ScriptedProvider

__all__ = [
    "Models",
    "Prepared",
    "Runnable",
    "given_models",
    "prepare",
    "read_definition_file",
    "start_request",
]

Runnable = Workflow | Path | str
"""A workflow, the path of its file, its text, or the name of one that the database knows."""


Models = str | Path | Mapping[str, Any]
"""Answers of `scripted/…` models: a file, or the map that stands under `models` in one."""

FILE_BYTES_MAX = 1024 * 1024
SUFFIXES = (".yaml", ".yml", ".json")


class Prepared(msgspec.Struct, frozen=True):
    """A workflow that is ready to be started: its text with the files that it refers to, or, where `text` is None, only
    its name."""

    name: str
    text: str | None = None
    source: str = "definition"
    files: dict[str, str] = {}
    definition: Definition | None = None


def prepare(workflow: Runnable, *, activities: Iterable[str], providers: Iterable[str]) -> Prepared:
    """Return a workflow as it is handed to an engine, checked against what that engine has.

    Raises `InvalidDefinition` with all problems, and `Invalid` for a file that cannot be read.
    """
    if isinstance(workflow, Workflow):
        definition, files = workflow.loaded(activities=activities, providers=providers)
        return Prepared(definition.name, workflow.text().decode(), f"workflow {workflow.name}", files, definition)
    text, source, beside = _text_of(workflow)
    if text is None:
        return Prepared(name=str(workflow))
    definition = load_definition(
        text,
        source=source,
        providers=frozenset(providers),
        activities=frozenset(activities),
        read=beside.read if beside else None,
    )
    return Prepared(definition.name, text, source, beside.texts if beside else {}, definition)


def _text_of(workflow: Path | str) -> tuple[str | None, str, FilesBeside | None]:
    """Return a definition's text, what problems call it, and the files beside it; no text for a mere name."""
    if isinstance(workflow, str):
        if "\n" in workflow or workflow.lstrip().startswith("{"):
            return workflow, "definition", None
        if not workflow.endswith(SUFFIXES):
            return None, "definition", None
    path = Path(workflow)
    return read_definition_file(path), str(path), FilesBeside(path.parent)


def start_request(
    workflow: Prepared,
    given: Any,
    *,
    mode: Mode = "realtime",
    budget: Amount | None = None,
    labels: Mapping[str, str] | None = None,
    unique_key: str = "",
    command_id: str = "",
) -> StartRequest:
    """Return the request that starts a run; an id makes it the same however often it is sent.

    Raises `Invalid` for an input that JSON cannot hold or that does not fit the workflow, and for a wrong budget.
    """
    try:
        value = msgspec.to_builtins({} if given is None else given, str_keys=True)
    except (TypeError, ValueError) as error:
        raise Invalid(f"The input holds a value that JSON cannot: {error}") from None
    if workflow.definition is not None:
        validate_input(workflow.definition, value)
    return StartRequest(
        definition=workflow.text,
        source=workflow.source,
        files=workflow.files,
        workflow="" if workflow.text else workflow.name,
        input=value,
        mode=mode,
        limit=None if budget is None else given_nano(budget),
        labels=dict(labels or {}),
        unique_key=unique_key,
        command_id=command_id or f"run-{secrets.token_hex(12)}",
    )


def read_definition_file(path: Path) -> str:
    """Return the text of a definition file. Raises `Invalid` for one that is missing, too large or not UTF-8."""
    try:
        data = path.read_bytes() if path.stat().st_size <= FILE_BYTES_MAX else None
    except OSError as error:
        raise Invalid(f"The workflow file {path} cannot be read: {error.strerror or error}.") from None
    if data is None:
        raise Invalid(f"The workflow file {path} is larger than {FILE_BYTES_MAX} bytes.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"The workflow file {path} is not UTF-8 text (byte {error.start}).") from None


def given_models(models: Models | None) -> ScriptedProvider | None:
    """Return the scripted models that were given. Raises `Invalid` for a file or map that is none."""
    if models is None:
        return None
    from headgate.llm.scripted import ScriptedProvider

    if isinstance(models, Mapping):
        return ScriptedProvider.from_file(msgspec.json.encode({"models": models}))
    path = Path(models)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise Invalid(f"models: {path} cannot be read: {error.strerror or error}.") from None
    try:
        return ScriptedProvider.from_file(text)
    except Invalid as error:
        raise Invalid(f"{path}: {error.message}") from None
