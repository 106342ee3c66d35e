"""`headgate init`: a folder with a workflow that runs, its test, and what one needs to know to change it.

The files lie in `templates/`: a folder for each template, and `shared/` for what all of them get. Nothing that is there
already is touched: first it is seen what would be in the way, then everything is written.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import click
import msgspec

from headgate.cli import exit_codes
from headgate.cli.options import Common, common
from headgate.core.errors import Invalid, Refused

__all__ = ["TEMPLATES", "Template", "init"]

DEFAULT = "approval"
FOLDER = Path(__file__).parent / "templates"
RENAMED = {"env.example": ".env.example"}
"""Names that no file of the package bears: packing tools pass by what begins with a dot."""


class Template(msgspec.Struct, frozen=True):
    """A template: what it is for, and the words that its run takes."""

    about: str
    inputs: tuple[str, ...]
    waits: bool = False
    """Its run waits for a person."""

    def commands(self, name: str) -> tuple[str, str, str]:
        """Return what to call next, in the folder: a check, the test, a run."""
        given = " ".join(f"--input {shlex.quote(word)}" for word in self.inputs)
        run = f"headgate run {name}.yaml {given}{' --no-wait' if self.waits else ''}"
        return f"headgate check {name}.yaml", "headgate test", run


TEMPLATES: Mapping[str, Template] = {
    "approval": Template(
        "Summarises a letter, has a person look at it, and files it if it was approved.",
        ("letter=@letter.txt",),
        waits=True,
    ),
    "batch": Template(
        "Reads many letters into one table, four at a time, under one budget.", ("letters=@letters.txt",)
    ),
    "rag-chat": Template(
        "Answers a question from a text, with its source, and remembers what was said.",
        ("manual=@manual.md", "question=How do I descale the kettle?"),
    ),
    "script": Template(
        "Counts a table in Python, and has a model say in a sentence how it went.", ("sales=@sales.csv",)
    ),
}


class InTheWay(Refused):
    """Files of these names are there already, and nothing was written."""

    code = "file_exists"

    def __init__(self, folder: Path, names: list[str]) -> None:
        where = "This folder" if folder == Path() else str(folder)
        them = "it" if len(names) == 1 else "them"
        super().__init__(
            f"{where} holds {', '.join(names)} already, and nothing was written. Name another folder, or replace "
            f"{them} with --force."
        )


@click.command()
@common
@click.argument("folder", default=".", type=click.Path(path_type=Path))
@click.option(
    "--template",
    "name",
    metavar="NAME",
    default=DEFAULT,
    help=f"Which one: {', '.join(TEMPLATES)} [default: {DEFAULT}].",
)
@click.option("--list", "listing", is_flag=True, help="Say what templates there are, and write nothing.")
@click.option("--force", is_flag=True, help="Replace files of the same names.")
def init(common: Common, folder: Path, name: str, listing: bool, force: bool) -> int:
    """Write a workflow that runs at once into FOLDER [default: this one], with its test and what to know of both.

    Files that are there already are not touched: without --force the verb says which, and writes nothing.
    """
    if listing:
        _list(common)
        return exit_codes.COMPLETED
    template = TEMPLATES.get(name)
    if template is None:
        raise Invalid(f"--template: there is no {name!r}; there are {', '.join(TEMPLATES)}.")
    files = files_of(name, template)
    _write(folder, files, force=force)
    _say(common, folder, list(files), template.commands(name))
    return exit_codes.COMPLETED


def _list(common: Common) -> None:
    if common.output.json:
        common.output.data([{"name": name, "about": template.about} for name, template in TEMPLATES.items()])
    else:
        common.output.table([(name, template.about) for name, template in TEMPLATES.items()])


def files_of(name: str, template: Template) -> dict[str, bytes]:
    """Return the files of a template, the workflow first."""
    own = sorted((FOLDER / name).iterdir(), key=lambda path: (path.name != f"{name}.yaml", path.name))
    files = {path.name: path.read_bytes() for path in own}
    for path in sorted((FOLDER / "shared").iterdir()):
        text = path.read_text(encoding="utf-8")
        files[RENAMED.get(path.name, path.name)] = _filled_in(text, name, template).encode()
    return files


def _filled_in(text: str, name: str, template: Template) -> str:
    """Return a shared text with what is this template's; other braces in it are YAML's."""
    commands = template.commands(name)
    console = "\n".join(f"$ {command}" for command in commands)
    if template.waits:
        console += "  # ends with 3: it waits for you\n$ headgate approve - --work"
    values = {"name": name, "about": template.about, "commands": console, "run": f"`{commands[-1]}`"}
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", value)
    return text


def _write(folder: Path, files: Mapping[str, bytes], *, force: bool) -> None:
    """Write all files, or none where one is in the way. Raises `InTheWay`, and `Invalid` where nothing can be written.

    Each file is made, never opened: one that appears meanwhile is not lost, and what a link leads to stays as it is.
    """
    there = [name for name in files if (folder / name).is_symlink() or (folder / name).exists()]
    if there and not force:
        raise InTheWay(folder, there)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in there:
            (folder / name).unlink()
        for name, content in files.items():
            with (folder / name).open("xb") as file:
                file.write(content)
    except OSError as error:
        raise Invalid(f"{error.filename or folder} cannot be written: {error.strerror or error}.") from None


def _say(common: Common, folder: Path, names: list[str], commands: tuple[str, ...]) -> None:
    if common.output.json:
        common.output.data({"folder": str(folder), "files": names, "next": list(commands)})
        return
    where = "" if folder == Path() else f" to {folder}"
    common.output.notice(f"Wrote {', '.join(names)}{where}.\n")
    if folder != Path():
        common.output.line(f"cd {shlex.quote(str(folder))}")
    for command in commands:
        common.output.line(command)
