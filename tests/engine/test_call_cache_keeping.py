"""Which answers of models are kept, how many, and what of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.engine.call_cache_lab import COST, PRICES, TIDES, asks, ran, reused, scripted

from headgate.llm.scripted import ScriptedProvider
from headgate.stores.cache import MemoryCache
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog

# --- What is kept -----------------------------------------------------------------------------------------------------


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


# --- Embeddings -------------------------------------------------------------------------------------------------------


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
