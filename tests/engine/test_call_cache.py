"""The exact cache before the call: whose answer counts, what is kept of a call, and what a hit leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headgate.authoring import load_definition
from headgate.core import gate_events as g
from headgate.core.codec import content_value, encode
from headgate.core.plan import compile_plan
from headgate.core.replay import replay
from headgate.core.values import Candidate, Price, Usage
from headgate.engine.call_cache import SAME_CALL_SECONDS_MAX
from headgate.engine.spend import rebuild_spend
from headgate.engine.start import Start
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import CallRequest, Completed, Denied, Hit, Kept, Settlement
from headgate.stores.cache import MemoryCache
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog

ASK = """
name: NAME
activities:
  KEY:
    use: llm_prompt
    with: {model: MODEL, prompt: "Explain {{INPUT.what}}."}
    cache: {ttl: TTL}
"""
ANSWERS = [
    {"text": f"Answer {number}.", "usage": {"input_tokens": 100, "output_tokens": 50, "reasoning_tokens": 7}}
    for number in range(9)
]
PRICE = Price(input=1_000_000_000, output=2_000_000_000)
PRICES = {"m": PRICE, "n": PRICE, "e": PRICE}
COST = 100 * 1_000 + 50 * 2_000
TIDES = {"what": "tides"}


def asks(name: str = "asks", key: str = "ask", model: str = "scripted/m", ttl: str = "1h") -> str:
    return ASK.replace("NAME", name).replace("KEY", key).replace("MODEL", model).replace("TTL", ttl)


def scripted(**answers: Any) -> ScriptedProvider:
    return ScriptedProvider({"m": ANSWERS, "n": ANSWERS, **answers}, PRICES)


async def ran(bench: Any, definition: str, given: Any = None, **fields: Any) -> str:
    run_id = await bench.start(definition, given if given is not None else TIDES, **fields)
    row = await bench.finished(run_id)
    assert row.head.status == "completed", row.head.error
    return run_id


async def reused(bench: Any, run_id: str) -> list[g.CallReused]:
    return [event for event in await bench.events(run_id) if isinstance(event, g.CallReused)]


# --- Hits -------------------------------------------------------------------------------------------------


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


# --- Whose answer counts ----------------------------------------------------------------------------------


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


# --- What is kept -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [{"error": {"status": 400, "message": "no"}}, {"text": "no JSON"}, {"json": {"km": "far"}}],
    ids=["failed", "no JSON", "not fitting"],
)
def test_what_failed_or_does_not_fit_its_schema_is_not_kept(play: Any, answer: dict[str, Any]):
    cache = MemoryCache()
    strict = asks().replace('what}}."', 'what}}.", response_schema: {type: object, properties: {km: {type: integer}}}')

    async def scene(bench: Any) -> None:
        run_id = await bench.start(strict.replace("    cache", "    retry: 1\n    cache"), TIDES)
        assert (await bench.finished(run_id)).head.status == "failed"
        assert not cache._kept

    play(scene, scripted=scripted(m=[answer]), cache=cache)


def test_of_each_answer_one_copy_is_kept_and_none_of_the_attempt(play: Any):
    cache = MemoryCache()

    async def scene(bench: Any) -> None:
        await ran(bench, asks())

        (kept,) = cache._kept.values()
        assert (kept.name, kept.workflow, kept.activity, kept.saves) == ("scripted/m", "asks", "ask", COST)

    play(scene, scripted=scripted(), cache=cache)


def test_an_answer_above_the_bound_is_not_kept(play: Any):
    provider = scripted(m=[{"text": "x" * 4_200_000}, {"text": "x" * 4_200_000}])

    async def scene(bench: Any) -> None:
        await ran(bench, asks())
        await ran(bench, asks())
        assert len(provider.calls) == 2

    play(scene, scripted=provider)


def test_when_the_cache_is_full_what_was_used_longest_ago_is_asked_again(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        for what in ("a", "b", "a", "c"):
            await ran(bench, asks(), {"what": what})
        assert len(provider.calls) == 3
        await ran(bench, asks(), {"what": "a"})
        assert len(provider.calls) == 3
        await ran(bench, asks(), {"what": "b"})
        assert len(provider.calls) == 4

    play(scene, scripted=provider, cache=MemoryCache(entries_max=2))


def test_an_answer_is_kept_only_after_its_settlement_is_in_the_log_and_a_kill_between_loses_only_the_reuse(play: Any):
    order: list[str] = []

    class Killed(MemoryCache):
        def keep(self, kept: Any) -> None:
            """The process was killed here, as it were."""
            order.append("kept")

    class NotingLog(MemoryLog):
        async def commit(self, batch: Any) -> Any:
            outcomes = await super().commit(batch)
            names = [row[3] for item in batch for row in item.rows]
            order.extend(name for name in names if name == "call_settled")
            return outcomes

    provider = scripted()

    async def scene(bench: Any) -> None:
        await ran(bench, asks())
        second = await ran(bench, asks())
        assert await reused(bench, second) == []
        assert (await bench.app.desk.show(second)).cost == COST

    play(scene, NotingLog(), scripted=provider, cache=Killed())
    assert order == ["call_settled", "kept"] * 2


def test_a_secret_in_an_answer_is_masked_before_it_is_kept(play: Any):
    cache = MemoryCache()
    told = asks().replace("Explain {{INPUT.what}}.", "The word is {{SECRET.WORD}}.")

    async def scene(bench: Any) -> None:
        await ran(bench, told)
        (kept,) = cache._kept.values()
        assert b"hush-hush" not in kept.output
        assert b"[secret]" in kept.output

    provider = scripted(m=[{"text": "You said hush-hush-1."}])
    play(scene, scripted=provider, cache=cache, environment={"HEADGATE_SECRET_WORD": "hush-hush-1"})


def test_a_damaged_answer_is_a_miss(play: Any, tmp_path: Path):
    provider = scripted()

    async def scene(bench: Any) -> None:
        await ran(bench, asks())
        await bench.app.cache.close()
        assert await bench.log.change("update cache set output = substr(output, 2)") == 1
        await ran(bench, asks())

    play(scene, SqliteLog(tmp_path / "hg.db"), scripted=provider)
    assert len(provider.calls) == 2


def test_two_workflows_share_answers_across_a_restart(play: Any, tmp_path: Path):
    provider = scripted()

    async def first(bench: Any) -> None:
        await ran(bench, asks())

    async def second(bench: Any) -> None:
        run_id = await ran(bench, asks("others", "explain"))
        assert [hit.saved for hit in await reused(bench, run_id)] == [COST]

    play(first, SqliteLog(tmp_path / "hg.db"), scripted=provider)
    play(second, SqliteLog(tmp_path / "hg.db"), scripted=provider)
    assert len(provider.calls) == 1


# --- Embeddings -------------------------------------------------------------------------------------------


class Embedder(ScriptedProvider):
    """Embeds any text as its length, at a cost of a hundred tokens a call, and notes what it was sent."""

    def __init__(self) -> None:
        super().__init__({}, PRICES)
        self.sent: list[list[str]] = []

    async def embed(self, model: str, inputs: Sequence[str]) -> Any:
        self.sent.append(list(inputs))
        answer = {"embeddings": [[float(len(text))] for text in inputs], "usage": {"input_tokens": 100}}
        self._answers[model] = ScriptedProvider({model: [*self._given(model), answer]})._answers[model]
        return await super().embed(model, inputs)

    def _given(self, model: str) -> list[dict[str, Any]]:
        return [{"embeddings": [[float(len(text))] for text in texts]} for texts in self.sent[:-1]]


EMBEDS = """
name: NAME
activities: {vectors: {use: embedding, with: {model: scripted/e, input: "{{INPUT.texts}}"}, cache: true}}
"""


def test_only_texts_that_are_not_kept_are_embedded_and_what_the_others_cost_is_saved(play: Any):
    provider = Embedder()

    async def scene(bench: Any) -> None:
        first = await ran(bench, EMBEDS.replace("NAME", "one"), {"texts": ["a", "bb", "ccc"]})
        second = await ran(bench, EMBEDS.replace("NAME", "two"), {"texts": ["dddd", "ccc", "a", "eeeee"]})
        third = await ran(bench, EMBEDS.replace("NAME", "three"), {"texts": ["bb", "ccc", "a"]})

        assert provider.sent == [["a", "bb", "ccc"], ["dddd", "eeeee"]]
        outputs = [await bench.output(run, "vectors") for run in (first, second, third)]
        assert [output["embeddings"] for output in outputs] == [
            [[1.0], [2.0], [3.0]],
            [[4.0], [3.0], [1.0], [5.0]],
            [[2.0], [3.0], [1.0]],
        ]
        assert [(output["cache_hit"], output["reused_count"]) for output in outputs] == [
            (False, 0),
            (False, 2),
            (True, 3),
        ]
        assert outputs[2]["usage"] == outputs[0]["usage"]
        cost = 100 * 1_000
        assert [hit.saved for hit in await reused(bench, third)] == [cost]
        (partly,) = await reused(bench, second)
        assert 0 < partly.saved < cost
        assert (await bench.app.desk.show(second)).cost == cost

    play(scene, scripted=provider)


# --- The same call at the same time -----------------------------------------------------------------------

REQUEST = CallRequest("h", (Candidate("lab/m", 100, PRICE),), reuse=("asked",))
TWO = """
name: two
activities:
  one: {use: llm_prompt, with: {model: demo/large, prompt: x}, cache: true}
  two: {use: llm_prompt, with: {model: demo/large, prompt: x}, cache: true}
