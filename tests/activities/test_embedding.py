"""Texts to embed: their batches, what is reused, and what fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tests.activities.lab import CACHED, Ledger, Models, fails, says, task

from headgate.activities.embedding import embedding
from headgate.ports import Attempt, EmbeddingAnswer, Hit


def embed(models: Models, ledger: Ledger, **parameters: Any) -> Any:
    asked = {"model": "lab/e", "input": ["a", "bb", "ccc"], **parameters}
    running = embedding({"lab": models})(asked, ledger)
    return asyncio.run(running)


def test_embeddings_come_in_batches_each_admitted_and_settled():
    ledger = Ledger()

    result = embed(Models({"e": says("")}), ledger, batch_size=2)

    assert result == {
        "embeddings": [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]],
        "embedding_count": 3,
        "model": "e",
        "provider": "lab",
        "usage": {
            "prompt_tokens": 30,
            "output_tokens": 0,
            "total_tokens": 30,
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "reasoning_tokens": 0,
        },
        "cost_usd": 30_000 / 10**9,
    }
    assert [asked[0].worst_case for _, asked in ledger.asked] == [3000, 3000]
    assert [usage.input_tokens for _, usage in ledger.settled] == [20, 10]


def test_of_texts_to_embed_only_those_that_are_not_there_are_sent_and_the_order_is_theirs():
    class Noting(Models):
        sent: tuple[Sequence[str], ...] = ()

        async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
            self.sent = (*self.sent, tuple(inputs))
            return await super().embed(model, inputs)

    first, models = Ledger(task(**CACHED)), Noting({"e": says("")})
    whole = embed(models, first)
    kept = [one.answer for one in first.settlements[0].answers]
    again = Ledger(task(**CACHED), admissions=[Hit("lab/e", (kept[0], None, kept[2]))])

    result = embed(models, again)

    assert models.sent == (("a", "bb", "ccc"), ("bb",))
    assert result["embeddings"] == whole["embeddings"]
    assert (result["cache_hit"], result["reused_count"], whole["reused_count"]) == (False, 2, 0)
    assert result["cost_usd"] == 10_000 / 10**9
    assert [len(reuse) for reuse in again.reuse] == [3, 1]
    assert again.reuse[0][1:2] == again.reuse[1]
    assert sum(one["input_tokens"] for one in kept) == 30
    assert [one.share for one in first.settlements[0].answers] == [1, 2, 3]


def test_texts_that_are_all_there_are_embedded_for_nothing():
    first = Ledger(task(**CACHED))
    whole = embed(Models({"e": says("")}), first)
    kept = tuple(one.answer for one in first.settlements[0].answers)
    again = Ledger(task(**CACHED), admissions=[Hit("lab/e", kept)])

    result = embed(Models({"e": fails(500, "provider_unavailable")}), again)

    assert result == {**whole, "cost_usd": 0.0, "cache_hit": True, "reused_count": 3}
    assert again.settled == []


def test_no_input_is_no_call():
    ledger = Ledger()

    assert embed(Models({"e": says("")}), ledger, input=[])["embeddings"] == []
    assert ledger.asked == []


def test_an_embedding_that_fails_is_settled():
    ledger = Ledger()

    with pytest.raises(Attempt) as caught:
        embed(Models({"e": fails(500, "provider_unavailable", retryable=True)}), ledger)

    assert (caught.value.failure.code, caught.value.failure.retryable) == ("provider_unavailable", True)
    assert ledger.settled == [("call-1", "never_sent")]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"input": 3}, "input"),
        ({"input": ["a", None]}, "input"),
        ({"batch_size": 0}, "batch_size"),
        ({"x": 1}, "x"),
    ],
)
def test_wrong_embedding_parameters_are_named(wrong: dict[str, Any], named: str):
    with pytest.raises(Attempt, match=named) as caught:
        embed(Models({"e": says("")}), Ledger(), **wrong)

    assert caught.value.failure.code == "invalid_parameters"
