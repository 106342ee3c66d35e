"""Whatever byte of whatever event is changed in a copy of a log, the audit names that event."""

from __future__ import annotations

import asyncio
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import apsw
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.engine.audit import Fault, verify
from headgate.stores.sqlite import SqliteLog
from headgate.testing.log_conformance import HandmadeRun

RUNS, EVENTS = 3, 7


@cache
def recorded() -> Path:
    """A log whose protection is off."""
    path = Path(mkdtemp()) / "log.db"

    async def write() -> None:
        log = SqliteLog(path)
        for number in range(RUNS):
            run = HandmadeRun(log, f"run-{number}")
            for version in range(EVENTS):
                assert await run.commit([{"n": number, "text": "ab" * version}]) == "accepted"
        await log.close()

    asyncio.run(write())
    connection = apsw.Connection(str(path))
    for name in ("events_are_never_changed", "contents_are_only_erased", "events_are_never_deleted"):
        connection.execute(f"drop trigger {name}")
    connection.execute("pragma journal_mode = delete").fetchall()
    connection.close()
    return path


async def audited(path: Path) -> list[Fault]:
    log = SqliteLog(path, read_only=True)
    try:
        return await verify(log)
    finally:
        await log.close()


@settings(deadline=None, max_examples=150)
@given(
    position=st.integers(1, RUNS * EVENTS),
    column=st.sampled_from(["data", "hash", "content"]),
    byte=st.integers(0, 10_000),
    bit=st.integers(0, 7),
)
def test_a_flipped_bit_anywhere_in_an_event_is_found_in_that_event(position: int, column: str, byte: int, bit: int):
    copy = recorded().with_name("copy.db")
    shutil.copyfile(recorded(), copy)
    connection = apsw.Connection(str(copy))
    find = f"select runs.id, events.version, events.{column} from events join runs on runs.key = run where pos = ?"
    ((run_id, version, value),) = list(connection.execute(find, (position,)))
    changed = bytearray(value)
    changed[byte % len(changed)] ^= 1 << bit
    connection.execute(f"update events set {column} = ? where pos = ?", (bytes(changed), position))
    connection.close()

    faults = asyncio.run(audited(copy))

    assert [(fault.run_id, fault.version, fault.position) for fault in faults] == [(run_id, version, position)]
    assert faults[0].kind == ("content" if column == "content" else "hash")


def test_the_log_as_it_was_recorded_has_no_fault():
    assert asyncio.run(audited(recorded())) == []
