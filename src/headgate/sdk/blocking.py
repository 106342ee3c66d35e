"""The same for code that is not async: `run` and `start`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from headgate.client.blocking import BlockingHandle, Bridge
from headgate.client.handle import Result
from headgate.core.errors import Refused
from headgate.core.money import Amount
from headgate.core.values import Mode
from headgate.sdk.connection import Database, arun, astart
from headgate.sdk.embedded import database_path, owned_by_this_loop
from headgate.sdk.given import Models, Runnable

__all__ = ["run", "start"]


def run(
    workflow: Runnable,
    input: Any = None,
    *,
    db: Database | None = None,
    models: Models | None = None,
    mode: Mode = "realtime",
    budget: Amount | None = None,
    labels: Mapping[str, str] | None = None,
    unique_key: str = "",
    activities: Iterable[Callable[..., Any]] = (),
    offline: bool = False,
    command_id: str = "",
) -> Result:
    """Run a workflow to its end and return what it came to: `arun`, which see, for code that is not async.

    Where a loop runs already (a notebook), a thread with a loop of its own does the work; the caller's loop stands
    still meanwhile, so code that can `await` should `await arun(...)`. Ctrl-C stops the waiting and loses nothing;
    inside of `asyncio.run` it takes two, for the first one asks the loop, which stands still. Raises `Refused` where
    the caller's loop itself has the database's engine: both would wait for each other.
    """
    work = arun(
        workflow,
        input,
        db=db,
        models=models,
        mode=mode,
        budget=budget,
        labels=labels,
        unique_key=unique_key,
        activities=activities,
        offline=offline,
        command_id=command_id,
    )
    if not _in_a_loop():
        return asyncio.run(work)
    try:
        _refuse_deadlock(db)
    except Refused:
        work.close()
        raise
    with Bridge() as bridge:
        return bridge.call(work)


def start(
    workflow: Runnable,
    input: Any = None,
    *,
    db: Database | None = None,
    **options: Any,
) -> BlockingHandle:
    """Start a run and return its handle; the work is done in a thread beside the program, which goes on.

    `astart` has the options. The thread lasts until `close()`, the end of `with`, or the end of the program; a run that
    has not ended then goes on with the next process that opens the database. Raises what `astart` and `run` raise.
    """
    if _in_a_loop():
        _refuse_deadlock(db)
    bridge = Bridge()
    try:
        return BlockingHandle(bridge, bridge.call(astart(workflow, input, db=db, **options)), own=True)
    except BaseException:
        bridge.close()
        raise


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _refuse_deadlock(db: Database | None) -> None:
    database = database_path(db)
    if owned_by_this_loop(database):
        raise Refused(
            f"The engine of {database} runs on this very loop, which would stand still while it waits. "
            "Use `await headgate.arun(...)`, or the connection that opened it."
        )
