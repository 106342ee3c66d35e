"""What an engine of this process works with: the options that say it, and the workflow files that it can run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli.session import Engine
from headgate.core.errors import Invalid, Problem

if TYPE_CHECKING:
    from headgate.authoring.estimate import Pricing

__all__ = ["DefinitionFile", "engine_options", "make_engine", "read_definition"]


class DefinitionFile(msgspec.Struct, frozen=True):
    """A workflow file: its text, what it says, what looks like a mistake in it, and the files that it refers to."""

    source: str
    text: str
    definition: Any
    files: dict[str, str]
    warnings: tuple[Problem, ...] = ()


def engine_options(verb: Any) -> Any:
    """Give a verb the options that say what an engine of this process works with."""
    for option in reversed(
        (
            click.option("--models", metavar="FILE", help="Answers of scripted/… models."),
            click.option(
                "--activities",
                metavar="MODULE",
                multiple=True,
                help="A module with activities and policies of your own.",
            ),
            click.option(
                "--offline", is_flag=True, help="No provider but demo/… and scripted/…, whatever keys there are."
            ),
            click.option(
                "--pace", metavar="SECONDS", type=float, default=0.0, help="Slow demo models down: seconds a token."
            ),
        )
    ):
        verb = option(verb)
    return verb


def make_engine(
    *, models: str | None, activities: tuple[str, ...], offline: bool, pace: float, work: bool = True
) -> Engine:
    """Return what the options ask for. Raises `Invalid` for files and modules that cannot be read."""
    from headgate.cli.user_activities import load_activities, load_policies

    scripted = None
    if models:
        from headgate.cli.given_input import read_text
        from headgate.llm.scripted import ScriptedProvider

        try:
            scripted = ScriptedProvider.from_file(read_text(Path(models), what="--models").encode())
        except Invalid as error:
            raise Invalid(f"{models}: {error.message}" if models not in error.message else error.message) from None
    return Engine(
        work=work,
        activities=load_activities(activities),
        policies=load_policies(activities),
        scripted=scripted,
        offline=offline,
        pace_seconds=pace,
    )


def read_definition(path: str, engine: Engine, *, pricing: Pricing | None = None) -> DefinitionFile:
    """Return a workflow file, checked; with `pricing` its models' prices and its budgets too. Raises `Invalid` with
    every problem in it, each with line and column."""
    from headgate.authoring import load_with_warnings
    from headgate.cli.definition_folder import DefinitionFolder
    from headgate.cli.given_input import read_text
    from headgate.llm.registry import build_providers

    text = read_text(Path(path), what="The workflow file")
    providers = build_providers(os.environ, scripted=engine.scripted, offline=engine.offline)
    folder = DefinitionFolder(Path(path).parent)
    loaded = load_with_warnings(
        text,
        source=path,
        providers=frozenset(providers),
        activities=frozenset(engine.activities),
        read=folder.read,
        pricing=pricing,
    )
    return DefinitionFile(path, text, loaded.definition, folder.texts, loaded.warnings)
