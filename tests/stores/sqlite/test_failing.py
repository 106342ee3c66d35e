"""What is left of an append to SQLite that fails in the middle, or finds no room."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import msgspec
import pytest

from headgate.core.errors import Unavailable
from headgate.engine.audit import verify
from headgate.ports import BudgetRule, Move, Schedule
from headgate.stores.budgets import KeptBudgetRules
from headgate.stores.queries import load_queries
from headgate.stores.schedules import KeptSchedules
from headgate.stores.sqlite import SqliteLog
from headgate.stores.storage import documents_beside
from headgate.testing.log_conformance import NOON, HandmadeRun, on_a_loop

# --- Failures in the middle -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("good", [1, 5])
@on_a_loop
async def test_a_fault_while_writing_leaves_no_trace_and_a_log_that_works(path: Path, good: int):
    log = SqliteLog(path)
    runs = [HandmadeRun(log, f"run-{number}") for number in range(good)]
    broken = HandmadeRun(log, "broken").append(moves=[Move("team", limit=1)])
    broken.rows.append((broken.run, 1, NOON, "twice", b"", b"", None))

    with pytest.raises(Unavailable, match="Nothing of this write was kept"):
        await log.commit([*(run.append() for run in runs), broken])

    assert await log.runs() == []
    assert await log.feed(0, 10) == []
    assert await log.budget("team") is None
    assert await log.commit([run.append() for run in runs]) == ["accepted"] * good
    await log.close()


@on_a_loop
async def test_a_commit_that_fails_leaves_no_trace_and_a_log_that_works(path: Path):
    log = SqliteLog(path)
    assert log._writer is not None
    run = HandmadeRun(log, "run-1")

    for _ in range(12):  # slow at first, then on the loop
        log._writer.set_commit_hook(lambda: True)
        with pytest.raises(Unavailable):
            await run.commit()
        log._writer.set_commit_hook(None)
        version = run.head.version

        assert len(await log.feed(0, 100)) == version
        assert await run.commit() == "accepted"
    await log.close()


@on_a_loop
async def test_a_fault_at_the_disk_that_is_not_sqlites_is_told_and_the_log_works_on(path: Path):
    def explode() -> bool:
        raise OSError("no such luck")

    log = SqliteLog(path)
    assert log._writer is not None
    log._writer.set_commit_hook(explode)
    with pytest.raises(OSError, match="no such luck"):
        await asyncio.wait_for(HandmadeRun(log, "run-1").commit(), 10)

    log._writer.set_commit_hook(None)

    assert await log.runs() == []
    assert await HandmadeRun(log, "run-1").commit() == "accepted"
    await log.close()


@on_a_loop
async def test_a_caller_that_is_cancelled_at_the_disk_leaves_a_whole_append(path: Path):
    log = SqliteLog(path)
    disk = SlowDisk(log)
    first, second = HandmadeRun(log, "run-1"), HandmadeRun(log, "run-2")

    cancelled = asyncio.create_task(log.commit([first.append([1, 2, 3])]))
    await disk.reached()
    next_one = asyncio.create_task(log.commit([second.append()]))
    for _ in range(3):
        cancelled.cancel()
        await asyncio.sleep(0)
    waited = not cancelled.done() and not next_one.done()
    disk.go_on()

    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert waited
    assert await next_one == ["accepted"]
    assert [(row.id, row.head.version) for row in await log.runs()] == [("run-2", 1), ("run-1", 3)]
    assert await verify(log) == []
    await log.close()


@on_a_loop
async def test_a_caller_that_is_cancelled_in_the_line_leaves_no_trace(path: Path):
    log = SqliteLog(path)
    disk = SlowDisk(log)
    first, second = HandmadeRun(log, "run-1"), HandmadeRun(log, "run-2")

    under_way = asyncio.create_task(log.commit([first.append()]))
    await disk.reached()
    cancelled = asyncio.create_task(log.commit([second.append()]))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.sleep(0)
    disk.go_on()

    assert await under_way == ["accepted"]
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await log.run("run-2") is None
    assert await second.commit() == "accepted"
    await log.close()


@on_a_loop
async def test_closing_waits_for_the_commit_that_is_under_way(path: Path):
    log = SqliteLog(path)
    disk = SlowDisk(log)
    commit = asyncio.create_task(log.commit([HandmadeRun(log, "run-1").append()]))
    await disk.reached()

    closing = asyncio.create_task(log.close())
    await asyncio.sleep(0)
    disk.go_on()
    await closing

    assert await commit == ["accepted"]
    again = SqliteLog(path)
    assert await again.run("run-1") is not None
    await again.close()


@on_a_loop
async def test_a_definition_is_not_saved_in_another_callers_transaction(path: Path):
    log = SqliteLog(path)
    disk = SlowDisk(log, refuse=True)
    commit = asyncio.create_task(log.commit([HandmadeRun(log, "run-1").append()]))
    await disk.reached()

    saving = asyncio.create_task(log.save_definition("v1", "letters", b"body", NOON))
    await asyncio.sleep(0)
    disk.go_on()

    with pytest.raises(Unavailable):
        await commit
    assert await saving is True
    assert await log.definition("letters") == ("v1", b"body")
    await log.close()


class SlowDisk:
    """Holds a log's next commit up until it may go on; then lets it pass or refuses it. Later ones just pass."""

    def __init__(self, log: SqliteLog, *, refuse: bool = False) -> None:
        assert log._writer is not None
        self._here = threading.Event()
        self._may_go = threading.Event()
        self._refuse = refuse
        log._writer.set_commit_hook(self._commit)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._here.wait, 10), "nothing was committed"

    def go_on(self) -> None:
        self._may_go.set()

    def _commit(self) -> bool:
        self._here.set()
        self._may_go.wait(10)
        refuse, self._refuse = self._refuse, False
        return refuse


