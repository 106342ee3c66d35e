"""Model calls that are answered by what was kept: what a hit is, and whose answer counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from tests.engine.call_cache_lab import ANSWERS, COST, PRICES, TIDES, asks, ran, reused, scripted

from headgate.authoring import load_definition
from headgate.core import gate_events as g
from headgate.core.codec import content_value, encode
from headgate.core.plan import compile_plan
from headgate.core.replay import replay
from headgate.engine.spend import rebuild_spend
from headgate.engine.start import Start
from headgate.llm.scripted import ScriptedProvider
from headgate.stores.cache import MemoryCache
from headgate.stores.sqlite import SqliteLog

# --- Hits -------------------------------------------------------------------------------------------------------------


def test_an_equal_call_of_another_workflow_and_activity_is_not_made_and_says_what_it_saved(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        first = await ran(bench, asks())
        second = await ran(bench, asks("others", "explain"))

        assert len(provider.calls) == 1
        (hit,) = await reused(bench, second)
        assert (hit.model, hit.saved, hit.simulated, hit.place) == ("scripted/m", COST, False, "explain")
        once, again = await bench.app.desk.show(first), await bench.app.desk.show(second)
        assert (once.cost, once.saved) == (COST, 0)
        assert (again.cost, again.saved, again.activities[0].reused) == (0, COST, 1)
        output = once.activities[0].output
        assert (output["cache_hit"], output["cost_usd"]) == (False, COST / 1e9)
        assert again.activities[0].output == {**output, "cache_hit": True, "cost_usd": 0.0}

    play(scene, scripted=provider)


def test_of_a_hit_the_log_has_its_hash_and_what_it_saved_and_nothing_of_the_answer(play: Any):
    async def scene(bench: Any) -> None:
        await ran(bench, asks())
        run_id = await ran(bench, asks("others"))

        written = b"".join(encode(event, None) for event in await bench.events(run_id))
        assert b"Answer" not in written
        assert b"call_reused" in written

    play(scene, scripted=scripted())


def test_a_hit_makes_no_call_and_so_fits_a_budget_that_has_nothing_left(play: Any):
    provider = scripted()
    capped = asks().replace('tides."}', "").replace('what}}."', 'what}}.", max_tokens: 60')

    async def scene(bench: Any) -> None:
        await ran(bench, capped)
        second = await ran(bench, capped, limit=1)

        kinds = {type(event) for event in await bench.events(second)}
        assert not kinds & {g.CallRequested, g.CallAdmitted, g.CallSettled}
        assert len(provider.calls) == 1

    play(scene, scripted=provider)


def test_a_hit_is_a_row_of_spend_and_the_same_again_from_the_log(play: Any, tmp_path: Path):
    async def scene(bench: Any) -> None:
        await ran(bench, asks())
        run_id = await ran(bench, asks("others"))

        rows = await bench.log.spend(run_id)
        assert [(row.kind, row.model, row.cost, row.saved) for row in rows] == [("cached", "m", 0, COST)]
        await rebuild_spend(bench.log, run_id)
        assert await bench.log.spend(run_id) == rows

    play(scene, SqliteLog(tmp_path / "hg.db"), scripted=scripted())


def test_a_history_with_a_hit_explains_itself(play: Any):
    async def scene(bench: Any) -> None:
        await ran(bench, asks())
        run_id = await ran(bench, asks("others"))
        events = await bench.events(run_id)
        row = await bench.log.run(run_id)
        stored = await bench.log.contents(row.key, [event.version for event in events])
        contents = {version: content_value(data) for version, data in stored.items()}
        plan = compile_plan(load_definition(asks("others"), providers=frozenset({"scripted"})))

        assert replay(plan, events, contents) is None
        dearer = [
            msgspec.structs.replace(event, saved=1, place="nowhere") if isinstance(event, g.CallReused) else event
            for event in events
        ]
        assert replay(plan, dearer, contents) is not None

    notional = {name: msgspec.structs.replace(price, simulated=True) for name, price in PRICES.items()}
    play(scene, scripted=ScriptedProvider({"m": ANSWERS}, notional))


def test_the_text_of_a_hit_is_streamed_as_that_of_the_call_was(play: Any):
    text = "The moon draws the sea. " * 20

    async def scene(bench: Any) -> None:
        streams, streamed = bench.app.streams, dict[str, list[str]]()
        publish = streams.publish

        def noting(run_id: str, place: str, epoch: int, piece: str) -> None:
            streamed.setdefault(run_id, []).append(piece)
            publish(run_id, place, epoch, piece)

        streams.publish = noting
        paid, free = await ran(bench, asks()), await ran(bench, asks())

        assert len(await reused(bench, free)) == 1
        assert "".join(streamed[paid]) == "".join(streamed[free]) == text
        assert len(streamed[free]) > 1

    play(scene, scripted=scripted(m=[{"text": text}]))


def test_items_that_are_equal_are_asked_once_also_when_all_of_them_ask_at_the_same_time(play: Any):
    provider = scripted()
    definition = asks().replace("INPUT.what", "ITEM").replace("    cache", "    for_each: '{{INPUT.all}}'\n    cache")

    async def scene(bench: Any) -> None:
        run_id = await ran(bench, definition, {"all": ["a", "b"] * 20})

        assert len(provider.calls) == 2
        assert len(await reused(bench, run_id)) == 38
        place = (await bench.app.desk.show(run_id)).activities[0]
        assert (place.reused, place.saved, place.cost) == (38, 38 * COST, 2 * COST)

    play(scene, scripted=provider)


def test_what_follows_at_once_is_a_hit_already(play: Any):
    provider = scripted()
    definition = """
