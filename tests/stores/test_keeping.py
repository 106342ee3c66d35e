"""What the SQLite log keeps, deletes and erases: in slices, safe to interrupt, and explained to whoever audits."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import apsw
import pytest

from headgate.core.errors import NotFound, Refused
from headgate.engine.audit import gaps, verify
from headgate.ports import Collected
from headgate.stores import sqlite_keeping
from headgate.stores.kept_files import digests_in
from headgate.stores.sqlite import SqliteLog
from headgate.stores.sqlite_keeping import SqliteKeeping
from headgate.testing.log_conformance import NOON, HandmadeRun, on_a_loop

DAY = 86_400 * 1_000_000
LARGE = "large " * 12_000


class Kept:
    """A log of handmade runs, and its keeping."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.db"
        self.folder = folder / "state"
        self.log = SqliteLog(self.path)
        self.keeping = SqliteKeeping(self.log, self.folder)

    async def run(
        self, name: str, events: int = 3, *, finished: int | None = NOON, content: object = "text"
    ) -> HandmadeRun:
        run = HandmadeRun(self.log, name)
        status = "running" if finished is None else "completed"
        at = NOON if finished is None else finished
        assert await run.commit([content] * events, finished_at=finished, status=status, at=at) == "accepted"
        return run

    async def delete_all(self, before: int) -> Collected:
        done = Collected()
        for _ in range(100):
            batch = await self.keeping.delete(
                await self.keeping.expired(before, 50), before=before, at=NOON + 40 * DAY, why="old", actor="test"
            )
            done += Collected(batch.runs, batch.events)
            if not batch.more and not batch.runs:
                return done
        raise AssertionError("it never ended")

    async def faults(self) -> list[str]:
        return [str(fault) for fault in [*await verify(self.log), *await gaps(self.keeping)]]

    async def bytes_on_disk(self) -> bytes:
        return b"".join(file.read_bytes() for file in sorted(self.path.parent.glob("log.db*")))


@pytest.fixture
def kept(tmp_path: Path):
    made = Kept(tmp_path)
    yield made
    asyncio.run(made.log.close())


# --- Deleting ------------------------------------------------------------------------------------------------


@on_a_loop
async def test_what_ended_long_ago_goes_with_all_that_is_its_own(kept: Kept):
    await kept.run("old", content=LARGE)
    young = await kept.run("young", finished=NOON + 35 * DAY)
    await kept.run("newest", finished=NOON + 35 * DAY)

    done = await kept.delete_all(NOON + 5 * DAY)

    assert done == Collected(runs=1, events=3)
    assert [row.id for row in await kept.log.runs()] == ["newest", "young"]
    assert await kept.log.events(1) == []
    assert kept.log.read("select count(*) from blobs") == [(0,)]
    assert await kept.log.contents(young.key, [1]) == {1: b'"text"'}
    assert await kept.faults() == []


@on_a_loop
async def test_a_deletion_is_recorded_with_the_head_that_was(kept: Kept):
    old = await kept.run("old")
    await kept.run("newest")

    await kept.delete_all(NOON + DAY)

    found = await kept.keeping.deletion("old")
    assert found is not None
    assert (found.version, found.hash, found.why, found.actor) == (3, old.head.hash.hex(), "old", "test")
    assert await kept.keeping.deletions(10) == [found]
    assert await kept.keeping.deletion("newest") is None


@on_a_loop
async def test_what_has_not_ended_or_has_something_to_do_stays(kept: Kept):
    await kept.run("open", finished=None)
    waits = HandmadeRun(kept.log, "has-a-message")
    await waits.commit([1], finished_at=NOON, status="completed", attention_at=NOON + 1)
    busy = HandmadeRun(kept.log, "holds-a-task")
    await busy.commit([1], finished_at=NOON, status="completed", tasks=1)
    await kept.run("newest")

    assert await kept.keeping.expired(NOON + DAY, 50) == []
    assert await kept.delete_all(NOON + DAY) == Collected()


