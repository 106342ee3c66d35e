"""The program: its verbs, each imported when it is called, and what becomes of its errors."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NoReturn

import click

from headgate.cli import exit_codes
from headgate.core.errors import HeadgateError

__all__ = ["VERBS", "program", "run_program"]

VERBS = {
    "init": ("init_verb", "Write a workflow that runs at once, with its test, into a folder."),
    "demo": ("demo_verb", "See in a minute what Headgate does, offline and free."),
    "run": ("run_verb", "Start a run of a workflow file and follow it."),
    "watch": ("watch_verb", "Follow a run live from another terminal, with what models write."),
    "check": ("check_verb", "Say what is wrong with workflow files, before anything runs."),
    "schema": ("schema_verb", "Print the JSON Schema of workflow files, for editors."),
    "runs": ("read_verbs", "List runs."),
    "show": ("read_verbs", "Show a run: its activities, timeline, waits and cost."),
    "events": ("read_verbs", "Print the events of a run."),
    "state": ("read_verbs", "Print a run as it was after one of its events."),
    "signal": ("act_verbs", "Send a signal to a run."),
    "approve": ("act_verbs", "Approve what a run waits for."),
    "reject": ("act_verbs", "Reject what a run waits for."),
    "budget": ("budget_verb", "Set what may be spent, raise it, or refuse."),
    "cancel": ("act_verbs", "End a run."),
    "pause": ("act_verbs", "Hand out nothing new of a run."),
    "resume": ("act_verbs", "Undo a pause."),
    "retry": ("act_verbs", "Go on with a failed or cancelled run from what failed."),
    "work": ("work_verb", "Do what is due of all runs, then exit."),
    "dev": ("dev_verb", "Serve the HTTP API to this machine, without a login."),
    "serve": ("serve_verb", "Serve the HTTP API to whoever has a token."),
    "client": ("client_verb", "Look after programs that may ask over HTTP."),
    "user": ("user_verb", "Look after people who may log in over HTTP."),
    "key": ("key_verb", "Look after the keys that tokens are signed with."),
    "worker": ("worker_verb", "Work on tasks in a process of its own."),
    "cache": ("cache_verb", "Look after the results that are kept for reuse."),
    "gc": ("gc_verb", "Delete runs that ended long ago."),
    "erase": ("erase_verb", "Erase the contents of runs for good."),
    "audit": ("audit_verb", "Check that the log is what was recorded, or export it."),
    "backup": ("backup_verb", "Copy the database while it is in use."),
    "restore": ("backup_verb", "Put a backup in the database's place."),
    "db": ("db_verb", "Move an installation from a file to PostgreSQL."),
    "test": ("test_verb", "Run the cases of test files."),
    "record": ("record_verb", "Make a case of a test file out of a finished run."),
    "doctor": ("doctor_verb", "Look at what Headgate stands on: Python, SQLite, database, disk, providers."),
    "schedule": ("schedule_verb", "Start workflows by the clock."),
    "limit": ("limit_verb", "Hold providers to rates, and see how they are doing."),
    "secret": ("secret_verb", "Keep secrets for workflows, and keys for model calls."),
    "tenant": ("tenant_verb", "Say who shares this server, and what each may use."),
    "files": ("files_verb", "List the files of a run, or take one out."),
    "explain": ("explain_verb", "Say what an error code means and what to do about it."),
    "help": ("explain_verb", "Explain a verb, or list all of them by what they are for."),
    "costs": ("costs_verb", "Say what was spent: by activity, run, model, day, label."),
    "prices": ("prices_verb", "Show what models cost, and set it."),
    "rebuild": ("costs_verb", "Make again from the log what is derived from it."),
    "settings": ("settings_verb", "Print every setting as it stands, and where that comes from."),
    "version": ("version_verb", "Print the version."),
}


SHADOWING = frozenset({"help"})
"""Verbs whose functions bear a longer name, for theirs is Python's own."""


WITHOUT_SETTINGS = frozenset({"explain", "help", "version"})
"""Verbs that help also where the settings are wrong."""


class Verbs(click.Group):
    """The verbs by name. A misspelled one is answered with the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"headgate.cli.{VERBS[cmd_name][0]}")
        return getattr(module, f"{cmd_name}_verb" if cmd_name in SHADOWING else cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, VERBS, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else f" There are {', '.join(VERBS)}."
            ctx.fail(f'There is no verb "{name}".{hint}')
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def program() -> None:
    """Headgate, a durable workflow engine for AI applications.

    A RUN is a run's id, the beginning of one, or - for the newest. State lives in ./.headgate/.
    Exit codes: 0 completed, 1 failed, 2 invalid, 3 waits for a person, 4 budget, 5 cancelled,
    6 timed out, 75 unavailable.
    """
    if click.get_current_context().invoked_subcommand not in WITHOUT_SETTINGS:
        from headgate.cli.settings_file import apply_settings_file

        apply_settings_file()


def run_program(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit. Errors of the three branches become a message and a code, never a traceback."""
    given = sys.argv[1:] if arguments is None else arguments
    sys.exit(_outcome(given))


def _outcome(arguments: list[str]) -> int:
    try:
        code: Any = program.main(arguments, prog_name="headgate", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else exit_codes.COMPLETED
    except HeadgateError as error:
        return _say(error, as_json="--json" in arguments)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return exit_codes.INVALID
    except click.ClickException as error:
        error.show()
        return exit_codes.INVALID
    except (KeyboardInterrupt, click.Abort):
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.FAILED


def _say(error: HeadgateError, *, as_json: bool) -> int:
    from headgate.cli.output import Output

    output = Output(json=as_json)
    if as_json:
        from headgate.cli.json_form import error_form

        output.data(error_form(error))
    output.error(error.message)
    return exit_codes.code_of_error(error)
