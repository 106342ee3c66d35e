"""A signal to the run that holds a unique key, which is started where there is none: a conversation, a customer.

Start and signal are two appends, so a process may die between them. Whoever asked has had no answer then, and asks
again under the same command id: the start is known, and the signal is sent. After both, the id is known as the
signal's, and the repeat is answered with the run of the first time, be it ended or not.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.core import commands as c
from headgate.core.errors import Invalid, NotFound, Refused, UniqueKeyHeld
from headgate.engine.command_ids import run_answered
from headgate.engine.engine import Engine
from headgate.engine.start import Start
from headgate.ports import RunRow

__all__ = ["SignalSent", "signal_keyed", "signal_with_start"]

TRIES_MAX = 5
"""A run may end between our look and our signal; then the next one is looked for."""


class SignalSent(msgspec.Struct, frozen=True):
    """A signal before anybody has it."""

    name: str
    key: str = ""
    data: Any = None


async def signal_with_start(engine: Engine, start: Start, signal: SignalSent) -> RunRow:
    """Start a run unless a live one holds the start's unique key; signal it in any case; return it as it was before the
    signal. Raises what `Engine.start` raises, and `Refused` where a completed run holds the key."""
    if not start.unique_key:
        raise Invalid("a start with a signal needs a unique_key: it says which run the signal is for")
    if (known := await _signalled_before(engine, start)) is not None:
        return known
    for _ in range(TRIES_MAX):
        row = await _started_or_found(engine, start)
        if row is not None and await _signalled(engine, row, signal, start):
            return row
    raise Refused(f"The runs that hold the unique key {start.unique_key!r} end as soon as they are found; ask again.")


async def signal_keyed(engine: Engine, start: Start, signal: SignalSent) -> RunRow:
    """The same without a start: `start` only says which key, of which tenant, under which command id. Raises `NotFound`
    where no live run holds the key."""
    if (known := await _signalled_before(engine, start)) is not None:
        return known
    row = await engine.log.run_by_unique_key(start.tenant, start.unique_key) if start.unique_key else None
    if row is None or not await _signalled(engine, row, signal, start):
        raise NotFound(f"No live run holds the unique key {start.unique_key!r}.")
    return row


async def _signalled_before(engine: Engine, start: Start) -> RunRow | None:
    if not start.command_id:
        return None
    answer = await engine.log.answer(start.tenant, _signal_id(start))
    if answer is None:
        return None
    return await engine.log.run(run_answered(answer, start.command_id, start.fingerprint))


async def _started_or_found(engine: Engine, start: Start) -> RunRow | None:
    """Return the run that was started, or the one that holds the key; None: it has let go of it meanwhile."""
    found = await engine.log.run_by_unique_key(start.tenant, start.unique_key)
    if found is not None:
        if found.head.status == "completed":
            raise UniqueKeyHeld(start.unique_key, found.id, found.head.status)
        return found
    try:
        return await engine.start(start)
    except Refused:
        holder = await engine.log.run_by_unique_key(start.tenant, start.unique_key)
        if holder is None:
            raise
        return holder


async def _signalled(engine: Engine, row: RunRow, signal: SignalSent, start: Start) -> bool:
    """Whether the run has taken the signal; False: it has ended."""
    command = c.Signal(
        at=engine.clock.now(),
        command_id=_signal_id(start),
        fingerprint=start.fingerprint,
        actor=start.actor,
        name=signal.name,
        key=signal.key,
        data=signal.data,
    )
    try:
        await engine.submit(row.id, command)
    except NotFound:
        raise
    except Refused:
        now = await engine.log.run(row.id)
        if now is None or now.head.finished_at is not None:
            return False
        raise
    return True


def _signal_id(start: Start) -> str:
    return f"{start.command_id}/signal" if start.command_id else ""
