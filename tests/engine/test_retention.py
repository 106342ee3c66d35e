"""Retention by itself and on request: what has ended long ago goes, and nothing that anybody needs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from headgate.core.errors import Invalid, NotFound
from headgate.engine.audit import gaps, verify
from headgate.engine.retention import Retention, retention_of
from headgate.ports import Collected
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog

DAY = 86_400.0
ECHO = "{name: echoes, inputs: {text: string}, activities: {say: {use: echo, with: {text: '{{ INPUT.text }}'}}}}"
WAITS = """
name: waits
activities:
  ask: {use: approval, with: {title: "Go on?"}}
"""
PARENT = """
name: parent
activities:
  sub: {workflow: echoes, with: {text: hi}}
"""


@pytest.mark.parametrize(
    ("text", "kept"), [("", 30 * 86_400 * 1_000_000), ("forever", None), ("7d", 7 * 86_400 * 1_000_000), ("0s", 0)]
)
def test_the_setting_is_a_duration_or_forever(text: str, kept: int | None):
    assert retention_of({"HEADGATE_RETENTION": text}) == kept


def test_another_word_is_refused_with_the_name_of_the_setting():
    with pytest.raises(Invalid, match=r"HEADGATE_RETENTION.*'soon'"):
        retention_of({"HEADGATE_RETENTION": "soon"})


def test_it_deletes_by_itself_what_ended_longer_ago_than_thirty_days(play: Any, tmp_path: Path):
    log = SqliteLog(tmp_path / "log.db")

    async def scene(bench: Any) -> None:
        old = await bench.start(ECHO, {"text": "old"})
        open_ = await bench.start(WAITS)
        await bench.finished(old)
        bench.clock.advance(seconds=20 * DAY)
        young = await bench.start(ECHO, {"text": "young"})
        await bench.finished(young)
        assert bench.app.retention is not None
        early = await bench.app.retention.collect()

        def an_hour_later() -> list[Any]:
            bench.clock.advance(seconds=3_600)
            return log.read("select 1 from deletions where remaining = 0")

        bench.clock.advance(seconds=11 * DAY)
        await bench.until(an_hour_later)

        assert early == Collected()
        assert [row.id for row in await log.runs()] == [young, open_]
        with pytest.raises(NotFound, match=r"was deleted at .* by retention: ended more than 30 d before"):
            await bench.app.desk.show(old)
        assert await verify(log) == []
        assert await gaps(log.keeping(tmp_path)) == []

    play(scene, log)


def test_it_is_off_where_runs_are_kept_forever(play: Any, tmp_path: Path):
    log = SqliteLog(tmp_path / "log.db")

    async def scene(bench: Any) -> None:
        for text in ("one", "two"):
            await bench.finished(await bench.start(ECHO, {"text": text}))
        bench.clock.advance(seconds=1_000 * DAY)
        assert bench.app.retention is not None

        done = await bench.app.retention.collect()

        assert done == Collected()
        assert len(await log.runs()) == 2

    play(scene, log, environment={"HEADGATE_RETENTION": "forever"})


def test_children_go_with_their_parent_and_stay_while_it_lives(play: Any, tmp_path: Path):
    log = SqliteLog(tmp_path / "log.db")

    async def scene(bench: Any) -> None:
        await bench.start(ECHO, {"text": "deploys it"})
        parent = await bench.start(PARENT)
        await bench.finished(parent)
        await bench.finished(await bench.start(ECHO, {"text": "newest"}))
        bench.clock.advance(seconds=2 * DAY)
        dry = await bench.app.desk.collect(older="1d", dry_run=True)
        done = await bench.app.desk.collect(older="1d", by="ada")

        assert dry.runs == 4
        assert done.runs == 3
        assert [row.parent for row in await log.runs()] == [""]
        assert {deletion.actor for deletion in await log.keeping(tmp_path).deletions(9)} == {"user:ada"}
        assert await bench.app.desk.collect(older="1d") == Collected()

    play(scene, log)


def test_runs_go_on_while_others_are_deleted(play: Any, tmp_path: Path):
    log = SqliteLog(tmp_path / "log.db")

    async def scene(bench: Any) -> None:
        old = [await bench.start(ECHO, {"text": str(number)}) for number in range(120)]
        for run in old:
            await bench.finished(run)
        bench.clock.advance(seconds=40 * DAY)
        waiting = await bench.start(WAITS)

        collecting = asyncio.create_task(bench.app.desk.collect(older="1d"))
        during = [await bench.start(ECHO, {"text": "during"}) for _ in range(20)]
        for run in during:
            await bench.finished(run)
        await bench.app.desk.decide(waiting, approved=True)
        done = await collecting

        assert done.runs == len(old)
        assert {row.id for row in await log.runs()} == {*during, waiting}
        assert await verify(log) == []
        assert await gaps(log.keeping(tmp_path)) == []

    play(scene, log, environment={"HEADGATE_RETENTION": "forever"})


def test_a_process_that_ends_while_it_deletes_leaves_a_log_that_holds(tmp_path: Path, play: Any):
    log = SqliteLog(tmp_path / "log.db")

    async def scene(bench: Any) -> None:
        for number in range(60):
            await bench.finished(await bench.start(ECHO, {"text": str(number)}))
        bench.clock.advance(seconds=20 * DAY)
        collecting = asyncio.create_task(bench.app.desk.collect(older="1d"))
        await bench.until(lambda: log.read("select 1 from deletions"))
        collecting.cancel()

    play(scene, log)

    async def audit() -> tuple[list[Any], list[Any]]:
        again = SqliteLog(tmp_path / "log.db", read_only=True)
        try:
            return await verify(again), await gaps(again.keeping(tmp_path))
        finally:
            await again.close()

    assert asyncio.run(audit()) == ([], [])


def test_old_spend_and_expired_results_go_too(play: Any, tmp_path: Path):
    log = SqliteLog(tmp_path / "log.db")

    async def scene(bench: Any) -> None:
        now = bench.clock.now()
        columns = {row[1]: row[2] for row in log.read("select * from pragma_table_info('spend')")}
        names = [name for name in columns if name != "pos"]
        for at in (now - int(401 * DAY * 1e6), now - int(399 * DAY * 1e6)):
            values = [
                at if name in ("at", "version") else 0 if columns[name].lower() == "integer" else "x" for name in names
            ]
            marks = ", ".join("?" * len(names))
            await log.change(f"insert into spend ({', '.join(names)}) values ({marks})", *values)
        retention = Retention(bench.app.engine, log.keeping(tmp_path), None, pause_seconds=0)

        done = await retention.collect()

        assert done.spend == 1
        assert log.read("select count(*) from spend") == [(1,)]

    play(scene, log)


def test_a_log_in_memory_has_nothing_to_keep(play: Any):
    async def scene(bench: Any) -> None:
        assert bench.app.retention is None
        with pytest.raises(Exception, match="in memory"):
            await bench.app.desk.collect(older="1d")

    play(scene, MemoryLog())
