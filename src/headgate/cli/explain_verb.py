"""`headgate explain CODE` and `headgate help WORD`: what an error means, and what the verbs are for."""

from __future__ import annotations

import difflib

import click
import msgspec

from headgate.cli import exit_codes
from headgate.cli.output import Output
from headgate.core.code import Code
from headgate.core.codes import CODES, explained

__all__ = ["explain", "help_verb"]

AGAIN = {"yes": "It is tried again, as far as the definition allows.", "no": "It is not tried again by itself."}

GROUPS = {
    "Begin": ("init", "demo", "run", "check", "test", "record", "schema", "doctor"),
    "Look": ("runs", "show", "watch", "events", "state", "files", "costs", "prices", "explain", "help", "version"),
    "Act on a run": ("signal", "approve", "reject", "cancel", "pause", "resume", "retry"),
    "Work": ("work", "worker", "schedule", "budget", "limit", "cache"),
    "Serve": ("dev", "serve", "client", "user", "key", "tenant", "secret", "hooks", "webhooks", "settings"),
    "Keep": ("gc", "erase", "audit", "backup", "restore", "rebuild", "db"),
}


@click.command()
@click.argument("code", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def explain(code: str | None, as_json: bool) -> int:
    """Say what an error CODE means and what to do about it; without CODE, list them all."""
    output = Output(json=as_json)
    if code is None:
        if as_json:
            output.data([msgspec.structs.asdict(known) for known in CODES.values()])
        else:
            output.table([(known.name, known.means) for known in CODES.values()])
        return exit_codes.COMPLETED
    known = explained(code.lower())
    if known is None:
        near = difflib.get_close_matches(code.lower(), CODES, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else " `headgate explain` lists them."
        output.error(f"There is no error code {code!r}.{hint}")
        return exit_codes.INVALID
    if as_json:
        output.data(msgspec.structs.asdict(known))
    else:
        output.line(_text(known))
    return exit_codes.COMPLETED


def _text(known: Code) -> str:
    again = AGAIN.get(known.again, "")
    return "\n".join(line for line in (f"{known.name}: {known.means}.", again, known.advice) if line)


@click.command("help")
@click.argument("word", required=False)
@click.pass_context
def help_verb(ctx: click.Context, word: str | None) -> int:
    """Explain a verb, or with `verbs` list all of them by what they are for."""
    program = ctx.find_root().command
    assert isinstance(program, click.Group)
    if word is None or word == "verbs":
        _list_verbs()
        return exit_codes.COMPLETED
    verb = program.get_command(ctx, word)
    if verb is None:
        near = difflib.get_close_matches(word, program.list_commands(ctx), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else " `headgate help verbs` lists them."
        Output().error(f"There is no verb {word!r}.{hint}")
        return exit_codes.INVALID
    print(verb.get_help(click.Context(verb, info_name=f"headgate {word}")))
    return exit_codes.COMPLETED


def _list_verbs() -> None:
    from headgate.cli.program import VERBS

    for title, names in GROUPS.items():
        print(f"{title}:")
        for name in names:
            print(f"  {name:<10}{VERBS[name][1]}")
