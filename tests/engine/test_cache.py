"""Results that are reused: which are equal, and which are not."""

from __future__ import annotations

from typing import Any

from tests.engine.cache_lab import ANSWERS, ASK, PRICES, completed, ran, scripted

from headgate.core import gate_events as g
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import Changed, Tokens
from headgate.stores.cache import MemoryCache

COST = 100 * 1_000 + 50 * 2_000


# --- Hits -------------------------------------------------------------------------------------------------------------


def test_an_equal_request_is_answered_from_the_cache_free_of_charge_and_says_what_it_saved(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        first = await ran(bench, ASK, {"what": "tides"})
        second = await ran(bench, ASK, {"what": "tides"})

        assert len(provider.calls) == 1
        (paid,), (free,) = completed(await bench.events(first)), completed(await bench.events(second))
        assert (paid.cached, paid.saved) == (False, 0)
        assert (free.cached, free.saved, free.cost, free.input_hash) == (True, COST, 0, paid.input_hash)
        once, again = await bench.app.desk.show(first), await bench.app.desk.show(second)
        assert (once.cost, once.saved) == (COST, 0)
        assert (again.cost, again.saved, again.activities[0].reused) == (0, COST, 1)
        output = once.activities[0].output
        assert (output["cache_hit"], output["cost_usd"]) == (False, COST / 1e9)
        assert again.activities[0].output == {**output, "cache_hit": True, "cost_usd": 0.0}

    play(scene, scripted=provider)


def test_a_hit_makes_no_call_and_so_fits_a_budget_that_has_nothing_left(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        await ran(bench, ASK, {"what": "tides"})

        second = await ran(bench, ASK, {"what": "tides"}, limit=1)

        kinds = {type(event) for event in await bench.events(second)}
        assert g.CallRequested not in kinds
        assert len(provider.calls) == 1

    play(scene, scripted=provider)


def test_any_activity_can_be_cached_and_its_output_is_the_same(play: Any):
    worked: list[Any] = []

    async def count(parameters: dict[str, Any], _: Any) -> Any:
        worked.append(parameters)
        return {"of": parameters["n"], "number": len(worked)}

    async def scene(bench: Any) -> None:
        definition = "name: c\nactivities: {a: {use: count, with: {n: '{{INPUT.n}}'}, cache: true}}"
        first = await ran(bench, definition, {"n": 1})
        second = await ran(bench, definition, {"n": 1})
        third = await ran(bench, definition, {"n": 2})

        assert [await bench.output(run, "a") for run in (first, second, third)] == [
            {"of": 1, "number": 1},
            {"of": 1, "number": 1},
            {"of": 2, "number": 2},
        ]
        assert worked == [{"n": 1}, {"n": 2}]

    play(scene, activities={"count": count})


def test_items_are_cached_one_by_one(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        definition = ASK.replace("INPUT.what", "ITEM").replace("    cache", "    for_each: '{{INPUT.all}}'\n    cache")
        await ran(bench, definition, {"all": ["a", "b"]})
        second = await ran(bench, definition, {"all": ["b", "c", "a"]})

        assert len(provider.calls) == 3
        assert {event.place: event.cached for event in completed(await bench.events(second))} == {
            "ask[0]": True,
            "ask[1]": False,
            "ask[2]": True,
        }
        place = (await bench.app.desk.show(second)).activities[0]
        assert (place.reused, place.saved) == (2, 2 * COST)

    play(scene, scripted=provider)


def test_the_text_of_a_reused_answer_reaches_whoever_watches_the_stream(play: Any):
    async def scene(bench: Any) -> None:
        await ran(bench, ASK, {"what": "tides"})
        waits = ASK.replace("    cache", "    wait_for: go\n    cache")
        run_id = await bench.start(waits, {"what": "tides"})

        heard: list[str] = []
        async for update in bench.app.desk.watch(run_id, tokens=True):
            if isinstance(update, Tokens):
                heard.append(update.text)
            elif isinstance(update, Changed) and update.run.status == "waiting":
                await bench.app.desk.signal(run_id, "go")

        assert heard == ["Answer 0."]

    play(scene, scripted=scripted())


def test_what_follows_at_once_is_a_hit_already(play: Any):
    worked: list[Any] = []
    definition = """
name: chain
activities:
  one: {use: work, with: {n: 1}, cache: true}
  two: {use: work, with: {n: 1}, cache: true, after: one}
"""

    async def work(parameters: dict[str, Any], _: Any) -> Any:
        worked.append(parameters)

    async def scene(bench: Any) -> None:
        run_id = await ran(bench, definition)

        assert [event.cached for event in completed(await bench.events(run_id))] == [False, True]

    play(scene, activities={"work": work})
    assert len(worked) == 1


# --- Misses -----------------------------------------------------------------------------------------------------------


def test_a_changed_prompt_is_asked_anew(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        await ran(bench, ASK, {"what": "tides"})
        await ran(bench, ASK, {"what": "waves"})

        assert len(provider.calls) == 2

    play(scene, scripted=provider)


def test_an_expired_result_is_made_anew(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        await ran(bench, ASK, {"what": "tides"})
        bench.clock.advance(seconds=3_599)
        await ran(bench, ASK, {"what": "tides"})
        assert len(provider.calls) == 1
        bench.clock.advance(seconds=2)
        await ran(bench, ASK, {"what": "tides"})
        assert len(provider.calls) == 2

    play(scene, scripted=provider)


def test_without_the_setting_nothing_is_kept_or_reused(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        plain = ASK.partition("    cache:")[0]
        await ran(bench, ASK, {"what": "tides"})
        run_id = await ran(bench, plain, {"what": "tides"})

        assert len(provider.calls) == 2
        assert completed(await bench.events(run_id))[0].cached is False

    play(scene, scripted=provider)


def test_a_failed_attempt_is_never_kept(play: Any):
    fails = [{"error": {"status": 400, "message": "no"}}, ANSWERS[0]]
    provider = ScriptedProvider({"m": fails}, PRICES)

    async def scene(bench: Any) -> None:
        run_id = await bench.start(ASK, {"what": "tides"})
        assert (await bench.finished(run_id)).head.status == "failed"

        second = await ran(bench, ASK, {"what": "tides"})

        assert len(provider.calls) == 2
        assert completed(await bench.events(second))[0].cached is False

    play(scene, scripted=provider)


def test_of_two_equal_attempts_at_once_both_may_be_made(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        runs = [await bench.start(ASK, {"what": "tides"}) for _ in range(2)]
        for run_id in runs:
            await bench.finished(run_id)
        third = await ran(bench, ASK, {"what": "tides"})

        assert 1 <= len(provider.calls) <= 2
        assert completed(await bench.events(third))[0].cached is True

    play(scene, scripted=provider)


def test_with_reuse_turned_off_results_are_made_anew_and_kept(play: Any):
    provider, cache = scripted(), MemoryCache()

    async def asks_twice(bench: Any) -> None:
        await ran(bench, ASK, {"what": "tides"})
        await ran(bench, ASK, {"what": "tides"})

    async def asks_once(bench: Any) -> None:
        run_id = await ran(bench, ASK, {"what": "tides"})
        assert (await bench.output(run_id, "ask"))["content"] == "Answer 1."

    play(asks_twice, scripted=provider, cache=cache, reuse=False)
    play(asks_once, scripted=provider, cache=cache)
    assert len(provider.calls) == 2


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_a_key_of_ones_own_decides_what_is_equal(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        definition = ASK.replace('["{{parameters}}"]', "['{{INPUT.what | lower}}', '{{parameters.model}}']")
        await ran(bench, definition, {"what": "Tides"})
        await ran(bench, definition, {"what": "TIDES"})
        assert len(provider.calls) == 1
        await ran(bench, definition.replace("scripted/m", "[scripted/m]"), {"what": "tides"})
        assert len(provider.calls) == 2

    play(scene, scripted=provider)


def test_a_key_of_ones_own_is_shared_with_no_other_activity(play: Any):
    definition = """
name: two
activities:
  one: {use: echo, with: {v: 1}, cache: {key: [same]}}
  two: {use: echo, with: {v: 2}, cache: {key: [same]}, after: one}
"""

    async def scene(bench: Any) -> None:
        await ran(bench, definition)
        second = await ran(bench, definition)

        assert [event.cached for event in completed(await bench.events(second))] == [True, True]
        assert [await bench.output(second, key) for key in ("one", "two")] == [{"v": 1}, {"v": 2}]

    play(scene)


def test_a_key_that_cannot_be_rendered_fails_the_attempt_and_says_so(play: Any):
    definition = "name: k\nactivities: {a: {use: echo, cache: {key: ['{{INPUT.zero + INPUT.word}}']}}}"

    async def scene(bench: Any) -> None:
        run_id = await bench.start(definition, {"zero": 0, "word": "a"})
        row = await bench.finished(run_id)

        assert row.head.status == "failed"
        assert "cache.key" in row.head.error

    play(scene)


def test_a_changed_secret_keeps_the_results_and_no_secret_is_kept(play: Any):
    cache = MemoryCache()
    definition = "name: s\nactivities: {a: {use: say, with: {t: '{{SECRET.TOKEN}}'}, cache: true}}"
    worked: list[str] = []

    async def say(parameters: dict[str, Any], _: Any) -> Any:
        worked.append(parameters["t"])
        return f"I was told {parameters['t']}"

    async def scene(bench: Any) -> None:
        assert await bench.output(await ran(bench, definition), "a") == "I was told [secret]"

    for token in ("hush-hush-1", "hush-hush-2"):
        settings_ = {"activities": {"say": say}, "environment": {"HEADGATE_SECRET_TOKEN": token}}
        play(scene, cache=cache, **settings_)

    assert worked == ["hush-hush-1"]
    assert all(b"hush" not in kept.output for kept in cache._kept.values())


def test_a_script_without_inputs_of_its_own_is_told_apart_by_the_runs_input(play: Any):
    definition = """
name: s
activities: {a: {use: script, with: {script: 'OUTPUT = INPUT["n"] * 2'}, cache: true}}
"""

    async def scene(bench: Any) -> None:
        outputs = [await bench.output(await ran(bench, definition, {"n": n}), "a") for n in (1, 2, 1)]

        assert outputs[0] != outputs[1]
        assert outputs[0] == outputs[2]

    play(scene)
