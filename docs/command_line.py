"""The reference of the command line, read out of the commands themselves."""

from __future__ import annotations

import inspect

import click

from headgate.cli.program import program

__all__ = ["common_options", "verbs"]


def verbs() -> str:
    """Return a section for each verb: what it does, how it is called, and the options that are its own."""
    root = click.Context(program, info_name="headgate")
    shared = _shared_options(root)
    return "\n\n".join(_section(command, root, shared) for command in _commands(root))


def common_options() -> str:
    """Return the table of the options that every verb takes."""
    root = click.Context(program, info_name="headgate")
    first = _commands(root)[0]
    shared = _shared_options(root)
    return _table([option for option in _options(first) if option.opts[0] in shared], root)


def _section(command: click.Command, root: click.Context, shared: set[str]) -> str:
    context = click.Context(command, info_name=command.name, parent=root)
    usage = " ".join(["headgate", str(command.name), *command.collect_usage_pieces(context)])
    own = [option for option in _options(command) if option.opts[0] not in shared]
    about = inspect.cleandoc(command.help or command.short_help or "").replace("\b\n", "")
    parts = [f"## `headgate {command.name}`", f"`{usage}`", about, _table(own, context) if own else ""]
    return "\n\n".join(part for part in parts if part)


def _commands(root: click.Context) -> list[click.Command]:
    found = [program.get_command(root, name) for name in program.list_commands(root)]
    return [command for command in found if command is not None]


def _options(command: click.Command) -> list[click.Option]:
    return [option for option in command.params if isinstance(option, click.Option) and not option.hidden]


def _shared_options(root: click.Context) -> set[str]:
    """Return the options that all verbs have but `version`, which needs no database."""
    names = [
        {option.opts[0] for option in _options(command)} for command in _commands(root) if command.name != "version"
    ]
    return set.intersection(*names)


def _table(options: list[click.Option], context: click.Context) -> str:
    records = [record for option in options if (record := option.get_help_record(context))]
    lines = ["| option | meaning |", "| --- | --- |"]
    lines += ["| `{}` | {} |".format(*(cell.replace("|", r"\|") for cell in record)) for record in records]
    return "\n".join(lines)
