"""Which SQLite files are opened as a log, and which are refused."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from headgate.core.errors import HeadgateError, Refused, Unavailable
from headgate.engine.audit import verify
from headgate.ports import Move
from headgate.stores.sqlite import SqliteLog
from headgate.stores.sqlite_file import DatabaseTooNew
from headgate.testing.log_conformance import NOON, HandmadeRun, on_a_loop

NOBODY = 65_534


def fingerprints(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@on_a_loop
async def test_what_was_written_is_there_when_the_file_is_opened_again(path: Path):
    log = SqliteLog(path)
    run = HandmadeRun(log, "run-1", unique_key="order-7")
    await run.commit([1, "x" * 70_000], moves=[Move("team", limit=5), Move("team", reserve=2)], commands=["c"])
    await log.save_definition("v1", "letters", b"body", NOON)
    await log.close()
    left = [file.name for file in path.parent.iterdir()]

    again = SqliteLog(path)

    assert left == ["log.db"]
    assert await again.run("run-1") == run.row
    assert await again.answer("default", "c") == b"run-1"
    assert await again.definition("letters") == ("v1", b"body")
    assert again.new_key() > run.key
    assert await verify(again) == []
    await again.close()


@on_a_loop
async def test_a_database_of_a_newer_version_is_refused_and_not_touched(path: Path):
    log = SqliteLog(path)
    await HandmadeRun(log, "run-1").commit([1])
    await log.close()
    newer = apsw.Connection(str(path))
    newer.execute("pragma user_version = 7")
    newer.close()
    before = fingerprints(path.parent)

    with pytest.raises(DatabaseTooNew, match=r"log\.db was written by a newer Headgate \(schema 7; this one knows 4\)"):
        SqliteLog(path)

    assert fingerprints(path.parent) == before
    with pytest.raises(DatabaseTooNew):
        SqliteLog(path, read_only=True)


@on_a_loop
async def test_a_newer_database_that_crashed_keeps_what_its_wal_holds(path: Path, tmp_path: Path):
    log = SqliteLog(path)
    assert log._writer is not None
    await HandmadeRun(log, "run-1").commit([1])
    log._writer.execute("pragma user_version = 7")
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("log.db", "log.db-wal"):
        (crashed / name).write_bytes((tmp_path / name).read_bytes())
    await log.close()
    before = fingerprints(crashed)

    with pytest.raises(DatabaseTooNew):
        SqliteLog(crashed / "log.db")

    after = fingerprints(crashed)
    assert {name: after[name] for name in before} == before


def test_somebody_elses_database_is_refused_and_not_touched(path: Path):
    theirs = apsw.Connection(str(path))
    theirs.execute("create table songs (name); insert into songs values ('Help!')")
    theirs.close()
    before = fingerprints(path.parent)

    for read_only in (False, True):
        with pytest.raises(Refused, match="not one of Headgate's"):
            SqliteLog(path, read_only=read_only)

    assert fingerprints(path.parent) == before


@pytest.mark.parametrize("text", ["Hello.", "Not a database at all. " * 1_000])
def test_a_file_that_is_no_database_is_refused_and_not_touched(path: Path, text: str):
    path.write_text(text)

    with pytest.raises(Unavailable, match="is not an SQLite database"):
        SqliteLog(path)

    assert path.read_text() == text


def test_a_damaged_database_is_refused(path: Path):
    asyncio.run(SqliteLog(path).close())
    path.write_bytes(path.read_bytes()[:8192] + os.urandom(8192 * 3))

    with pytest.raises(HeadgateError, match=r"log\.db"):
        asyncio.run(SqliteLog(path).close())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(Unavailable, match=r"nowhere/log\.db cannot be opened: is its folder there"):
        SqliteLog(tmp_path / "nowhere" / "log.db")
    with pytest.raises(Unavailable, match="cannot be opened"):
        SqliteLog(tmp_path)


def test_an_empty_file_becomes_a_log_and_reading_one_is_refused(path: Path):
    path.touch()

    with pytest.raises(Refused):
        SqliteLog(path, read_only=True)

    asyncio.run(SqliteLog(path).close())
    asyncio.run(SqliteLog(path, read_only=True).close())


@contextlib.contextmanager
def powerless(folder_mode: int) -> Iterator[Path]:
    """Yield a folder that holds a log which this process, for now, may only read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(SqliteLog(folder / "log.db").close())
        (folder / "log.db").chmod(0o444)
        folder.chmod(folder_mode)
        if os.geteuid() == 0:  # who may do anything learns nothing
            os.seteuid(NOBODY)
            try:
                yield folder
            finally:
                os.seteuid(0)
        else:
            yield folder
        folder.chmod(0o700)


@pytest.mark.parametrize("folder_mode", [0o777, 0o555])
def test_a_file_that_may_only_be_read_says_so(folder_mode: int):
    with powerless(folder_mode) as folder:
        before = fingerprints(folder)

        with pytest.raises(Unavailable, match=r"log\.db cannot be written: it, or its folder, is read-only"):
            SqliteLog(folder / "log.db")

        assert fingerprints(folder) == before


@pytest.mark.parametrize("folder_mode", [0o777, 0o555])
def test_a_file_that_may_only_be_read_can_be_read(folder_mode: int):
    async def story(folder: Path) -> None:
        log = SqliteLog(folder / "log.db", read_only=True)
        assert await log.runs() == []
        await log.close()

    with powerless(folder_mode) as folder:
        asyncio.run(story(folder))


def test_no_new_file_in_a_folder_that_may_only_be_read():
    with powerless(0o555) as folder, pytest.raises(Unavailable, match="cannot be opened: is its folder there"):
        SqliteLog(folder / "new.db")
