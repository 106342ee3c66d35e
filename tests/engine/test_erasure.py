"""Erasing runs: their contents go for good, from disk and memory, and everything else about them still holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headgate.core.errors import Invalid, Refused
from headgate.engine.audit import verify
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import Reusable
from headgate.stores.sqlite import SqliteLog

WORD = "planted-Anna-Karenina"
ECHO = """
name: echoes
inputs: {text: string, large: {type: string, default: ""}}
activities:
  say: {use: echo, with: {text: "{{ INPUT.text }}", large: "{{ INPUT.large }}"}}
  again: {use: echo, with: {text: "{{ say.text }} once more"}}
outputs: {said: "{{ again.text }}"}
"""
PARENT = f"""
name: parent
activities:
  sub: {{workflow: echoes, with: {{text: {WORD}}}}}
"""
ASKS = f"""
name: asks
activities:
  ask: {{use: approval, with: {{title: "May we write to {WORD}?"}}}}
"""
FAILS = """
name: fails
inputs: {text: string}
activities:
  say: {use: echo, with: {text: "{{ INPUT.text }}"}}
  fail: {use: fails, after: [say]}
"""


def fails(parameters: dict[str, Any], context: Any) -> Any:
    raise ValueError("no")


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


@pytest.fixture
def log(tmp_path: Path) -> SqliteLog:
    return SqliteLog(tmp_path / "log.db")


def test_an_erased_run_is_shown_without_its_contents_and_its_chain_holds(play: Any, log: SqliteLog, tmp_path: Path):
    async def scene(bench: Any) -> None:
        run = await bench.start(ECHO, {"text": WORD, "large": WORD * 5_000})
        await bench.finished(run)
        before = await bench.app.desk.show(run)
        was_there = WORD.encode() in on_disk(tmp_path)

        done = await bench.app.desk.erase([run], by="ada")
        view = await bench.app.desk.show(run)

        assert was_there
        assert before.outputs == {"said": f"{WORD} once more"}
        assert done.runs == (run,)
        assert done.contents >= 3
        assert (view.erased, view.status, view.outputs, view.input) == (True, "completed", None, None)
        assert [activity.status for activity in view.activities] == ["completed", "completed"]
        assert (await bench.app.desk.runs())[0].erased
        assert await verify(log) == []
        assert WORD.encode() not in on_disk(tmp_path)
        assert (await log.keeping(tmp_path).erasure(run)).actor == "user:ada"

    play(scene, log)


def test_the_runs_below_a_run_are_erased_with_it(play: Any, log: SqliteLog, tmp_path: Path):
    async def scene(bench: Any) -> None:
        await bench.finished(await bench.start(ECHO, {"text": "other"}))
        run = await bench.start(PARENT)
        await bench.finished(run)
        child = next(row.id for row in await log.runs() if row.parent == run)

        done = await bench.app.desk.erase([run])

        assert set(done.runs) == {run, child}
        # What stands in the definition is the workflow's, not the run's.
        log.read("update definitions set body = x''")
        await log.checkpoint()
        assert WORD.encode() not in on_disk(tmp_path)

    play(scene, log)


def test_runs_are_erased_by_a_label(play: Any, log: SqliteLog):
    async def scene(bench: Any) -> None:
        runs = [await bench.start(ECHO, {"text": WORD}, labels={"customer": customer}) for customer in ("7", "7", "77")]
        for run in runs:
            await bench.finished(run)

        done = await bench.app.desk.erase(label="customer=7")

        assert set(done.runs) == set(runs[:2])
        assert (await bench.app.desk.show(runs[2])).input["text"] == WORD
        with pytest.raises(Invalid, match="name=value"):
            await bench.app.desk.erase(label="customer")
        with pytest.raises(Invalid, match="one of the two"):
            await bench.app.desk.erase([runs[0]], label="customer=7")

    play(scene, log)


def test_nothing_is_erased_where_one_of_the_runs_has_not_ended(play: Any, log: SqliteLog):
    async def scene(bench: Any) -> None:
        ended = await bench.start(ECHO, {"text": WORD})
        await bench.finished(ended)
        open_ = await bench.start(ASKS)

        with pytest.raises(Refused, match=f"have not ended: {open_}.*Nothing was erased"):
            await bench.app.desk.erase([ended, open_])
        assert (await bench.app.desk.show(ended)).input["text"] == WORD

        await bench.app.desk.cancel(open_)
        await bench.finished(open_)
        done = await bench.app.desk.erase([ended, open_])
        assert set(done.runs) == {ended, open_}

    play(scene, log)


def test_a_second_erasure_changes_nothing(play: Any, log: SqliteLog):
    async def scene(bench: Any) -> None:
        run = await bench.start(ECHO, {"text": WORD})
        await bench.finished(run)
        await bench.app.desk.erase([run])
        before = log.read("select * from runs"), log.read("select * from events"), log.read("select * from erasures")

        again = await bench.app.desk.erase([run])

        assert (again.runs, again.before, again.contents) == ((), (run,), 0)
        after = log.read("select * from runs"), log.read("select * from events"), log.read("select * from erasures")
        assert after == before

    play(scene, log)


def test_an_erased_run_takes_nothing_that_would_bring_it_content(play: Any, log: SqliteLog):
    async def scene(bench: Any) -> None:
        run = await bench.start(FAILS, {"text": WORD})
        await bench.finished(run)
        done = await bench.app.desk.erase([run])

        with pytest.raises(Refused, match="was erased"):
            await bench.app.desk.retry(run)
        with pytest.raises(Refused, match="was erased"):
            await bench.app.desk.signal(run, "go", data=WORD)

        assert done.texts["activity_failed"] == 1
        assert await verify(log) == []

    play(scene, log, activities={"fails": fails})


def test_a_run_that_was_looked_at_is_forgotten_in_memory_too(play: Any, log: SqliteLog):
    async def scene(bench: Any) -> None:
        run = await bench.start(ECHO, {"text": WORD})
        await bench.finished(run)
        lane = await bench.app.engine.lane(run)
        await bench.app.engine.load_values(lane.row.key, {1})

        await bench.app.desk.erase([run])

        assert bench.app.engine.contents.values(lane.row.key, {1}) == {}
        assert (await bench.app.desk.show(run)).input is None
        assert [update async for update in bench.app.desk.watch(run)][-1].run.outputs is None

    play(scene, log)


PROMPT = """
name: prompts
activities:
  ask: {use: llm_prompt, with: {model: scripted/m, prompt: "Say it."}, cache: true}
"""


def test_answers_that_a_run_has_kept_go_with_it_also_those_that_are_not_in_the_file_yet(
    play: Any, log: SqliteLog, tmp_path: Path
):
    async def scene(bench: Any) -> None:
        cache, runs = bench.app.cache, [await bench.start(PROMPT) for _ in range(2)]
        for run in runs:
            await bench.finished(run)
        await cache.close()
        assert WORD.encode() in on_disk(tmp_path)
        (key, output), *_ = log.read("select key, output from cache")
        now = bench.clock.now()
        write_soon, cache._write_soon = cache._write_soon, lambda: None
        cache.keep(Reusable("default", key[::-1], "prompts", "ask", "scripted/m", now, now + 1, 0, output))
        cache._write_soon = write_soon

        await bench.app.desk.erase(runs)

        await cache.close()
        assert log.read("select count(*) from cache") == [(0,)]
        assert WORD.encode() not in on_disk(tmp_path)

    play(scene, log, scripted=ScriptedProvider({"m": [{"text": WORD}]}))
