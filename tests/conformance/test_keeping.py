"""What every log that outlives its process keeps, deletes and erases alike: in slices, safe to interrupt, and explained
to whoever audits."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from tests.conformance.kept_log import DAY, LARGE, Kept, closed_after
from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url

from headgate.core.errors import NotFound, Refused
from headgate.engine.audit import verify
from headgate.ports import Collected, Reusable
from headgate.stores import postgres_keeping, sqlite_keeping
from headgate.stores.postgres import PostgresLog
from headgate.stores.storage import storage_beside
from headgate.testing.clock import VirtualClock
from headgate.testing.log_conformance import NOON, HandmadeRun, on_a_loop


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    return Kept(request.param, tmp_path)


# --- Deleting ------------------------------------------------------------------------------------------------


@closed_after
async def test_what_ended_long_ago_goes_with_all_that_is_its_own(kept: Kept):
    await kept.run("old", content=LARGE)
    young = await kept.run("young", finished=NOON + 35 * DAY)
    await kept.run("newest", finished=NOON + 35 * DAY)

    done = await kept.delete_all(NOON + 5 * DAY)

    assert done == Collected(runs=1, events=3)
    assert [row.id for row in await kept.log.runs()] == ["newest", "young"]
    assert await kept.log.events(1) == []
    assert await kept.rows("select count(*) from blobs") == [(0,)]
    assert await kept.log.contents(young.key, [1]) == {1: b'"text"'}
    assert await kept.faults() == []


@closed_after
async def test_a_deletion_is_recorded_with_the_head_that_was(kept: Kept):
    old = await kept.run("old")
    await kept.run("newest")

    await kept.delete_all(NOON + DAY)

    found = await kept.keeping.deletion("old")
    assert found is not None
    assert (found.version, found.hash, found.why, found.actor) == (3, old.head.hash.hex(), "old", "test")
    assert await kept.keeping.deletions(10) == [found]
    assert await kept.keeping.deletion("newest") is None


@closed_after
async def test_what_has_not_ended_or_has_something_to_do_stays(kept: Kept):
    await kept.run("open", finished=None)
    waits = HandmadeRun(kept.log, "has-a-message")
    await waits.commit([1], finished_at=NOON, status="completed", attention_at=NOON + 1)
    busy = HandmadeRun(kept.log, "holds-a-task")
    await busy.commit([1], finished_at=NOON, status="completed", tasks=1)
    await kept.run("newest")

    assert await kept.keeping.expired(NOON + DAY, 50) == []
    assert await kept.delete_all(NOON + DAY) == Collected()


@closed_after
async def test_children_go_after_their_parent_and_never_before_it(kept: Kept):
    above = await kept.run("above", finished=None)
    for name in ("below-1", "below-2"):
        await kept.run(name)
        await kept.execute(f"update runs set parent = 'above' where id = '{name}'")
    await kept.run("newest")
    kept_while_it_lives = await kept.delete_all(NOON + DAY)
    await above.commit([1], finished_at=NOON, status="completed")
    await kept.run("newer")

    gone = await kept.delete_all(NOON + DAY)

    assert kept_while_it_lives == Collected()
    assert gone.runs == 4  # above, its children, and what was the newest before
    assert await kept.faults() == []


@closed_after
async def test_a_parent_stays_while_a_child_of_it_is_under_way(kept: Kept):
    await kept.run("above")
    await kept.run("below", finished=None)
    await kept.execute("update runs set parent = 'above' where id = 'below'")
    await kept.run("newest")

    assert await kept.keeping.expired(NOON + DAY, 50) == []


@closed_after
async def test_a_long_run_goes_in_slices_and_the_audit_holds_between_any_two(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
):
    for store in (sqlite_keeping, postgres_keeping):
        monkeypatch.setattr(store, "EVENTS_MAX", 4)
    for store in (sqlite_keeping, postgres_keeping):
        monkeypatch.setattr(store, "BLOBS_MAX", 2)
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
        await kept.reopen()  # as if the process had died here
        batch = await kept.keeping.delete([], **args)

    assert left[:3] == [6, 2, 0]
    assert await kept.rows("select (select count(*) from events), (select count(*) from blobs)") == [(3, 0)]
    assert await kept.faults() == []


@closed_after
async def test_a_run_that_goes_on_meanwhile_is_not_deleted(kept: Kept):
    run = await kept.run("retried")
    await kept.run("newest")
    chosen = await kept.keeping.expired(NOON + DAY, 50)
    await run.commit([1], status="running", finished_at=None)

    done = await kept.keeping.delete(chosen, before=NOON + DAY, at=NOON, why="old", actor="test")

    assert chosen == ["retried"]
    assert done == Collected()
    assert await kept.faults() == []


@closed_after
async def test_the_answers_that_name_a_deleted_run_go_with_it(kept: Kept):
    run = HandmadeRun(kept.log, "old")
    await run.commit([1], finished_at=NOON, status="completed", commands=["start-old"])
    await HandmadeRun(kept.log, "newest").commit([1], commands=["start-newest"])

    await kept.delete_all(NOON + DAY)

    assert await kept.log.answer("default", "start-old") is None
    assert await kept.log.answer("default", "start-newest") == b"newest"


@closed_after
async def test_events_are_protected_again_after_a_deletion(kept: Kept):
    await kept.run("old")
    await kept.run("newest")
    await kept.delete_all(NOON + DAY)

    with pytest.raises(Exception, match="append-only"):
        await kept.execute("delete from events")


@closed_after
async def test_old_records_of_deletions_are_forgotten_but_stay_counted(kept: Kept):
    await kept.run("old")
    await kept.run("newest")
    await kept.delete_all(NOON + DAY)

    await kept.keeping.trim(spend_before=0, cache_before=0, deletions_before=NOON + 41 * DAY)

    assert await kept.keeping.deletions(10) == []
    assert await kept.faults() == []


# --- Erasing -------------------------------------------------------------------------------------------------


@closed_after
async def test_a_second_erasure_changes_nothing(kept: Kept):
    await kept.run("run")
    await kept.keeping.erase("run", at=NOON, actor="first")
    before = await kept.rows("select * from runs"), await kept.rows("select * from erasures")

    done = await kept.keeping.erase("run", at=NOON + 1, actor="second")

    assert done.runs == ()
    assert done.before == ("run",)
    assert (await kept.rows("select * from runs"), await kept.rows("select * from erasures")) == before


@closed_after
async def test_an_erasure_that_was_interrupted_is_finished_later(kept: Kept, monkeypatch: pytest.MonkeyPatch):
    for store in (sqlite_keeping, postgres_keeping):
        monkeypatch.setattr(store, "EVENTS_MAX", 2)
    run = await kept.run("run", events=7)
    await kept.die_after_a_slice("run")
    left = len(await kept.log.contents(run.key, range(1, 8)))
    said = await kept.faults()

    finished = await kept.keeping.go_on_erasing()

    assert left == 5
    assert "erase it again" in said[0]
    assert finished == 1
    assert await kept.log.contents(run.key, range(1, 8)) == {}
    assert await kept.keeping.go_on_erasing() == 0
    assert await kept.faults() == []


@closed_after
async def test_a_run_that_has_not_ended_is_not_erased(kept: Kept):
    run = await kept.run("open", finished=None)

    with pytest.raises(Refused, match="has not ended"):
        await kept.keeping.erase("open", at=NOON, actor="test")
    with pytest.raises(NotFound):
        await kept.keeping.erase("nobody", at=NOON, actor="test")

    assert len(await kept.log.contents(run.key, [1, 2, 3])) == 3


# --- Files ---------------------------------------------------------------------------------------------------


def keep_file(kept: Kept, digest: str, *, kind: str = "files", at: int = NOON) -> Path:
    file = kept.folder / kind / digest[:2] / f"{digest}{'.parquet' if kind == 'frames' else ''}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"bytes")
    os.utime(file, ns=(at * 1_000, at * 1_000))
    return file


@closed_after
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


@closed_after
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


@closed_after
async def test_results_that_the_run_may_have_left_for_reuse_go_with_it(kept: Kept):
    await kept.run("run")
    cache = storage_beside(kept.log, VirtualClock()).cache
    for number, (workflow, at) in enumerate([("letters", NOON + 1), ("letters", NOON - 1), ("others", NOON + 1)]):
        cache.keep(Reusable("default", bytes([number]), workflow, "a", "echo", at, NOON + DAY, 0, b"1"))
    await cache.close()

    await kept.keeping.erase("run", at=NOON, actor="test")

    assert await kept.rows("select workflow, at from cache order by key") == [
        ("letters", NOON - 1),
        ("others", NOON + 1),
    ]


@closed_after
async def test_old_spend_expired_results_and_no_others_are_trimmed(kept: Kept):
    run = HandmadeRun(kept.log, "run")
    await run.commit([1, 2], spend=[run.spent(1), run.spent(2, part=1, at=NOON + DAY)])
    cache = storage_beside(kept.log, VirtualClock()).cache
    for number in range(2):
        cache.keep(Reusable("default", bytes([number]), "w", "a", "echo", NOON, NOON + number * DAY + 1, 0, b"1"))
    await cache.close()

    done = await kept.keeping.trim(spend_before=NOON + 1, cache_before=NOON + 2, deletions_before=NOON)

    assert done == Collected(spend=1, cached=1)
    assert [row.cost for row in await kept.log.spend("run")] == [2]
    assert await kept.rows("select count(*) from cache") == [(1,)]


@closed_after
async def test_runs_are_found_by_label_and_with_all_that_is_below_them(kept: Kept):
    for name in ("above", "below", "deeper", "other"):
        await kept.run(name)
    await kept.execute("update runs set parent = 'above' where id = 'below'")
    await kept.execute("update runs set parent = 'below' where id = 'deeper'")
    await kept.execute("""update runs set labels = '{"team": "red"}' where id in ('other', 'below')""")

    assert await kept.keeping.labelled("team", "red") == ["below", "other"]
    assert await kept.keeping.labelled("team", "blue") == []
    below = await kept.keeping.below("above")
    assert (below[0], sorted(below)) == ("above", ["above", "below", "deeper"])


@closed_after
async def test_events_of_a_run_that_nobody_deleted_are_found(kept: Kept):
    await kept.run("a")
    await kept.run("newest")

    await kept.execute("delete from runs where id = 'a'")

    assert any("belong to a run that is not there" in fault for fault in await kept.faults())


@on_a_loop
async def test_two_who_delete_at_once_delete_each_run_once():
    empty_postgres_log()
    logs = [PostgresLog(server_url(), schema=SCHEMA) for _ in range(2)]
    for number in range(6):
        run = HandmadeRun(logs[0], f"run-{number}")
        assert await run.commit(["text"] * 3, finished_at=NOON, status="completed") == "accepted"
    names = [f"run-{number}" for number in range(6)]
    args = {"before": NOON + DAY, "at": NOON, "why": "old", "actor": "test"}

    both = await asyncio.gather(*(log.keeping(Path()).delete(names, **args) for log in logs))
    rest = await logs[0].keeping(Path()).delete(names, **args)

    assert sum(done.runs for done in (*both, rest)) == 5
    assert sum(done.events for done in (*both, rest)) == 15
    assert [row.id for row in await logs[1].runs()] == ["run-5"]
    assert await verify(logs[0]) == []
    for log in logs:
        await log.close()
