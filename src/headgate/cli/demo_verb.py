"""`headgate demo`: what Headgate does, shown in a minute by real processes, offline and free of charge."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headgate.cli import exit_codes
from headgate.cli.words import short
from headgate.core.errors import HeadgateError, Invalid

if TYPE_CHECKING:
    from headgate.cli.demo_acts import Acts
    from headgate.cli.demo_page import Page

__all__ = ["demo"]

STORY = Path(__file__).parent / "demo_story"
PAUSE_SECONDS = 1.0
PACE, PACE_FAST = 0.02, 0.01


@click.command()
@click.option(
    "--keep", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path), help="Keep the state there."
)
@click.option("--fast", is_flag=True, help="No pauses.")
@click.option("--pause", "pause", metavar="SECONDS", type=click.FloatRange(0, 60), help="Time to read each part.")
@click.option("--pace", metavar="SECONDS", type=click.FloatRange(0, 1), help="For each word of the demo models.")
@click.option("--manual", metavar="FILE", type=click.Path(path_type=Path), help="A manual of yours, with ## headings.")
@click.option("--tickets", metavar="FILE", type=click.Path(path_type=Path), help="Tickets of yours, with ## headings.")
def demo(
    keep: Path | None,
    fast: bool,
    pause: float | None,
    pace: float | None,
    manual: Path | None,
    tickets: Path | None,
) -> int:
    """See a workflow checked, killed, taken up again, kept within its budget, approved, changed, and audited.

    A dozen support tickets are answered from a manual. Everything that is printed comes from the processes that this
    command starts, and from the database that they write. It needs no key and no network, and uses none. Ends with 1
    where something does not happen as it must.
    """
    from headgate.cli.demo_acts import Acts
    from headgate.cli.demo_page import Page
    from headgate.cli.demo_process import DemoFailed, Processes
    from headgate.cli.demo_record import Record

    # Only at a terminal somebody reads along.
    read_along = PAUSE_SECONDS if sys.stdout.isatty() and not fast else 0.0
    page = Page(pause_seconds=read_along if pause is None else pause)
    folder = _folder(keep)
    processes = Processes(folder, page)
    record = Record(folder / ".headgate" / "headgate.db")
    acts = Acts(folder, page, processes, record, f"{pace if pace is not None else PACE_FAST if fast else PACE:g}")
    try:
        _lay_out(folder, manual, tickets)
        page.say(f"Everything that follows happens in {folder}", fold=False)
        runs = _tell(page, acts)
        _say_what_next(page, record.database, *runs)
    except BrokenPipeError:
        raise  # whoever read our output has had enough
    except (DemoFailed, HeadgateError, OSError, subprocess.SubprocessError) as error:
        print(f"\nThe demo failed: {error}\nIts state is in {folder}", file=sys.stderr)
        return exit_codes.FAILED
    finally:
        processes.end_all()
    return exit_codes.COMPLETED


def _folder(keep: Path | None) -> Path:
    """Return the folder for all that the demo makes. Raises `Invalid` where there is something in it already."""
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="headgate-demo-"))
    if keep.is_dir() and any(keep.iterdir()):
        raise Invalid(f"--keep: expected an empty folder or a new one, got {keep}, which holds something already.")
    keep.mkdir(parents=True, exist_ok=True)
    return Path(os.path.abspath(keep))  # noqa: PTH100 - resolve() would follow links, and print another path


def _lay_out(folder: Path, manual: Path | None, tickets: Path | None) -> None:
    from headgate.cli.demo_acts import FLOW, MANUAL, TICKETS

    for name, source in (
        (FLOW, STORY / FLOW),
        (MANUAL, manual or STORY / MANUAL),
        (TICKETS, tickets or STORY / TICKETS),
    ):
        shutil.copyfile(source, folder / name)


def _tell(page: Page, acts: Acts) -> tuple[str, str]:
    """Let the acts follow each other; return the first run and the changed one."""
    page.heading("1. A mistake is found before anything runs")
    acts.check_a_typo()
    page.pause()
    page.heading("2. Tickets are answered from a manual, and the process is killed")
    killed = acts.run_and_kill()
    # No pause here: what is measured is how soon another process goes on.
    page.heading("3. Another process goes on from the log")
    acts.go_on(killed)
    page.pause()
    page.say()
    acts.show_replies(killed.run)
    page.pause()
    page.heading("4. The same with too small a budget")
    acts.run_short(killed)
    page.pause()
    page.heading("5. A refund waits for a person")
    acts.decide(killed.run)
    acts.show_decision(killed.run)
    page.pause()
    page.heading("6. One prompt is changed; only what depends on it runs again")
    changed = acts.change_a_prompt(killed.run)
    page.pause()
    page.heading("7. What the log says of it all, and whether it is what was recorded")
    acts.prove(killed.run)
    page.pause()
    acts.flip_a_byte(killed.run)
    page.pause()
    return killed.run, changed


def _say_what_next(page: Page, database: Path, run: str, changed: str) -> None:
    page.heading("What to try next")
    named = ("--db", str(database))
    program = _program()
    page.command("show", short(run), "--outputs", *named, program=program)
    page.command("events", short(run), *named, program=program)
    page.command("costs", short(run), short(changed), "--by", "model", *named, program=program)
    page.say()
    page.say(
        "For a real model change one line of support.yaml, `models:`, to one of these, and run it without --offline:"
    )
    page.say("  models: {type: array, default: [ollama/llama3.2]}", fold=False)
    page.say("  models: {type: array, default: [openai/gpt-4.1-mini]}  # OPENAI_API_KEY", fold=False)
    page.say()
    page.say("The state is in that folder, nothing else was left. Remove it when you have seen enough.")


def _program() -> str:
    """Return how this command line is called here, as a shell takes it."""
    import shlex

    return "headgate" if shutil.which("headgate") else shlex.quote(str(Path(sys.executable).with_name("headgate")))
