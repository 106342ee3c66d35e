"""The activity vector_index: what is embedded, paid for and kept."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

import pytest
from tests.activities.vectors.vector_lab import LETTERS, Lab, failure

from headgate.activities.vector_index import BATCH_SIZE, vector_index
from headgate.activities.vector_store import Collection, Item
from headgate.ports import Attempt


def test_what_is_indexed_is_told_and_paid_for(lab: Lab):
    result = lab.index(LETTERS)

    assert [result[name] for name in ("collection", "model", "indexed")] == ["lab", "demo/axes", 3]
    assert [result[name] for name in ("unchanged", "embedded", "count")] == [0, 3, 3]
    assert result["cost_usd"] == 3e-6
    assert result["usage"]["prompt_tokens"] == 3
    assert [settlement.usage.input_tokens for settlement in lab.context.settled] == [3]


def test_a_second_execution_asks_nobody_and_changes_nothing(lab: Lab):
    lab.index(LETTERS)
    before = lab.bytes()

    again = lab.index(LETTERS)

    assert (again["indexed"], again["unchanged"], again["embedded"], again["count"]) == (0, 3, 0, 3)
    assert again["cost_usd"] == 0
    assert len(lab.models.asked) == 1
    assert lab.bytes() == before


def test_a_text_is_embedded_once_whatever_its_id_and_however_often_it_comes(lab: Lab):
    lab.index([{"id": "1", "text": "ab"}, {"id": "2", "text": "ab"}, {"id": "3", "text": "b"}])
    lab.index([{"id": "4", "text": "b"}, {"id": "5", "text": "c"}])

    assert lab.models.embedded == ["ab", "b", "c"]
    assert lab.ids("ab", mode="vector", top=2) == ["1", "2"]


def test_a_changed_text_takes_the_place_of_the_one_with_its_id(lab: Lab):
    lab.index(LETTERS)

    result = lab.index([{"id": "x", "text": "ccc"}, {"id": "y", "text": "bbb a", "metadata": {"page": 2}}])

    assert (result["indexed"], result["embedded"], result["count"]) == (2, 1, 3)
    assert lab.ids("aaa", mode="text") == []
    assert lab.ids("ccc", mode="text") == ["x"]
    assert lab.search("b", mode="vector", top=1)["matches"][0]["metadata"] == {"page": 2}
    assert len(Collection(lab.folder, "lab").unknown("demo/axes", 3, ["aaa"])) == 1


def test_replace_leaves_exactly_what_is_given_and_pays_for_nothing_that_is_known(lab: Lab):
    lab.index(LETTERS)

    result = lab.index([LETTERS[1], {"id": "n", "text": "ca"}], replace=True)

    assert (result["indexed"], result["unchanged"], result["embedded"], result["count"]) == (1, 1, 1, 2)
    assert sorted(lab.ids("a b c", mode="vector")) == ["n", "y"]
    assert lab.index([], replace=True)["count"] == 0
    assert lab.ids("a") == []


def test_texts_without_ids_get_them_from_what_they_say(lab: Lab):
    lab.index(None, texts=["ab", "c", "ab"], places=[{"page": 1}, {"page": 2}, {"page": 3}], metadata={"book": "one"})
    again = lab.index(
        None, texts=["ab", "c", "ab"], places=[{"page": 1}, {"page": 2}, {"page": 3}], metadata={"book": "one"}
    )

    found = lab.search("ab", mode="text")["matches"]
    assert (again["unchanged"], again["count"]) == (3, 3)
    assert found[0]["id"] + "-2" == found[1]["id"]
    assert [match["metadata"] for match in found] == [{"book": "one", "page": 1}, {"book": "one", "page": 3}]


def test_an_attempt_that_dies_between_two_batches_leaves_what_it_paid_for_to_the_next(lab: Lab):
    texts = [f"a{'b' * number}" for number in range(2 * BATCH_SIZE + 5)]
    lab.models.fails_at = 3

    error = failure(lab.index, None, texts=texts)
    empty = lab.search("a", mode="text")
    result = lab.index(None, texts=texts)

    assert (error.failure.code, error.failure.retryable) == ("provider_unavailable", True)
    assert empty["matches"] == []
    assert (result["embedded"], result["indexed"]) == (5, len(texts))
    assert lab.models.embedded.count(texts[0]) == 1


def test_items_are_written_all_or_none(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    lab.index(LETTERS)
    items = lab.items()
    monkeypatch.setattr("headgate.activities.vector_store.ITEMS_MAX", 4)

    error = failure(lab.index, [{"id": "x", "text": "b"}, {"id": "1", "text": "b"}, {"id": "2", "text": "b"}])

    assert (error.failure.code, error.failure.retryable) == ("collection_full", False)
    assert lab.ids("aaa", mode="text") == ["x"]
    assert lab.items() == items


def test_another_model_is_refused_and_replace_indexes_anew(lab: Lab):
    lab.index(LETTERS)

    error = failure(lab.index, LETTERS, model="demo/embed")
    asked = len(lab.models.asked)
    result = lab.index(LETTERS, model="demo/embed", replace=True)

    assert (error.failure.code, error.failure.retryable) == ("collection_differs", False)
    assert "demo/axes" in error.message
    assert "replace: true" in error.message
    assert asked == 1
    assert (result["embedded"], result["model"]) == (3, "demo/embed")
    assert Collection(lab.folder, "lab").unknown("demo/axes", 3, ["aaa"]) == ["aaa"]  # of no use any more, so gone
    assert lab.search("bbb")["model"] == "demo/embed"


def test_a_model_whose_vectors_have_another_length_now_is_refused_and_replace_embeds_all_of_it(lab: Lab):
    lab.index(LETTERS)
    lab.models.axes = 4

    error = failure(lab.index, [{"id": "n", "text": "d"}])
    search = failure(lab.search, "a")
    result = lab.index([*LETTERS, {"id": "n", "text": "d"}], replace=True)

    assert error.failure.code == search.failure.code == "collection_differs"
    assert "3 numbers, and demo/axes gives 4" in error.message
    assert (result["embedded"], result["count"]) == (4, 4)  # one before the length is seen, three after
    assert lab.ids("d", mode="vector", top=1) == ["n"]


def test_several_calls_at_a_time_lose_nothing(lab: Lab):
    async def all_at_once() -> None:
        index = vector_index({"demo": lab.models}, lab.folder)
        calls: list[Any] = [
            index({"collection": "lab", "model": "demo/axes", "texts": [f"{'ab' * n} {part}"]}, lab.context)
            for n, part in enumerate("abcdefgh", 1)
        ]
        await asyncio.gather(*calls)

    asyncio.run(all_at_once())

    assert lab.index([])["count"] == 8
    assert len(lab.models.embedded) == 8


def test_a_call_that_comes_late_does_not_mix_its_vectors_with_those_of_another_model(lab: Lab):
    collection = Collection(lab.folder, "lab")
    lab.index(LETTERS)
    collection.keep_vectors("demo/embed", {"new": (1.0, 0.0)})
    items = lab.items()

    with pytest.raises(Attempt) as caught:
        collection.keep_items("demo/embed", 2, [Item("n", "new", {})], replace=False)

    assert caught.value.failure.code == "collection_differs"
    assert lab.items() == items


def test_an_item_whose_vector_was_thrown_away_meanwhile_is_not_written(lab: Lab):
    collection = Collection(lab.folder, "lab")
    lab.index(LETTERS)

    assert collection.keep_items("demo/axes", 3, [Item("n", "unheard", {})], replace=False) is None
    assert lab.ids("unheard", mode="text") == []


@pytest.mark.parametrize("bad", [(inf, 0.0, 0.0), (float("nan"), 1.0, 1.0), (1.0, 2.0)])
def test_a_vector_that_is_none_is_not_kept(bad: tuple[float, ...], lab: Lab):
    lab.models.vectors["a"] = bad

    error = failure(lab.index, None, texts=["a", "b"])

    assert (error.failure.code, error.failure.retryable) == ("invalid_embedding", True)
    assert Collection(lab.folder, "lab").settled() is None