@on_a_loop
async def test_children_go_after_their_parent_and_never_before_it(kept: Kept):
    above = await kept.run("above", finished=None)
    for name in ("below-1", "below-2"):
        await kept.run(name)
        kept.log.read("update runs set parent = 'above' where id = ?", name)
    await kept.run("newest")
    kept_while_it_lives = await kept.delete_all(NOON + DAY)
    await above.commit([1], finished_at=NOON, status="completed")
    await kept.run("newer")

    gone = await kept.delete_all(NOON + DAY)

    assert kept_while_it_lives == Collected()
    assert gone.runs == 4  # above, its children, and what was the newest before
    assert await kept.faults() == []


@on_a_loop
async def test_a_parent_stays_while_a_child_of_it_is_under_way(kept: Kept):
    await kept.run("above")
    await kept.run("below", finished=None)
    kept.log.read("update runs set parent = 'above' where id = 'below'")
    await kept.run("newest")

    assert await kept.keeping.expired(NOON + DAY, 50) == []


@on_a_loop
async def test_neither_a_position_nor_a_key_is_given_twice(kept: Kept):
    for number in range(3):
        await kept.run(f"run-{number}")
    last = (await kept.log.feed(0, 100))[-1].pos

    await kept.delete_all(NOON + DAY)
    await kept.log.close()
    kept.log = SqliteLog(kept.path)
    after = await kept.run("after")

    assert after.key == 4
    assert [row.pos for row in await kept.log.events(after.key)] == [last + 1, last + 2, last + 3]


@on_a_loop
async def test_the_highest_key_stays_taken_also_where_an_older_run_was_busy_last(kept: Kept):
    first = await kept.run("first", finished=None)
    await kept.run("highest")
    await first.commit([1], finished_at=NOON, status="completed")

    await kept.delete_all(NOON + DAY)
    await kept.log.close()
    kept.log = SqliteLog(kept.path)

    assert kept.log.new_key() == 3


@on_a_loop
async def test_a_long_run_goes_in_slices_and_the_audit_holds_between_any_two(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sqlite_keeping, "EVENTS_MAX", 4)
    monkeypatch.setattr(sqlite_keeping, "BLOBS_MAX", 2)
    long = await kept.run("long", events=10)
    many = HandmadeRun(kept.log, "many-blobs")
    await many.commit([f"{number}{LARGE}" for number in range(5)], finished_at=NOON, status="completed")
    await kept.run("newest")
    args = {"before": NOON + DAY, "at": NOON, "why": "old", "actor": "test"}

    left: list[int] = []
    batch = await kept.keeping.delete(["long", "many-blobs"], **args)
    while batch.more:
        left.append(len(await kept.log.events(long.key)))
        assert await kept.faults() == []
        await kept.log.close()  # as if the process had died here
        kept.log = SqliteLog(kept.path)
        kept.keeping = SqliteKeeping(kept.log, kept.folder)
        batch = await kept.keeping.delete([], **args)

    assert left[:3] == [6, 2, 0]
    assert kept.log.read("select (select count(*) from events), (select count(*) from blobs)") == [(3, 0)]
    assert await kept.faults() == []


@on_a_loop
async def test_a_run_that_goes_on_meanwhile_is_not_deleted(kept: Kept):
    run = await kept.run("retried")
    await kept.run("newest")
    chosen = await kept.keeping.expired(NOON + DAY, 50)
    await run.commit([1], status="running", finished_at=None)

    done = await kept.keeping.delete(chosen, before=NOON + DAY, at=NOON, why="old", actor="test")

    assert chosen == ["retried"]
    assert done == Collected()
    assert await kept.faults() == []


@on_a_loop
async def test_the_answers_that_name_a_deleted_run_go_with_it(kept: Kept):
    run = HandmadeRun(kept.log, "old")
    await run.commit([1], finished_at=NOON, status="completed", commands=["start-old"])
    await HandmadeRun(kept.log, "newest").commit([1], commands=["start-newest"])

    await kept.delete_all(NOON + DAY)

    assert await kept.log.answer("default", "start-old") is None
    assert await kept.log.answer("default", "start-newest") == b"newest"