# --- No room, no turn -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[], None]]:
    """Make `folder` a disk of 3 MB, and yield what makes room on it again; where that is not allowed, limit files."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "headgate-test", str(folder)]
    if os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0:
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(1_500_000))
        try:
            yield ballast.unlink
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    else:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, before[1]))
        try:
            yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def commit_without_end(run: HandmadeRun) -> None:
    for _ in range(1_000):
        await run.commit(["x" * 60_000])


@on_a_loop
async def test_a_full_disk_loses_nothing_that_was_acknowledged_and_works_when_there_is_room(tmp_path: Path):
    with small_disk(tmp_path) as make_room:
        log = SqliteLog(tmp_path / "log.db")
        run = HandmadeRun(log, "run-1")
        try:
            with pytest.raises(Unavailable, match=r"is full; nothing was written|disk I/O error"):
                await commit_without_end(run)
            acknowledged = run.head.version

            assert acknowledged > 3
            assert len(await log.events(run.key)) == acknowledged
            make_room()
            assert await run.commit(["and on"]) == "accepted"
            assert await verify(log) == []
        finally:
            await log.close()


@on_a_loop
async def test_a_database_at_its_size_limit_says_that_the_disk_is_full(path: Path):
    log = SqliteLog(path)
    assert log._writer is not None
    run = HandmadeRun(log, "run-1")
    await run.commit()
    log._writer.execute(f"pragma max_page_count = {log._writer.pragma('page_count') + 4}")

    with pytest.raises(Unavailable, match=r"The disk that holds .*log\.db is full; nothing was written"):
        await run.commit(["x" * 60_000] * 5)  # more than the pages that migrations have left free, too

    log._writer.execute("pragma max_page_count = 100000")
    assert await run.commit(["x" * 60_000]) == "accepted"
    await log.close()


HOLD_THE_WRITE_LOCK = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("begin immediate")
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def another_process_that_writes(path: Path) -> Iterator[None]:
    program = [sys.executable, "-c", HOLD_THE_WRITE_LOCK, str(path)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        yield
        other.communicate()


@on_a_loop
async def test_another_process_that_writes_is_named_and_nothing_is_kept_of_ours(path: Path):
    log = SqliteLog(path)
    assert log._writer is not None
    log._writer.set_busy_timeout(20)
    run = HandmadeRun(log, "run-1")

    with another_process_that_writes(path):
        with pytest.raises(Unavailable, match="Another process is writing"):
            await run.commit()
        with pytest.raises(Unavailable, match="Another process is writing"):
            await log.save_definition("v1", "letters", b"body", NOON)

    assert await log.runs() == []
    assert await run.commit() == "accepted"
    await log.close()


@on_a_loop
async def test_schedules_and_rules_of_schema_3_are_read_where_they_are_and_taken_over_by_the_first_to_write(path: Path):
    await SqliteLog(path).close()
    connection = apsw.Connection(str(path))
    rule = BudgetRule(scope="tenant", period="day", limit=5)
    with connection:
        connection.execute("drop table documents; drop table document_kinds; create table streams (id integer)")
        connection.execute("drop index runs_with_approvals; alter table runs drop column approvals")
        for file in ("schedules.sql", "budgets.sql"):
            connection.execute(load_queries(file)["schema"])
        beat = Schedule(id="1", name="beat", workflow="tick", every_seconds=60.0, next_at=9)
        connection.execute(
            "insert into schedules values ('1', 'default', 'beat', ?, 9, 7)", (msgspec.json.encode(beat),)
        )
        connection.execute(
            "insert into budget_rules values ('default', 'tenant', 'day', ?)", (msgspec.json.encode(rule),)
        )
        connection.execute("pragma user_version = 3")
    connection.close()

    for read_only in (True, False, True):
        log = SqliteLog(path, read_only=read_only)
        documents = documents_beside(log)
        (kept,) = await KeptSchedules(documents).all()
        assert msgspec.structs.replace(kept, revision=0) == beat
        assert await KeptBudgetRules(documents).all() == [rule]
        if not read_only:
            assert await KeptSchedules(documents).save(msgspec.structs.replace(kept, next_at=9))
            left = log.read("select name from sqlite_schema where name in ('schedules', 'budget_rules', 'streams')")
            assert left == []
        await log.close()
