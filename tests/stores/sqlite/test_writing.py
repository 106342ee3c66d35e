"""How the log in SQLite writes, and who reads it meanwhile."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from headgate.core.errors import Unavailable
from headgate.engine.audit import verify
from headgate.stores.sqlite import SqliteLog
from headgate.testing.log_conformance import NOON, HandmadeRun, on_a_loop

# --- How it writes ----------------------------------------------------------------------------------------------------


def test_the_writer_syncs_every_commit_in_a_wal_of_large_pages(log: SqliteLog):
    assert log._writer is not None
    settings = [log._writer.pragma(name) for name in ("synchronous", "journal_mode", "page_size")]

    assert settings == [2, "wal", 8192]


@pytest.mark.parametrize(
    "statement",
    [
        "update events set data = x'00'",
        "update events set hash = x'00'",
        "update events set version = version + 10",
        "update events set run = run + 1",
        "update events set pos = pos + 100",
        "update events set at = 0",
        "update events set type = 'run_completed'",
        "update events set content = x'00'",
        "delete from events",
        "delete from events where version = 2",
    ],
)
@on_a_loop
async def test_the_database_itself_refuses_to_change_an_event(path: Path, statement: str):
    log = SqliteLog(path)
    await HandmadeRun(log, "run-1").commit([1, 2, 3])
    before = await log.feed(0, 10)

    stranger = apsw.Connection(str(path))
    with pytest.raises(apsw.ConstraintError, match=r"append-only|erased, not changed"):
        stranger.execute(statement)
    stranger.close()

    assert await log.feed(0, 10) == before
    await log.close()


@on_a_loop
async def test_a_content_may_be_erased_and_the_audit_still_holds(path: Path):
    log = SqliteLog(path)
    run = HandmadeRun(log, "run-1")
    await run.commit(["secret", "public", "x" * 70_000])

    stranger = apsw.Connection(str(path))
    stranger.execute("update events set content = null")
    stranger.execute("delete from blobs")
    stranger.execute("update runs set content_key = x''")
    stranger.close()

    assert await log.contents(run.key, [1, 2, 3]) == {}
    assert await verify(log) == []
    await log.close()


# --- Readers ----------------------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_reader_sees_every_commit_of_the_owner_at_once(path: Path):
    owner = SqliteLog(path)
    reader = SqliteLog(path, read_only=True)
    run = HandmadeRun(owner, "run-1")

    for number in range(1, 6):
        await run.commit([number])

        assert await reader.run("run-1") == run.row
        assert len(await reader.feed(0, 100)) == number
    assert await verify(reader) == []
    await reader.close()
    await owner.close()


@on_a_loop
async def test_a_reader_refuses_to_write(path: Path):
    owner = SqliteLog(path)
    reader = SqliteLog(path, read_only=True)

    with pytest.raises(Unavailable, match="reading only"):
        await reader.commit([HandmadeRun(owner, "run-1").append()])
    with pytest.raises(Unavailable, match="reading only"):
        await reader.save_definition("v", "n", b"", NOON)

    assert await owner.runs() == []
    await reader.close()
    await owner.close()