@on_a_loop
async def test_events_are_protected_again_after_a_deletion(kept: Kept):
    await kept.run("old")
    await kept.run("newest")
    await kept.delete_all(NOON + DAY)

    with pytest.raises(Exception, match="append-only"):
        kept.log.read("delete from events")


@on_a_loop
async def test_old_records_of_deletions_are_forgotten_but_stay_counted(kept: Kept):
    await kept.run("old")
    await kept.run("newest")
    await kept.delete_all(NOON + DAY)

    await kept.keeping.trim(spend_before=0, cache_before=0, deletions_before=NOON + 41 * DAY)

    assert await kept.keeping.deletions(10) == []
    assert await kept.faults() == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("delete from runs where id = 'a'", "belong to a run that is not there"),
        ("delete from deletions", "3 events of 9 are missing"),
        ("update deletions set version = version - 1", "1 events of 9 are missing"),
    ],
)
@on_a_loop
async def test_what_was_deleted_without_a_record_is_found(kept: Kept, statement: str, said: str):
    await kept.run("old")
    await kept.run("a", finished=NOON + 50 * DAY)
    await kept.run("newest")
    await kept.delete_all(NOON + DAY)
    assert await kept.faults() == []

    kept.log.read(statement)

    assert any(said in fault for fault in await kept.faults())


# --- Erasing -------------------------------------------------------------------------------------------------


@on_a_loop
async def test_after_an_erasure_no_byte_of_the_contents_is_in_any_file(kept: Kept):
    planted = [f"planted-{letter}-{number}" for letter in "abc" for number in range(40)]
    for number, letter in enumerate("abc"):
        run = HandmadeRun(kept.log, f"run-{letter}")
        for word in planted[number * 40 : number * 40 + 40]:
            await run.commit([f"{word} {'x' * (len(word) * 97 % 9000)}"], finished_at=NOON, status="completed")
        await run.commit([f"planted-{letter}-large {LARGE}"], finished_at=NOON, status="completed")
    assert b"planted-b-7 " in await kept.bytes_on_disk()

    for letter in "abc":
        await kept.keeping.erase(f"run-{letter}", at=NOON, actor="test")
        assert await kept.keeping.clean()
        left = await kept.bytes_on_disk()
        assert b"planted-" + letter.encode() not in left

    assert b"planted-" not in await kept.bytes_on_disk()
    assert await kept.faults() == []


@on_a_loop
async def test_an_erasure_destroys_the_key_and_is_recorded(kept: Kept):
    run = await kept.run("run")
    key = run.row.content_key

    done = await kept.keeping.erase("run", at=NOON + 7, actor="user:ada")
    await kept.keeping.clean()

    row = await kept.log.run("run")
    erasure = await kept.keeping.erasure("run")
    assert row is not None
    assert row.erased
    assert key not in await kept.bytes_on_disk()
    assert done.contents == 3
    assert erasure is not None
    assert (erasure.at, erasure.actor, erasure.version) == (NOON + 7, "user:ada", 3)


@on_a_loop
async def test_a_second_erasure_changes_nothing(kept: Kept):
    await kept.run("run")
    await kept.keeping.erase("run", at=NOON, actor="first")
    before = kept.log.read("select * from runs"), kept.log.read("select * from erasures")

    done = await kept.keeping.erase("run", at=NOON + 1, actor="second")

    assert done.runs == ()
    assert done.before == ("run",)
    assert (kept.log.read("select * from runs"), kept.log.read("select * from erasures")) == before


@on_a_loop
async def test_an_erasure_that_was_interrupted_is_finished_later(kept: Kept, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite_keeping, "EVENTS_MAX", 2)
    run = await kept.run("run", events=7)
    await kept.log.transact(lambda writer: sqlite_keeping._begin_erasure(writer, "run", NOON, "test"))
    await kept.log.transact(lambda writer: sqlite_keeping._erase_slice(writer, run.key))
    left = len(await kept.log.contents(run.key, range(1, 8)))
    said = await kept.faults()

    finished = await kept.keeping.go_on_erasing()

    assert left == 5
    assert "erase it again" in said[0]
    assert finished == 1
    assert await kept.log.contents(run.key, range(1, 8)) == {}
    assert await kept.keeping.go_on_erasing() == 0
    assert await kept.faults() == []


