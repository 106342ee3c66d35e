"""`headgate work`: do what is due of all runs, then exit; or go on for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from headgate.cli import exit_codes
from headgate.cli.engine_options import engine_options, make_engine
from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.session import Engine, Session, make_state_folder, open_session, require_database
from headgate.cli.words import first_line, money, short
from headgate.core.errors import Unavailable
from headgate.ports import Client

__all__ = ["work"]

WAITING_LOOKED_AT_MAX = 1_000


@click.command()
@common
@click.option(
    "--forever", is_flag=True, help="Do not exit: wait for what becomes due, schedules and runs of other terminals too."
)
@click.option(
    "--no-worker", is_flag=True, help="Leave the work to `headgate worker` processes, as far as they can do it."
)
@engine_options
def work(common: Common, forever: bool, no_worker: bool, **rest: Any) -> int:
    """Do what is due of all runs, then exit: 0, or 3 where a run waits for a person.

    With another owner at work, wait until it has nothing to do.
    """
    engine = make_engine(**rest, work=not no_worker)
    if forever:
        engine = msgspec.structs.replace(engine, run_schedules=True)
        make_state_folder(common)
    else:
        require_database(common)
    common.say_database()
    return run_loop(_work(common, engine, forever=forever), serving=forever)


async def _work(common: Common, engine: Engine, *, forever: bool) -> int:
    async with open_session(common.database, engine) as session:
        if session.app is None and forever:
            raise Unavailable(f"Process {session.owner_pid} owns the database and works on its runs already.")
        if session.app is None:
            common.output.notice(f"Process {session.owner_pid} owns the database; waiting until it has nothing to do.")
        ended = _Ended(common, session)
        if forever:
            common.output.notice("Working; Ctrl-C ends it, and nothing is lost.")
            await asyncio.Event().wait()
        await session.client.settled()
        waiting = await _waiting_for_people(common, session.client)
    if common.output.json:
        common.output.data({"finished": list(ended.ids), "waiting_for_people": waiting})
    return exit_codes.WAITS_FOR_PERSON if waiting else exit_codes.COMPLETED


async def _waiting_for_people(common: Common, client: Client) -> list[str]:
    found: list[str] = []
    for summary in await client.runs(status="waiting", limit=WAITING_LOOKED_AT_MAX):
        view = await client.show(summary.id, contents=False)
        if exit_codes.waits_for_person(view):
            found.append(view.id)
            common.output.notice(f"run {short(view.id)} of {view.workflow}: {first_line(view.waiting_for)}")
    return found


class _Ended:
    """Says of each run that it has ended, once its end is durable."""

    def __init__(self, common: Common, session: Session) -> None:
        self._output = common.output
        self.ids: dict[str, None] = {}
        if session.app is not None:
            session.app.engine.listen(self._committed)

    def _committed(self, lane: Any, decisions: Sequence[Any]) -> None:
        run = lane.run
        if not run.finished or run.id in self.ids:
            return
        self.ids[run.id] = None
        parts = [
            f"run {short(run.id)} of {run.plan.definition.name} {run.status}",
            money(run.total_cost),
            first_line(run.error),
        ]
        if run.error:
            parts.append(f"(trace {run.trace_id})")
        self._output.notice("  ".join(part for part in parts if part))
