"""What a reader of a run is told of its texts: while they are made, at their ends, and long after."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.engine.tapped import TEXT, Tap, Watcher, in_pieces

from headgate.core.errors import Invalid
from headgate.engine.reader import Reader
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import RESULT, Changed, Ended, Gap, Position, Restarted, Tokens
from headgate.stores.sqlite import SqliteLog
from headgate.testing.stream_conformance import Heard

ASK = "name: asks\nactivities:\n  ask: {use: llm_prompt, with: {model: tap/one, prompt: Hello}}\n"
WAITS = f"{ASK}  gate: {{use: approval, with: {{title: Ready?}}}}\n"
"""The run does not end by itself, so that what is read of `ask` after its end is read of a run that goes on."""


@pytest.fixture
def tap() -> Tap:
    return Tap()


@pytest.fixture
def play_tap(play: Any, tap: Tap) -> Any:
    return lambda scene, **settings: play(scene, providers={"tap": tap}, **settings)


# --- While it is made ----------------------------------------------------------------------------------------------


async def half_said(bench: Any, tap: Tap, definition: str) -> Watcher:
    """Start a run and watch it until half a sentence of its text is there."""
    watcher = Watcher(bench.app.desk, await bench.start(definition))
    tap.say("Half a sen")
    await bench.until(lambda: watcher.chunks())
    return watcher


def test_a_reader_gets_every_token_then_the_outcome_then_the_finished_run(play_tap: Any, tap: Tap):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(ASK)
        early = Watcher(bench.app.desk, run_id)
        tap.say(*in_pieces(TEXT))
        await bench.until(lambda: early.chunks())
        late = Watcher(bench.app.desk, run_id)
        tap.end(TEXT)
        for watcher in (early, late):
            await watcher.end()

            assert watcher.heard()[:4] == (TEXT, 0, 0, "completed")
            assert isinstance(watcher.updates[-2], Ended)
            assert isinstance(watcher.updates[-1], Changed)
            assert watcher.updates[-1].run.outputs["ask"]["content"] == TEXT

    play_tap(scene)


def test_text_that_a_model_said_before_it_failed_is_taken_back_before_the_next_one_is_asked(play_tap: Any, tap: Tap):
    async def scene(bench: Any) -> None:
        watcher = await half_said(bench, tap, ASK.replace("tap/one", "[tap/one, tap/two]"))
        tap.fail()
        await bench.until(lambda: isinstance(watcher.chunks()[-1], Restarted))
        tap.say(TEXT, model="two")
        tap.end(TEXT, model="two")
        await watcher.end()

        assert watcher.heard()[:4] == (TEXT, 1, 0, "completed")
        assert [(chunk.attempt, chunk.epoch) for chunk in watcher.chunks()] == [(1, 1), (1, 2), (1, 2), (1, 2)]

    play_tap(scene)


def test_another_attempt_takes_back_what_the_one_before_it_said_as_soon_as_it_is_scheduled(play_tap: Any, tap: Tap):
    async def scene(bench: Any) -> None:
        watcher = await half_said(bench, tap, ASK.replace("prompt: Hello}", "prompt: Hello}, retry: {max_attempts: 2}"))
        tap.fail()
        await bench.until(lambda: isinstance(watcher.chunks()[-1], Restarted))
        bench.clock.advance(seconds=3_600)
        tap.say(TEXT)
        tap.end(TEXT)
        await watcher.end()

        assert watcher.heard()[:4] == (TEXT, 1, 0, "completed")
        assert [(chunk.attempt, chunk.epoch) for chunk in watcher.chunks()] == [(1, 1), (2, 2), (2, 2), (2, 2)]

    play_tap(scene)


def test_a_text_that_fails_for_good_ends_so_and_what_was_said_of_it_stays(play_tap: Any, tap: Tap):
    async def scene(bench: Any) -> None:
        watcher = await half_said(bench, tap, ASK)
        tap.fail(retryable=False, code="refused_by_provider")
        await watcher.end()

        assert watcher.heard()[:4] == ("Half a sen", 0, 0, "failed")

    play_tap(scene)


def test_a_user_activity_streams_and_begins_again_from_its_own_thread(play: Any):
    def writes(parameters: Any, context: Any) -> str:
        context.stream("wrong")
        context.restart_stream()
        context.stream("right")
        return "right"

    async def scene(bench: Any) -> None:
        run_id = await bench.start("name: w\nactivities: {hold: {use: approval}, ask: {use: writes, after: hold}}")
        watcher = Watcher(bench.app.desk, run_id)
        await bench.until(lambda: watcher.updates)
        await bench.app.desk.decide(run_id, approved=True)
        await watcher.end()

        heard = watcher.heard()
        assert (heard.text, heard.status) == ("right", "completed")
        assert watcher.chunks()[-1].epoch == 2

    play(scene, activities={"writes": writes})


def test_what_waits_for_the_rest_of_a_secret_is_passed_on_at_the_end(play_tap: Any, tap: Tap):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(ASK.replace("Hello", "'{{ SECRET.word }}'"))
        watcher = Watcher(bench.app.desk, run_id)
        tap.say("You said open sesame n", "ow, and I say open sesame")
        tap.end("You said open sesame now, and I say open sesame")
        await watcher.end()

        assert watcher.heard()[:4] == ("You said [secret], and I say open sesame", 0, 0, "completed")
        assert (await bench.output(run_id, "ask"))["content"] == watcher.heard().text

    play_tap(scene, environment={"HEADGATE_SECRET_WORD": "open sesame now"})


def test_what_waits_for_the_rest_of_a_secret_goes_with_the_text_that_begins_again(play_tap: Any, tap: Tap):
    async def scene(bench: Any) -> None:
        asking = ASK.replace("Hello", "'{{ SECRET.word }}'").replace("tap/one", "[tap/one, tap/two]")
        run_id = await bench.start(asking)
        watcher = Watcher(bench.app.desk, run_id)
        tap.say("You said something that is long enough to be told, and then: open ses")
        await bench.until(lambda: watcher.chunks())
        tap.fail()
        await bench.until(lambda: isinstance(watcher.chunks()[-1], Restarted))
        tap.say("Another answer.", model="two")
        tap.end("Another answer.", model="two")
        await watcher.end()

        assert watcher.heard()[:4] == ("Another answer.", 1, 0, "completed")

    play_tap(scene, environment={"HEADGATE_SECRET_WORD": "open sesame now"})


def test_activities_that_do_not_stream_are_not_told_of(play: Any):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(
            "name: w\nactivities: {hold: {use: approval}, a: {use: echo, after: hold}, b: {use: plain, after: hold}}"
        )
        watcher = Watcher(bench.app.desk, run_id)
        await bench.until(lambda: watcher.updates)
        await bench.app.desk.decide(run_id, approved=True)
        await watcher.end()

        assert [update for update in watcher.updates if not isinstance(update, Changed)] == []

    play(scene, activities={"plain": lambda parameters, context: "a text that was not streamed"})


def test_a_place_that_ended_without_having_streamed_is_served_from_its_result(play: Any):
    def silent(parameters: Any, context: Any) -> str:
        return TEXT * 50

    async def scene(bench: Any) -> None:
        run_id = await bench.start(
            "name: w\nactivities:\n  hold: {use: approval}\n"
            "  ask: {use: silent, after: hold, streaming: true, for_each: [1, 2]}\n"
        )
        watcher = Watcher(bench.app.desk, run_id)
        await bench.until(lambda: watcher.updates)
        await bench.app.desk.decide(run_id, approved=True)
        await watcher.end()

        for place in ("ask[0]", "ask[1]"):
            assert watcher.heard(place)[:4] == (TEXT * 50, 0, 0, "completed")

    play(scene, activities={"silent": silent})


# --- After its end -------------------------------------------------------------------------------------------------


def test_a_reader_that_was_cut_off_goes_on_where_it_was_also_after_the_outcome(play_tap: Any, tap: Tap):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        watcher = Watcher(bench.app.desk, run_id)
        tap.say(TEXT[:100])
        await bench.until(lambda: watcher.chunks())
        await watcher.close()
        heard = watcher.heard()
        tap.say(TEXT[100:])
        tap.end(TEXT)
        await bench.until(lambda: bench.app.streams.final(run_id, "ask"))
        again = Watcher(bench.app.desk, run_id, resume=[heard.position])
        late = Watcher(bench.app.desk, run_id)
        await bench.app.desk.decide(run_id, approved=True)
        await again.end()
        await late.end()

        assert heard.text == TEXT[:100]
        assert again.heard(before=heard)[:4] == (TEXT, 0, 0, "completed")
        assert late.heard()[:4] == (TEXT, 0, 0, "completed")

    play_tap(scene)


def test_a_result_that_is_another_text_than_was_streamed_is_not_glued_to_it(play_tap: Any, tap: Tap):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        watcher = Watcher(bench.app.desk, run_id)
        tap.say(TEXT[:100])
        await bench.until(lambda: watcher.chunks())
        await watcher.close()
        heard = watcher.heard()
        tap.end(f"Something else. {TEXT}")
        await bench.until(lambda: bench.app.streams.final(run_id, "ask"))
        again = Watcher(bench.app.desk, run_id, resume=[heard.position])
        await bench.until(lambda: any(isinstance(chunk, Ended) for chunk in again.chunks()))

        assert again.heard(before=heard)[:4] == (f"Something else. {TEXT}", 1, 0, "completed")
        await again.close()

    play_tap(scene)


def test_a_reader_of_the_result_goes_on_in_it_also_where_it_is_known_how_it_was_streamed(play_tap: Any, tap: Tap):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(ASK)
        tap.say(TEXT)
        tap.end(TEXT)
        await bench.finished(run_id)
        again = Watcher(bench.app.desk, run_id, resume=[Position("ask", 1, 100, RESULT)])
        await again.end()

        data = TEXT.encode()
        assert again.chunks() == [
            Tokens("ask", 1, 100, data[100:].decode(), 1, RESULT),
            Ended("ask", 1, len(data), "completed", 1, RESULT),
        ]

    play_tap(scene)


def test_what_a_failed_text_said_meanwhile_is_told_as_a_gap(play_tap: Any, tap: Tap):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS.replace("prompt: Hello}", "prompt: Hello}, on_failure: continue"))
        watcher = Watcher(bench.app.desk, run_id)
        tap.say("Half")
        await bench.until(lambda: watcher.chunks())
        await watcher.close()
        heard = watcher.heard()
        tap.say(" a sen")
        tap.fail(retryable=False, code="refused_by_provider")
        await bench.until(lambda: bench.app.streams.final(run_id, "ask"))
        again = Watcher(bench.app.desk, run_id, resume=[heard.position])
        await bench.until(lambda: any(isinstance(chunk, Ended) for chunk in again.chunks()))

        origin = bench.app.streams.origin
        assert again.chunks() == [
            Gap("ask", 1, 4, 10, 1, origin),
            Ended("ask", 1, 10, "failed", 1, origin),
        ]
        await again.close()

    play_tap(scene)


def test_the_text_of_a_reused_answer_is_streamed_to_its_end_and_read_later(play: Any):
    definition = (
        "name: w\nactivities:\n  one: {use: llm_prompt, cache: true, with: {model: scripted/m, prompt: Hello}}\n"
        "  ask: {use: llm_prompt, cache: true, after: one, with: {model: scripted/m, prompt: Hello}}\n"
    )

    async def scene(bench: Any) -> None:
        run_id = await bench.start(definition)
        watcher = Watcher(bench.app.desk, run_id)
        await watcher.end()
        late = Watcher(bench.app.desk, run_id)
        await late.end()

        for place in ("one", "ask"):
            assert watcher.heard(place)[:4] == (TEXT, 0, 0, "completed")
            assert late.heard(place)[:4] == (TEXT, 0, 0, "completed")

    play(scene, scripted=ScriptedProvider({"m": [{"text": TEXT}]}))


def test_a_finished_run_is_served_from_its_results_by_any_process_and_resumed(play_tap: Any, tap: Tap, tmp_path: Path):
    database = tmp_path / "log.db"
    told: dict[str, Any] = {}
    long = TEXT * 100

    async def first(bench: Any) -> None:
        run_id = told["run"] = await bench.start(
            ASK.replace("with:", "for_each: [1, 2], with:").replace("[1, 2]", "'{{ [1, 2] }}'")
        )
        for _ in range(2):
            tap.say(long)
            tap.end(long)
        watcher = Watcher(bench.app.desk, run_id)
        await bench.until(lambda: watcher.chunks("ask[0]"))
        told["position"] = watcher.chunks("ask[0]")[0].after
        await watcher.end()

    async def second(bench: Any) -> None:
        await read(bench.app.desk)

    async def read(client: Any) -> None:
        whole = Watcher(client, told["run"])
        await whole.end()
        one = Watcher(client, told["run"], "ask[1]", [whole.chunks("ask[1]")[0].after])
        await one.end()
        another = Watcher(client, told["run"], resume=[told["position"]])
        await another.end()

        assert {chunk.origin for chunk in whole.chunks("ask[0]")} == {RESULT}
        for place in ("ask[0]", "ask[1]"):
            assert whole.heard(place)[:4] == (long, 0, 0, "completed")
        first_part = Heard.of(whole.chunks("ask[1]")[:1])
        assert one.heard("ask[1]", first_part)[:4] == (long, 0, 0, "completed")
        assert one.chunks("ask[0]") == []
        assert isinstance(another.chunks("ask[0]")[0], Restarted)
        assert another.heard("ask[0]")[:2] == (long, 1)
        assert isinstance(whole.updates[-1], Changed)

    play_tap(first, log=SqliteLog(database))
    play_tap(second, log=SqliteLog(database))

    async def from_the_file() -> None:
        log = SqliteLog(database, read_only=True)
        await read(Reader(log, lambda: 0))
        await log.close()

    asyncio.run(from_the_file())


def test_a_position_that_cannot_be_is_told_to_whoever_watches(play_tap: Any, tap: Tap):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(ASK)
        tap.say("🦉")
        await bench.until(lambda: bench.app.streams._ring(run_id, "ask"))
        origin = bench.app.streams.origin
        for offset in (2, 900):
            with pytest.raises(Invalid, match=r"inside a character|no offset 900"):
                await Watcher(bench.app.desk, run_id, resume=[Position("ask", 1, offset, origin)]).end()
        tap.end("🦉")
        await bench.finished(run_id)

    play_tap(scene)


def test_nothing_of_a_finished_run_is_kept_for_readers_that_have_gone(play_tap: Any, tap: Tap, tmp_path: Path):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(ASK)
        watcher = Watcher(bench.app.desk, run_id)
        tap.say(TEXT * 1_000)
        await bench.until(lambda: watcher.chunks())
        spilled = bench.app.streams._spill._table
        await bench.until(lambda: spilled.read("select 1 from sqlite_schema where name = 'streams'"))
        await bench.until(lambda: spilled.read("select 1 from streams"))
        tap.end(TEXT * 1_000)
        await watcher.end()
        streams = bench.app.streams
        await bench.until(lambda: not spilled.read("select 1 from streams"))

        assert watcher.heard()[:4] == (TEXT * 1_000, 0, 0, "completed")
        assert (streams._runs, streams._bytes, streams._readers) == ({}, 0, {})

    play_tap(scene, log=SqliteLog(tmp_path / "log.db"))


def test_tokens_name_the_position_after_them():
    assert Tokens("a", 2, 5, "🦉!", 1, "o").after == Position("a", 2, 10, "o")