@on_a_loop
async def test_a_run_that_has_not_ended_is_not_erased(kept: Kept):
    run = await kept.run("open", finished=None)

    with pytest.raises(Refused, match="has not ended"):
        await kept.keeping.erase("open", at=NOON, actor="test")
    with pytest.raises(NotFound):
        await kept.keeping.erase("nobody", at=NOON, actor="test")

    assert len(await kept.log.contents(run.key, [1, 2, 3])) == 3


@on_a_loop
async def test_a_reader_in_the_way_is_said_and_the_next_cleaning_does_it(kept: Kept):
    await kept.run("run", content="planted-word")
    reader = apsw.Connection(str(kept.path), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("begin")
    list(reader.execute("select * from events"))
    await kept.keeping.erase("run", at=NOON, actor="test")

    in_the_way = await kept.keeping.clean()
    reader.execute("rollback")
    reader.close()
    gone = await kept.keeping.clean()

    assert (in_the_way, gone) == (False, True)
    assert b"planted-word" not in await kept.bytes_on_disk()


# --- Files ---------------------------------------------------------------------------------------------------


def keep_file(kept: Kept, digest: str, *, kind: str = "files", at: int = NOON) -> Path:
    file = kept.folder / kind / digest[:2] / f"{digest}{'.parquet' if kind == 'frames' else ''}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"bytes")
    os.utime(file, ns=(at * 1_000, at * 1_000))
    return file


@on_a_loop
async def test_files_that_no_run_names_go_when_they_are_old_enough(kept: Kept):
    named, frame, young, gone, gone_frame = ("a" * 64, "b" * 64, "c" * 64, "d" * 64, "e" * 64)
    await kept.run("run", content={"$file": named, "size": 5})
    await kept.run("large", content=[LARGE, {"$frame": frame}])
    stays = [
        keep_file(kept, named),
        keep_file(kept, frame, kind="frames"),
        keep_file(kept, young, at=NOON + DAY),
    ]
    goes = [keep_file(kept, gone), keep_file(kept, gone_frame, kind="frames")]

    removed = await kept.keeping.sweep_files(NOON + DAY)

    assert removed == 2
    assert all(file.exists() for file in stays)
    assert not any(file.exists() for file in goes)


@on_a_loop
async def test_the_files_of_an_erased_run_go_unless_another_run_names_them(kept: Kept):
    only, shared = "a" * 64, "b" * 64
    await kept.run("run", content=[only, shared])
    await kept.run("other", content=[shared])
    files = [keep_file(kept, only), keep_file(kept, shared)]
    named = await kept.keeping.files_of("run")
    await kept.keeping.erase("run", at=NOON, actor="test")

    removed = await kept.keeping.sweep_files(1 << 62, named)

    assert named == [only, shared]
    assert removed == 1
    assert [file.exists() for file in files] == [False, True]


def test_only_whole_digests_are_found_in_a_content():
    text = f'{{"a": "{"a" * 64}", "b": "sha256:{"b" * 64}", "c": "{"c" * 65}", "d": "{"d" * 63}"}}'

    assert digests_in(text.encode()) == {"a" * 64, "b" * 64}


@on_a_loop
async def test_results_that_the_run_may_have_left_for_reuse_go_with_it(kept: Kept):
    columns = {row[1]: row[2].lower() for row in kept.log.read("select * from pragma_table_info('cache')")}
    await kept.run("run")
    for number, (workflow, at) in enumerate([("letters", NOON + 1), ("letters", NOON - 1), ("others", NOON + 1)]):
        named = {"tenant": "default", "key": bytes([number]), "workflow": workflow, "at": at}
        empty = {"integer": 0, "text": "", "blob": b""}
        values = [named.get(name, empty[kind]) for name, kind in columns.items()]
        marks = ", ".join("?" * len(values))
        await kept.log.change(f"insert into cache values ({marks})", *values)

    await kept.keeping.erase("run", at=NOON, actor="test")

    assert kept.log.read("select workflow, at from cache order by key") == [
        ("letters", NOON - 1),
        ("others", NOON + 1),
    ]
