"""The verbs that change a run: through the owner's socket, or, where there is no owner, as the owner for a moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import click

from headgate.cli import exit_codes
from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.session import Engine, open_session, require_database
from headgate.cli.words import short
from headgate.core.view import RunView
from headgate.ports import Client

__all__ = ["approve", "cancel", "pause", "reject", "resume", "retry", "signal"]

Act = Callable[[Client], Awaitable[RunView]]


def _going_on(verb: Any) -> Any:
    """Give a verb `--work` and what its engine needs."""
    from headgate.cli.engine_options import engine_options

    return click.option("--work", is_flag=True, help="Then go on with the run here, and follow it.")(
        engine_options(verb)
    )


@click.command()
@common
@click.argument("run")
@click.argument("name")
@click.option("--activity", "key", metavar="KEY", default="", help="The activity that it is for.")
@click.option("--data", metavar="JSON", help="What it carries: JSON, a file, or - for stdin.")
@_going_on
def signal(common: Common, run: str, name: str, key: str, data: str | None, **rest: Any) -> int:
    """Send the signal NAME to RUN. One that comes before its wait is kept."""
    payload = _data(data)
    return _act(common, f"signalled {name!r} to", lambda c: c.signal(run, name, key=key, data=payload), **rest)


def _decision(verb: Any) -> Any:
    """Make a verb of a function that decides an approval."""
    for give in (
        _going_on,
        click.option("--by", metavar="NAME", help="Who decides [default: your login name]."),
        click.option(
            "--data", metavar="JSON", help="The answers to the approval's form: JSON, a file, or - for stdin."
        ),
        click.option("--comment", metavar="TEXT", default="", help="Why."),
        click.argument("activity", default=""),
        click.argument("run"),
        common,
    ):
        verb = give(verb)
    return click.command()(verb)


@_decision
def approve(common: Common, run: str, activity: str, **rest: Any) -> int:
    """Approve what RUN waits for; ACTIVITY says which approval, where several are open."""
    return _decide(common, run, activity, approved=True, **rest)


@_decision
def reject(common: Common, run: str, activity: str, **rest: Any) -> int:
    """Reject what RUN waits for; ACTIVITY says which approval, where several are open."""
    return _decide(common, run, activity, approved=False, **rest)


def _decide(
    common: Common,
    run: str,
    activity: str,
    *,
    approved: bool,
    comment: str,
    data: str | None,
    by: str | None,
    **rest: Any,
) -> int:
    from headgate.cli.approval import user_name

    payload = _data(data)
    who = user_name() if by is None else by

    def act(client: Client) -> Awaitable[RunView]:
        return client.decide(run, key=activity, approved=approved, by=who, comment=comment, data=payload)

    return _act(common, "approved in" if approved else "rejected in", act, **rest)


@click.command()
@common
@click.argument("run")
@click.option("--reason", metavar="TEXT", default="", help="Why.")
def cancel(common: Common, run: str, reason: str) -> int:
    """End RUN: what is queued is dropped, what is under way is stopped."""
    return _act(common, "cancelled", lambda c: c.cancel(run, reason=reason), goes_on=False)


@click.command()
@common
@click.argument("run")
@click.option("--reason", metavar="TEXT", default="", help="Why.")
def pause(common: Common, run: str, reason: str) -> int:
    """Hand out nothing new of RUN; what is under way is finished and recorded."""
    return _act(common, "paused", lambda c: c.pause(run, reason=reason), goes_on=False)


@click.command()
@common
@click.argument("run")
@_going_on
def resume(common: Common, run: str, **rest: Any) -> int:
    """Undo a pause of RUN."""
    return _act(common, "resumed", lambda c: c.resume(run), **rest)


@click.command()
@common
@click.argument("run")
@_going_on
def retry(common: Common, run: str, **rest: Any) -> int:
    """Go on with the failed or cancelled RUN from what failed; what is completed stays, and stays paid for."""
    return _act(common, "retried", lambda c: c.retry(run), **rest)


# --- Acting --------------------------------------------------------------------------------------------------------


def _act(common: Common, done: str, act: Act, *, work: bool = False, goes_on: bool = True, **rest: Any) -> int:
    require_database(common)
    engine = _engine(work=False, **rest) if not work else Engine(work=False)
    view = run_loop(_act_once(common, act, engine, done, goes_on=goes_on and not work, prints=not work))
    if not work:
        return exit_codes.COMPLETED
    from headgate.cli.outcome import follow_to_end

    options = [name for name in ("models", "activities", "offline") if rest.get(name)]
    named = [f"--{name}" for name in options]
    return run_loop(follow_to_end(common, _engine(work=True, **rest), view.id, named, until_waiting=True))


def _engine(*, work: bool, **rest: Any) -> Engine:
    if not any(rest.values()):
        return Engine(work=work)
    from headgate.cli.engine_options import make_engine

    return make_engine(work=work, **rest)


async def _act_once(common: Common, act: Act, engine: Engine, done: str, *, goes_on: bool, prints: bool) -> RunView:
    async with open_session(common.database, engine) as session:
        view = await act(session.client)
    if common.output.json:
        if prints:
            from headgate.cli.json_form import run_form

            common.output.data(run_form(view))
        return view
    common.output.notice(f"{done.capitalize()} run {short(view.id)}, which is {view.status} now.")
    if goes_on and not view.finished_at and not session.owner_pid:
        common.output.notice("No process works on it: `headgate work` goes on.")
    return view


def _data(text: str | None) -> Any:
    if text is None:
        return None
    from headgate.cli.given_input import given_json

    return given_json(text, "--data")
