"""`headgate record`: a finished run becomes a case of a test file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headgate.cli import exit_codes
from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.session import open_reader
from headgate.cli.words import short
from headgate.core.errors import Invalid
from headgate.core.model_list import names_of

if TYPE_CHECKING:
    from headgate.core.definition import Definition
    from headgate.core.view import RunView
    from headgate.ports import EventView
    from headgate.testing.recording import Recorded

__all__ = ["record"]

EVENTS_MAX = 100_000
WORKFLOW_ENDINGS = (".yaml", ".yml", ".json")
SUFFIX = ".test.yaml"


@click.command()
@common
@click.argument("run")
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="The test file [default: beside the workflow]."
)
@click.option("--name", metavar="TEXT", default="", help="The case's name [default: the run's id].")
@click.option(
    "--workflow",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The workflow's file [default: looked for beside the test file, or here].",
)
def record(common: Common, run: str, out: Path | None, name: str, workflow: Path | None) -> int:
    """Add a case made of the finished RUN to a test file: its input, what models and the world answered, its outcome.

    Values of HEADGATE_SECRET_… are masked. The case is run once, and said to pass or not.
    """
    from headgate.engine.vault import secrets_of
    from headgate.testing.recording import record_case

    view, events, definition = run_loop(_read(common, run))
    file = _workflow_file(workflow, out, view, definition)
    target = out or file.parent / f"{file.name.removesuffix(file.suffix)}{SUFFIX}"
    secrets = [value for value in secrets_of(os.environ).values() if value]
    recorded = record_case(view, events, definition, name=name or f"run {short(view.id)}", secrets=secrets)
    _write(target, file, recorded)
    return _say(common, target, recorded)


async def _read(common: Common, run: str) -> tuple[RunView, list[EventView], Definition]:
    import msgspec

    from headgate.core.definition import Definition

    async with open_reader(common) as (reader, log):
        view = await reader.show(run)
        events = await reader.events(view.id, limit=EVENTS_MAX)
        found = await log.definition(view.workflow, view.definition)
    assert found is not None, "a run's definition stays with it"
    return view, events, msgspec.json.decode(found[1], type=Definition)


# --- The workflow's file ---------------------------------------------------------------------------------------------


def _workflow_file(named: Path | None, out: Path | None, view: RunView, definition: Definition) -> Path:
    """Return the file that holds what the run ran. Raises `Invalid` when there is none: its case could not pass."""
    folder = out.parent if out else Path()
    candidates = [named] if named else _candidates(folder)
    for path in candidates:
        if _version(path, definition) == view.definition:
            return path
    where = f"{named} is not" if named else f"No file in {folder.absolute()} is"
    raise Invalid(
        f"{where} the workflow {view.workflow} as run {short(view.id)} ran it (version {view.definition}). Name its "
        "file with --workflow; a run of a definition that has changed since cannot be tested."
    )


def _candidates(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise Invalid(f"There is no folder {folder}; make it, or name another file with --out.")
    files = [path for path in sorted(folder.iterdir()) if path.suffix in WORKFLOW_ENDINGS]
    return [path for path in files if not path.name.endswith((SUFFIX, ".test.yml"))]


def _version(path: Path, definition: Definition) -> str:
    """Return the version of a workflow file; nothing, if it is none."""
    from headgate.authoring import load_definition
    from headgate.cli.definition_folder import DefinitionFolder

    names = frozenset(activity.name for activity in definition.activities)
    listed = [name for activity in definition.activities for name in names_of(activity.parameters.get("model"))]
    providers = frozenset(name.partition("/")[0] for name in listed if name)
    try:
        text, folder = path.read_bytes(), DefinitionFolder(path.parent)
        return load_definition(text, providers=providers, activities=names, read=folder.read).version
    except (Invalid, OSError):
        return ""


# --- The test file ---------------------------------------------------------------------------------------------------


def _write(target: Path, file: Path, recorded: Recorded) -> None:
    """Write the file whole beside itself, then put it in its place: a full disk leaves what was there."""
    from headgate.testing.case_file import load_cases
    from headgate.testing.case_text import with_case

    if not target.name.endswith((SUFFIX, ".test.yml")):
        raise Invalid(f"expected a test file to be named NAME{SUFFIX}, got {target}; --out names another.")
    if target.exists():
        if any(case.name == recorded.form["name"] for case in load_cases(target)):
            raise Invalid(f'{target} has a case "{recorded.form["name"]}" already; give this one a --name.')
        text = with_case(target.read_text(encoding="utf-8"), recorded.form)
    else:
        beside = target.parent / f"{target.name.removesuffix(SUFFIX)}.yaml"
        named = "" if beside.resolve() == file.resolve() else os.path.relpath(file, target.parent)
        text = with_case(None, recorded.form, workflow=named)
    new = target.with_name(f".{target.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(target)


def _say(common: Common, target: Path, recorded: Recorded) -> int:
    from headgate.testing.case_file import load_cases
    from headgate.testing.case_report import mismatch_form, result_lines
    from headgate.testing.case_runner import run_case

    result = run_case(load_cases(target)[-1])
    output = common.output
    if recorded.masked:
        output.notice("Values of secrets stood in the run, and are masked in the case.")
    if output.json:
        form = {"file": str(target), "name": recorded.form["name"], "masked": recorded.masked, "passes": result.passed}
        output.data({**form, "mismatches": [mismatch_form(mismatch) for mismatch in result.mismatches]})
    else:
        output.line(f"{target}: {recorded.form['name']}, {'passes' if result.passed else 'does not pass yet'}")
        for line in result_lines(result):
            output.line(f"    {line}")
    return exit_codes.COMPLETED if result.passed else exit_codes.FAILED