"""


def at_once(play: Any, scene: Any, cache: Any = None, limit: int | None = None) -> None:
    """Play a scene with the claims of two activities, which no worker works on."""

    async def whole(bench: Any) -> None:
        run_id = await bench.start(TWO, limit=limit)
        protocol = bench.app.protocol
        tasks = await protocol.poll(["std"], worker_id="t", count=2, wait_seconds=5)
        await scene(bench, run_id, [task.activity_id for task in tasks])

    play(whole, work=False, cache=cache)


def test_an_equal_call_waits_for_the_first_and_takes_its_answer(play: Any):
    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        second = asyncio.ensure_future(protocol.admit(claims[1], call_id="c2", request=REQUEST))
        await bench.until(lambda: bench.app.gate.calls._waiting)
        assert not second.done()

        await protocol.settle(
            claims[0], call_id="c1", settlement=Settlement.used(Usage(cost_nano=9), answers=(Kept({"a": 1}),))
        )

        assert await second == Hit("lab/m", ({"a": 1},))
        assert [hit.saved for hit in await reused(bench, run_id)] == [9]

    at_once(play, scene)


@pytest.mark.parametrize("outcome", ["never_sent", "lost"])
def test_when_the_first_call_comes_to_nothing_the_one_that_waited_is_made(play: Any, outcome: Any):
    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        second = asyncio.ensure_future(protocol.admit(claims[1], call_id="c2", request=REQUEST))
        await bench.until(lambda: bench.app.gate.calls._waiting)

        await protocol.settle(claims[0], call_id="c1", settlement=Settlement(outcome))

        assert (await second).model == "lab/m"
        assert await reused(bench, run_id) == []

    at_once(play, scene)


def test_a_call_waits_for_an_equal_one_only_so_long(play: Any):
    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        second = asyncio.ensure_future(protocol.admit(claims[1], call_id="c2", request=REQUEST))
        await bench.until(lambda: bench.app.gate.calls._waiting)

        bench.clock.advance(seconds=SAME_CALL_SECONDS_MAX)

        assert (await second).model == "lab/m"

    at_once(play, scene)


def test_whoever_waits_for_a_call_whose_attempt_ends_without_settling_it_asks_by_itself(play: Any):
    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        second = asyncio.ensure_future(protocol.admit(claims[1], call_id="c2", request=REQUEST))
        await bench.until(lambda: bench.app.gate.calls._waiting)

        await protocol.report([Completed(claims[0], "done")], worker_id="t")

        assert (await second).model == "lab/m"
        assert not bench.app.gate.calls._open.keys() - {(run_id, "c2")}

    at_once(play, scene)


def test_an_admission_that_is_asked_for_again_is_answered_as_before_or_refused_where_the_answer_is_gone(play: Any):
    cache = MemoryCache()

    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        await protocol.settle(
            claims[0], call_id="c1", settlement=Settlement.used(Usage(cost_nano=9), answers=(Kept(1),))
        )

        asked = [await protocol.admit(claims[1], call_id="c2", request=REQUEST) for _ in range(2)]
        cache._kept.clear()
        gone = await protocol.admit(claims[1], call_id="c2", request=REQUEST)
        made = await protocol.admit(claims[0], call_id="c1", request=REQUEST)

        assert asked == [Hit("lab/m", (1,))] * 2
        assert isinstance(gone, Denied)
        assert gone.error.retryable
        assert made.reservation == 100
        assert len(await reused(bench, run_id)) == 1

    at_once(play, scene, cache)


@pytest.mark.parametrize(
    "answers",
    [(), (Kept(1), Kept(2)), (Kept(1, share=0),), (Kept(float("nan")),)],
    ids=["none", "too many", "no share", "no JSON"],
)
def test_answers_that_cannot_be_kept_are_not_and_the_call_is_settled_all_the_same(play: Any, answers: Any):
    cache = MemoryCache()

    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        await protocol.settle(claims[0], call_id="c1", settlement=Settlement.used(Usage(cost_nano=9), answers=answers))

        assert any(isinstance(event, g.CallSettled) for event in await bench.events(run_id))
        assert not cache._kept

    at_once(play, scene, cache)


def test_an_answer_of_a_model_that_the_budget_fell_back_to_is_that_models(play: Any):
    first, second = Candidate("lab/m", 100, PRICE), Candidate("lab/n", 10, PRICE)

    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        both = msgspec.structs.replace(REQUEST, candidates=(first, second))
        admitted = await protocol.admit(claims[0], call_id="c1", request=both)
        assert (admitted.model, admitted.skipped) == ("lab/n", ("lab/m",))
        assert not bench.app.gate.calls._being_made  # whoever wants an answer of the first model waits for none
        await protocol.settle(
            claims[0], call_id="c1", settlement=Settlement.used(Usage(cost_nano=9), answers=(Kept(1),))
        )

        alone = msgspec.structs.replace(REQUEST, candidates=(second,))
        assert await protocol.admit(claims[1], call_id="c2", request=alone) == Hit("lab/n", (1,))
        assert isinstance(await protocol.admit(claims[1], call_id="c3", request=REQUEST), Denied)

    at_once(play, scene, limit=50)


def test_a_call_that_was_not_used_is_not_kept_whatever_comes_with_its_settlement(play: Any):
    cache = MemoryCache()

    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        await protocol.settle(claims[0], call_id="c1", settlement=Settlement("never_sent", answers=(Kept(1),)))
        assert not cache._kept

    at_once(play, scene, cache)
