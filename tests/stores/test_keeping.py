"""What the SQLite log keeps, deletes and erases: in slices, safe to interrupt, and explained to whoever audits."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from tests.conformance.kept_log import DAY, LARGE, Kept, closed_after

from headgate.stores.kept_files import digests_in
from headgate.testing.log_conformance import NOON, HandmadeRun


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept("sqlite", tmp_path)


def bytes_on_disk(kept: Kept) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(kept.path.parent.glob("log.db*")))


@closed_after
async def test_neither_a_position_nor_a_key_is_given_twice(kept: Kept):
    for number in range(3):
        await kept.run(f"run-{number}")
    last = (await kept.log.feed(0, 100))[-1].pos

    await kept.delete_all(NOON + DAY)
    await kept.reopen()
    after = await kept.run("after")

    assert after.key == 4
    assert [row.pos for row in await kept.log.events(after.key)] == [last + 1, last + 2, last + 3]


@closed_after
async def test_the_highest_key_stays_taken_also_where_an_older_run_was_busy_last(kept: Kept):
    first = await kept.run("first", finished=None)
    await kept.run("highest")
    await first.commit([1], finished_at=NOON, status="completed")

    await kept.delete_all(NOON + DAY)
    await kept.reopen()

    assert kept.log.new_key() == 3


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("delete from runs where id = 'a'", "belong to a run that is not there"),
        ("delete from deletions", "3 events of 9 are missing"),
        ("update deletions set version = version - 1", "1 events of 9 are missing"),
    ],
)
@closed_after
async def test_what_was_deleted_without_a_record_is_found(kept: Kept, statement: str, said: str):
    await kept.run("old")
    await kept.run("a", finished=NOON + 50 * DAY)
    await kept.run("newest")
    await kept.delete_all(NOON + DAY)
    assert await kept.faults() == []

    kept.log.read(statement)

    assert any(said in fault for fault in await kept.faults())


@closed_after
async def test_after_an_erasure_no_byte_of_the_contents_is_in_any_file(kept: Kept):
    planted = [f"planted-{letter}-{number}" for letter in "abc" for number in range(40)]
    for number, letter in enumerate("abc"):
        run = HandmadeRun(kept.log, f"run-{letter}")
        for word in planted[number * 40 : number * 40 + 40]:
            await run.commit([f"{word} {'x' * (len(word) * 97 % 9000)}"], finished_at=NOON, status="completed")
        await run.commit([f"planted-{letter}-large {LARGE}"], finished_at=NOON, status="completed")
    assert b"planted-b-7 " in bytes_on_disk(kept)

    for letter in "abc":
        await kept.keeping.erase(f"run-{letter}", at=NOON, actor="test")
        assert await kept.keeping.clean()
        left = bytes_on_disk(kept)
        assert b"planted-" + letter.encode() not in left

    assert b"planted-" not in bytes_on_disk(kept)
    assert await kept.faults() == []


@closed_after
async def test_an_erasure_destroys_the_key_and_is_recorded(kept: Kept):
    run = await kept.run("run")
    key = run.row.content_key

    done = await kept.keeping.erase("run", at=NOON + 7, actor="user:ada")
    await kept.keeping.clean()

    row = await kept.log.run("run")
    erasure = await kept.keeping.erasure("run")
    assert row is not None
    assert row.erased
    assert key not in bytes_on_disk(kept)
    assert done.contents == 3
    assert erasure is not None
    assert (erasure.at, erasure.actor, erasure.version) == (NOON + 7, "user:ada", 3)


@closed_after
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
    assert b"planted-word" not in bytes_on_disk(kept)


def test_only_whole_digests_are_found_in_a_content():
    text = f'{{"a": "{"a" * 64}", "b": "sha256:{"b" * 64}", "c": "{"c" * 65}", "d": "{"d" * 63}"}}'

    assert digests_in(text.encode()) == {"a" * 64, "b" * 64}
