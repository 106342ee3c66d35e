"""The audit finds every byte that is not as it was recorded, and names the first event that does not hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from headgate.core.errors import NotFound
from headgate.engine import audit
from headgate.engine.audit import Fault, verify
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog
from headgate.testing.log_conformance import HandmadeRun, on_a_loop

LARGE = "x" * 70_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of three runs, each of four appends, whose protection is off."""
    asyncio.run(write_runs(tmp_path / "log.db"))
    return tmp_path / "log.db"


async def write_runs(path: Path) -> None:
    log = SqliteLog(path)
    for name in ("run-a", "run-b", "run-c"):
        run = HandmadeRun(log, name)
        for contents in ([{"n": 1}, 2], [None], ["three"], [LARGE, 5]):
            assert await run.commit(contents) == "accepted"
    await log.close()
    with_open(path, lambda connection: connection.execute("drop trigger events_are_never_changed"))
    with_open(path, lambda connection: connection.execute("drop trigger contents_are_only_erased"))
    with_open(path, lambda connection: connection.execute("drop trigger events_are_never_deleted"))


def with_open(path: Path, act: Callable[[apsw.Connection], object]) -> None:
    connection = apsw.Connection(str(path))
    act(connection)
    connection.close()


def tamper(path: Path, statement: str) -> None:
    """Change run-b, whose key is 2."""
    with_open(path, lambda connection: connection.execute(statement))


def flip(path: Path, column: str, version: int, byte: int) -> None:
    """Flip one bit of a stored event of run-b."""

    def act(connection: apsw.Connection) -> None:
        find = f"select pos, cast({column} as blob) from events where run = 2 and version = ?"
        ((pos, value),) = list(connection.execute(find, (version,)))
        changed = bytearray(value)
        changed[byte] ^= 1
        connection.execute(f"update events set {column} = ? where pos = ?", (bytes(changed), pos))

    with_open(path, act)


def brief(faults: list[Fault]) -> list[tuple[str, int, str]]:
    return [(fault.run_id, fault.version, fault.what) for fault in faults]


async def found(path: Path, run_id: str | None = None) -> list[Fault]:
    log = SqliteLog(path, read_only=True)
    try:
        return await verify(log, run_id)
    finally:
        await log.close()


@on_a_loop
async def test_a_log_as_it_was_written_has_no_fault(path: Path):
    assert await found(path) == []
    assert await found(path, "run-b") == []


@pytest.mark.parametrize("version", [1, 3, 6])
@pytest.mark.parametrize("byte", [0, 5, -1])
@pytest.mark.parametrize("column", ["data", "hash"])
@on_a_loop
async def test_a_flipped_bit_of_data_or_hash_is_found_in_its_event(path: Path, column: str, byte: int, version: int):
    flip(path, column, version, byte)

    (fault,) = await found(path)

    assert (fault.run_id, fault.version) == ("run-b", version)
    assert fault.kind == "hash"
    assert "one of them was changed" in fault.what
    assert str(fault).startswith(f"Run run-b, event {version}, position {6 + version}: its hash does not follow")


@pytest.mark.parametrize(("version", "byte"), [(1, 0), (2, -1), (4, 3)])
@on_a_loop
async def test_a_flipped_bit_of_a_content_is_found(path: Path, version: int, byte: int):
    flip(path, "content", version, byte)

    assert brief(await found(path)) == [("run-b", version, "its content is not the one that it names")]


@on_a_loop
async def test_a_flipped_bit_of_a_large_content_is_found(path: Path):
    tamper(path, "update blobs set data = cast(x'00' || substr(data, 2) as blob) where run = 2")

    assert brief(await found(path)) == [("run-b", 5, "its content is not the one that it names")]


@on_a_loop
async def test_a_content_put_where_there_was_none_is_found(path: Path):
    tamper(path, "update events set content = x'31' where run = 2 and version = 3")

    assert brief(await found(path)) == [("run-b", 3, "has a content that it does not name")]