name: chain
activities:
  one: {use: llm_prompt, with: {model: scripted/m, prompt: Same.}, cache: true}
  two: {use: llm_prompt, with: {model: scripted/m, prompt: Same.}, cache: true, after: one}
"""

    async def scene(bench: Any) -> None:
        assert [hit.place for hit in await reused(bench, await ran(bench, definition))] == ["two"]

    play(scene, scripted=provider)
    assert len(provider.calls) == 1


# --- Whose answer counts ----------------------------------------------------------------------------------------------


def test_an_answer_of_a_later_model_does_not_stand_for_the_first_one(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        await ran(bench, asks(model="scripted/n"))
        run_id = await ran(bench, asks(model="[scripted/m, scripted/n]"))

        assert await reused(bench, run_id) == []
        assert [request.model for request in provider.calls] == ["n", "m"]

    play(scene, scripted=provider)


def test_an_answer_of_the_first_model_counts_whatever_comes_behind_it_in_the_list(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        await ran(bench, asks(model="scripted/m"))
        run_id = await ran(bench, asks(model="[scripted/m, scripted/n]"))

        assert [hit.model for hit in await reused(bench, run_id)] == ["scripted/m"]

    play(scene, scripted=provider)
    assert len(provider.calls) == 1


def test_where_the_first_model_has_failed_the_answer_of_the_next_counts(play: Any):
    provider = scripted(m=[{"error": {"status": 503, "message": "away"}}])

    async def scene(bench: Any) -> None:
        await ran(bench, asks(model="scripted/n"))
        run_id = await ran(bench, asks(model="[scripted/m, scripted/n]"))

        assert [hit.model for hit in await reused(bench, run_id)] == ["scripted/n"]
        assert (await bench.output(run_id, "ask"))["content"] == "Answer 0."

    play(scene, scripted=provider)


def test_an_answer_of_a_fallback_is_kept_as_its_own(play: Any):
    provider = scripted(m=[{"error": {"status": 503, "message": "away"}}, {"text": "m is back."}])

    async def scene(bench: Any) -> None:
        await ran(bench, asks(model="[scripted/m, scripted/n]"))
        again = await ran(bench, asks(model="[scripted/m, scripted/n]"))
        other = await ran(bench, asks(model="scripted/n"))

        assert (await bench.output(again, "ask"))["content"] == "m is back."
        assert [hit.model for hit in await reused(bench, other)] == ["scripted/n"]

    play(scene, scripted=provider)


def test_two_tenants_share_no_answer(play: Any):
    provider = scripted()
    definition = load_definition(asks(), providers=frozenset({"scripted"}))

    async def scene(bench: Any) -> None:
        for tenant in ("acme", "umbrella", "acme"):
            await bench.app.engine.definitions.deploy(definition, tenant=tenant)
            started = await bench.app.engine.start(Start(workflow="asks", input=TIDES, tenant=tenant))
            assert (await bench.finished(started.id)).head.status == "completed"

        assert len(provider.calls) == 2

    play(scene, scripted=provider)


def test_an_answer_is_reused_for_as_long_as_the_one_that_asks_says_and_as_the_one_that_kept_it_said(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        await ran(bench, asks(ttl="1h"))
        bench.clock.advance(seconds=599)
        await ran(bench, asks("soon", ttl="10m"))
        assert len(provider.calls) == 1
        bench.clock.advance(seconds=2)
        await ran(bench, asks("later", ttl="1d"))
        assert len(provider.calls) == 1
        await ran(bench, asks("soon", ttl="10m"))
        assert len(provider.calls) == 2
        bench.clock.advance(seconds=601)
        await ran(bench, asks("later", ttl="1d"))
        assert len(provider.calls) == 3

    play(scene, scripted=provider)


def test_an_activity_that_does_not_cache_neither_takes_nor_keeps(play: Any):
    provider = scripted()
    plain = asks().partition("    cache")[0]

    async def scene(bench: Any) -> None:
        await ran(bench, plain)
        await ran(bench, asks())
        await ran(bench, plain)
        assert len(provider.calls) == 3

    play(scene, scripted=provider)


def test_with_reuse_turned_off_a_call_is_made_anew_and_kept(play: Any):
    provider, cache = scripted(), MemoryCache()

    async def asks_twice(bench: Any) -> None:
        await ran(bench, asks())
        await ran(bench, asks())

    async def asks_once(bench: Any) -> None:
        assert (await bench.output(await ran(bench, asks()), "ask"))["content"] == "Answer 1."

    play(asks_twice, scripted=provider, cache=cache, reuse=False)
    play(asks_once, scripted=provider, cache=cache)
    assert len(provider.calls) == 2
