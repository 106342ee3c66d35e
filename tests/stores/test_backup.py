"""A copy of a database that is being written to, and a database put in the place of another."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from headgate.app import App
from headgate.core.errors import Refused
from headgate.engine.audit import gaps, verify
from headgate.ports import RunsWanted
from headgate.stores import backup as backup_module
from headgate.stores.backup import back_up, check_backup, files_beside, put_in_place
from headgate.stores.ownership import state_folder
from headgate.stores.sqlite import SqliteLog
from headgate.testing.log_conformance import HandmadeRun, on_a_loop

WRITER = '''
import asyncio, sys
from pathlib import Path
from headgate.app import App
from headgate.ports import StartRequest
from headgate.stores.sqlite import SqliteLog

FLOW = """
name: asks
inputs: {text: string}
activities:
  say: {use: echo, with: {text: "{{ INPUT.text }}"}}
  ask: {use: approval, with: {title: "{{ say.text }}"}}
  end: {use: echo, when: "{{ ask.approved }}", with: {text: "{{ say.text }}"}}
outputs: {text: "{{ end.text }}"}
"""

async def main():
    stop = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    async with App(SqliteLog(Path(sys.argv[1])), offline=True, environment={}) as app:
        number = 0
        while not stop.done():
            run = await app.desk.start(StartRequest(definition=FLOW, input={"text": f"{number} " + "x" * 2000}))
            if number % 3 == 0:
                await app.desk.settled()
                await app.desk.decide(run.id, approved=True)
            number += 1
            if number == 50:
                print("busy", flush=True)

asyncio.run(main())
'''


async def filled(path: Path, runs: int = 3) -> None:
    log = SqliteLog(path)
    for number in range(runs):
        assert await HandmadeRun(log, f"run-{number}").commit([1, "x" * 70_000]) == "accepted"
    await log.close()


async def run_ids(path: Path) -> list[str]:
    log = SqliteLog(path, read_only=True)
    try:
        assert await verify(log) == []
        assert await gaps(log.keeping(path.parent)) == []
        return sorted(row.id for row in await log.runs(limit=100_000))
    finally:
        await log.close()


@pytest.mark.slow
def test_a_backup_under_load_is_restored_elsewhere_and_its_runs_go_on_to_their_end(tmp_path: Path):
    database, elsewhere = tmp_path / "busy.db", tmp_path / "elsewhere" / "log.db"
    elsewhere.parent.mkdir()
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "busy\n"
        copies = [tmp_path / f"copy-{number}.db" for number in range(3)]
        for copy in copies:
            back_up(database, copy, tmp_path)
        counts = [len(asyncio.run(run_ids(copy))) for copy in copies]
    finally:
        _, _ = writer.communicate("", timeout=60)

    check_backup(copies[1])
    put_in_place(copies[1], elsewhere)
    statuses = asyncio.run(approved(elsewhere))

    assert writer.returncode == 0
    assert 50 <= counts[0] <= counts[1] <= counts[2] <= len(asyncio.run(run_ids(database)))
    assert counts[0] < len(asyncio.run(run_ids(database))), "Nothing was written while the backups were made."
    assert statuses == ["completed"] * counts[1]
    assert len(asyncio.run(run_ids(elsewhere))) == counts[1]


async def approved(database: Path) -> list[str]:
    """Let every run of the restored database go on to its end."""
    log = SqliteLog(database)
    async with App(log, offline=True, environment={"HEADGATE_RETENTION": "forever"}) as app:
        await app.desk.settled()
        for row in await log.runs(RunsWanted(status="waiting"), limit=100_000):
            await app.desk.decide(row.id, approved=True)
        await app.desk.settled()
        return [row.head.status for row in await log.runs(limit=100_000)]


class OnePageAndACommit:
    """How many pages a step copies: one. Whoever asks, a commit gets in between."""

    def __init__(self, path: Path) -> None:
        self.writer = apsw.Connection(str(path))
        self.asked = 0

    def __index__(self) -> int:
        self.asked += 1
        assert self.asked < 1_000, "It begins anew again and again."
        self.writer.execute("insert into meta (name, value) values (?, 1)", (f"later-{self.asked}",))
        return 1


@on_a_loop
async def test_commits_between_the_steps_neither_get_into_the_copy_nor_make_it_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    await filled(tmp_path / "log.db", runs=5)
    pages = OnePageAndACommit(tmp_path / "log.db")
    monkeypatch.setattr(backup_module, "PAGES_PER_STEP", pages)

    copied = back_up(tmp_path / "log.db", tmp_path / "copy.db", tmp_path)
    pages.writer.close()

    copy = apsw.Connection(str(tmp_path / "copy.db"))
    assert list(copy.execute("select count(*) from meta where name like 'later-%'")) == [(0,)]
    assert copied.bytes // 8192 <= pages.asked <= copied.bytes // 8192 + 1
    assert len(await run_ids(tmp_path / "copy.db")) == 5


@on_a_loop
async def test_a_backup_takes_the_kept_files_along_and_a_restore_puts_them_back(tmp_path: Path):
    database, target = tmp_path / "a" / "log.db", tmp_path / "b" / "log.db"
    database.parent.mkdir()
    target.parent.mkdir()
    await filled(database)
    for name in ("files/ab/one", "frames/cd/two", "tenants/of-acme/files/ab/one", "else/three"):
        file = state_folder(database) / name
        file.parent.mkdir(parents=True)
        file.write_text(name)

    done = back_up(database, tmp_path / "copy.db", state_folder(database))
    aside, files = put_in_place(tmp_path / "copy.db", target)

    assert (done.files, files, aside) == (3, 3, None)
    assert not (files_beside(tmp_path / "copy.db") / "else").exists()
    for name in ("frames/cd/two", "tenants/of-acme/files/ab/one"):
        assert (state_folder(target) / name).read_text() == name
    assert await run_ids(target) == await run_ids(database)


def saying(file: Path, word: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = apsw.Connection(str(file))
    connection.execute("pragma journal_mode = wal").fetchall()
    connection.execute("create table t (word)")
    connection.execute("insert into t values (?)", (word,))
    connection.close()


@on_a_loop
async def test_databases_that_activities_keep_go_along_and_those_they_replace_are_kept(tmp_path: Path):
    database, target = tmp_path / "a" / "log.db", tmp_path / "b" / "log.db"
    for path in (database, target):
        path.parent.mkdir()
        await filled(path)
    saying(state_folder(database) / "conversations.db", "backed up")
    saying(state_folder(database) / "collections" / "books.db", "books")
    saying(state_folder(database) / "tenants" / "of-acme" / "collections" / "laws.db", "laws")
    saying(state_folder(target) / "conversations.db", "here before")

    back_up(database, tmp_path / "copy.db", state_folder(database))
    put_in_place(tmp_path / "copy.db", target)

    words: dict[str, str] = {}
    for file in state_folder(target).rglob("*.db*"):
        name, aside, _ = file.name.partition(".before-")
        ((words[name + (" aside" if aside else "")],),) = apsw.Connection(str(file)).execute("select word from t")
    assert words == {
        "conversations.db": "backed up",
        "conversations.db aside": "here before",
        "books.db": "books",
        "laws.db": "laws",
    }


@on_a_loop
async def test_the_old_database_steps_aside_whole(tmp_path: Path):
    await filled(tmp_path / "old.db", runs=1)
    left_open = apsw.Connection(str(tmp_path / "old.db"))
    left_open.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    left_open.execute("insert into meta (name, value) values ('only', 'in the WAL')")
    left_open.close()
    await filled(tmp_path / "new.db", runs=2)

    aside, _ = put_in_place(tmp_path / "new.db", tmp_path / "old.db")

    assert aside is not None
    assert await run_ids(tmp_path / "old.db") == ["run-0", "run-1"]
    assert list(apsw.Connection(str(aside)).execute("select value from meta where name = 'only'")) == [("in the WAL",)]


@on_a_loop
async def test_a_file_that_is_there_is_not_written_over(tmp_path: Path):
    await filled(tmp_path / "log.db")
    (tmp_path / "copy.db").write_text("mine")

    with pytest.raises(Refused, match=r"copy\.db is there already"):
        back_up(tmp_path / "log.db", tmp_path / "copy.db", tmp_path)

    assert (tmp_path / "copy.db").read_text() == "mine"


@on_a_loop
async def test_what_an_interrupted_backup_left_is_replaced(tmp_path: Path):
    await filled(tmp_path / "log.db")
    (tmp_path / "copy.db.unfinished").write_text("half")

    back_up(tmp_path / "log.db", tmp_path / "copy.db", tmp_path)

    assert len(await run_ids(tmp_path / "copy.db")) == 3
    assert not (tmp_path / "copy.db.unfinished").exists()


@on_a_loop
async def test_a_backup_has_the_rights_of_its_database(tmp_path: Path):
    await filled(tmp_path / "log.db")
    (tmp_path / "log.db").chmod(0o600)

    back_up(tmp_path / "log.db", tmp_path / "copy.db", tmp_path)

    assert os.stat(tmp_path / "copy.db").st_mode & 0o777 == 0o600  # noqa: PTH116 - as the system sees it


@pytest.mark.parametrize("damage", ["foreign", "text", "newer", "torn", "absent"])
def test_a_file_that_cannot_be_trusted_is_not_restored(tmp_path: Path, damage: str):
    file = tmp_path / "copy.db"
    asyncio.run(filled(file))
    match damage:
        case "foreign":
            file.unlink()
            apsw.Connection(str(file)).execute("create table t (a)")
        case "text":
            file.write_text("no database " * 1_000)
        case "newer":
            apsw.Connection(str(file)).execute("pragma user_version = 99")
        case "torn":
            content = bytearray(file.read_bytes())
            content[3 * 8192 : 5 * 8192] = b"\xff" * (2 * 8192)
            file.write_bytes(content)
        case _:
            file.unlink()

    with pytest.raises(Refused):
        check_backup(file)