@on_a_loop
async def test_erased_contents_are_no_fault(path: Path):
    tamper(path, "update events set content = null where run = 2")
    tamper(path, "delete from blobs where run = 2")
    tamper(path, "update runs set content_key = x'' where key = 2")

    assert await found(path) == []


@pytest.mark.parametrize(
    ("statement", "version"),
    [("update events set content = null where run = 2 and version = 2", 2), ("delete from blobs where run = 2", 5)],
)
@on_a_loop
async def test_a_content_that_is_lost_without_an_erasure_is_found(path: Path, statement: str, version: int):
    tamper(path, statement)

    assert brief(await found(path)) == [("run-b", version, "its content is missing, and the run was not erased")]


@on_a_loop
async def test_a_content_that_an_erasure_left_behind_is_found(path: Path):
    tamper(path, "update runs set content_key = x'' where key = 2")

    assert brief(await found(path)) == [("run-b", 1, "has a content though the run was erased; erase it again")]


@pytest.mark.parametrize(
    ("statement", "version", "what"),
    [
        ("delete from events where run = 2 and version = 3", 3, "is missing; the next one is event 4"),
        ("delete from events where run = 2 and version = 1", 1, "is missing; the next one is event 2"),
        ("delete from events where run = 2 and version = 6", 6, "is missing; the run has 6 events"),
        ("delete from events where run = 2", 1, "is missing; the run has 6 events"),
        ("update runs set version = 4 where key = 2", 4, "not the one in the run's head"),
        ("update runs set hash = x'00' where key = 2", 6, "not the one in the run's head"),
        ("update events set type = 'run_completed' where run = 2 and version = 2", 2, "its row says other than"),
        ("update events set at = at + 1 where run = 2 and version = 2", 2, "its row says other than"),
        ("update runs set id = 'run-x' where key = 2", 1, "its row says other than"),
    ],
)
@on_a_loop
async def test_what_is_missing_or_moved_is_found(path: Path, statement: str, version: int, what: str):
    tamper(path, statement)

    (fault,) = await found(path)

    assert fault.version == version
    assert what in fault.what


@on_a_loop
async def test_a_history_that_was_cut_and_chained_again_ends_beyond_its_head(path: Path):
    tamper(
        path,
        "update runs set (version, hash) = (select 3, hash from events where run = 2 and version = 3) where key = 2",
    )

    assert brief(await found(path)) == [("run-b", 4, "stands behind the run's head, which is event 3")]


@on_a_loop
async def test_each_run_has_its_own_first_fault(path: Path):
    flip(path, "data", 2, 4)
    flip(path, "data", 5, 4)
    tamper(path, "delete from events where run = 3 and version = 4")

    assert {(fault.run_id, fault.version) for fault in await found(path)} == {("run-b", 2), ("run-c", 4)}
    assert await found(path, "run-a") == []
    assert [fault.version for fault in await found(path, "run-b")] == [2]
    with pytest.raises(NotFound, match="no run 'run-z'"):
        await found(path, "run-z")


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(audit, "RUNS_PAGE", 2)
    monkeypatch.setattr(audit, "EVENTS_PAGE", 3)
    return None


@pytest.mark.usefixtures("small_pages")
@on_a_loop
async def test_a_fault_is_found_on_whatever_page_it_stands(path: Path):
    flip(path, "data", 6, 4)
    tamper(path, "update blobs set data = x'00' where run = 1")

    faults = await found(path)

    assert [(fault.run_id, fault.version) for fault in faults] == [("run-b", 6), ("run-a", 5)]


@pytest.mark.usefixtures("small_pages")
@on_a_loop
async def test_a_log_that_grows_meanwhile_has_no_fault():
    log = MemoryLog()
    run = HandmadeRun(log, "run-1")
    await run.commit([1] * 7)
    read = log.events

    async def read_and_grow(key: int, *, after: int = 0, limit: int = 100_000):
        await run.commit([2])
        return await read(key, after=after, limit=limit)

    log.events = read_and_grow

    assert await verify(log) == []
    assert run.head.version > 7
