"""The activity vector_search: what is found, and in which order."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.activities.vectors.vector_lab import LETTERS, Lab, failure

from headgate.activities.vector_store import Collection, Item

ADVICE = [
    "The pump must never run dry: fill the tank before you switch it on.",
    "Rinse the filter under warm water every second week.",
    "Replace the door seal X-7 when water drips from the door.",
    "In winter, drain the hose, or the frost will split it.",
]


def test_the_vector_finds_what_is_alike_and_the_words_what_is_named(lab: Lab):
    lab.index(None, texts=ADVICE, model="demo/embed")

    found = {mode: lab.search("seal X-7", mode=mode, top=1)["matches"][0] for mode in ("vector", "text", "hybrid")}

    assert {match["text"] for match in found.values()} == {ADVICE[2]}
    assert found["hybrid"]["score"] == 1
    assert found["vector"]["score"] == found["vector"]["cosine"] == found["hybrid"]["cosine"]
    assert found["vector"]["relevance"] is None
    assert found["text"]["cosine"] is None
    assert found["text"]["score"] == found["text"]["relevance"] == found["hybrid"]["relevance"] > 0


def test_fused_ranks_prefer_what_both_rankings_have(lab: Lab):
    lab.models.vectors = {"q": (1, 0, 0), "far q": (0.1, 1, 0), "near": (1, 0.1, 0), "both q": (1, 0.5, 0)}
    lab.index(None, texts=["far q", "near", "both q"])

    scores = {match["text"]: match["score"] for match in lab.search("q")["matches"]}

    assert scores["near"] == pytest.approx(0.5)
    assert scores["both q"] > scores["far q"] > scores["near"]


def test_equal_sums_of_ranks_stand_in_the_order_of_their_ids(lab: Lab):
    lab.models.vectors = {"q": (1, 0, 0), "q so long a text": (1, 0.01, 0), "q?": (1, 0.5, 0)}
    lab.index([{"id": "b", "text": "q so long a text"}, {"id": "a", "text": "q?"}])

    matches = lab.search("q")["matches"]

    assert lab.ids("q", mode="vector") == ["b", "a"]
    assert lab.ids("q", mode="text") == ["a", "b"]
    assert [match["id"] for match in matches] == ["a", "b"]
    assert matches[0]["score"] == matches[1]["score"]


@settings(max_examples=25)
@given(st.lists(st.text("abc ", min_size=1).filter(str.strip), min_size=1, max_size=12), st.text("abc", min_size=1))
def test_numpy_and_the_loop_find_the_same(texts: list[str], query: str):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        lab = Lab(Path(folder))
        lab.index(None, texts=texts)

        fast = lab.search(query, mode="vector", top=20)
        patch.setitem(sys.modules, "numpy", None)
        slow = lab.search(query, mode="vector", top=20)

    assert fast["matches"] == slow["matches"]
    assert fast["count"] == len(texts)


def test_equals_stand_in_the_order_of_their_ids(lab: Lab):
    lab.index([{"id": name, "text": "ab"} for name in ("m", "z", "b", "k")])

    assert [lab.ids("ab", mode=mode) for mode in ("vector", "text", "hybrid")] == [["b", "k", "m", "z"]] * 3
    assert lab.ids("ab", top=2) == ["b", "k"]


@pytest.mark.parametrize(
    "query",
    [
        "AND",
        "NOT ab",
        '"',
        'a" OR "b',
        "x*",
        "NEAR(a b)",
        "col:ab",
        "-ab",
        "(",
        "'; drop table items",
        "\0",
        "_",
        "^ab",
    ],
)
def test_whatever_the_query_holds_is_only_words(query: str, lab: Lab):
    lab.index([{"id": "1", "text": f"ab and {query.strip(chr(0))} or not"}, {"id": "2", "text": "cc"}])

    found = lab.ids(query, mode="text")

    assert found in (["1"], [])
    assert found == ["1"] or not any(character.isalnum() for character in query)


def test_accents_and_capitals_do_not_matter_to_words(lab: Lab):
    lab.index([{"id": "1", "text": "Der Müller mahlt"}])

    assert lab.ids("MULLER", mode="text") == ["1"]


def test_where_takes_only_what_has_these_values(lab: Lab):
    lab.index(
        [
            {"id": "1", "text": "ab", "metadata": {"page": 1, "draft": True}},
            {"id": "2", "text": "ab", "metadata": {"page": 1, "draft": 1}},
            {"id": "3", "text": "ab", "metadata": {"page": 2, "tags": ["x"]}},
            {"id": "4", "text": "ab"},
        ]
    )

    for mode in ("vector", "text", "hybrid"):
        assert lab.ids("ab", mode=mode, where={"page": 1}) == ["1", "2"]
        assert lab.ids("ab", mode=mode, where={"draft": True}) == ["1"]
        assert lab.ids("ab", mode=mode, where={"page": 1, "draft": 1}) == ["2"]
        assert lab.ids("ab", mode=mode, where={"tags": ["x"]}) == ["3"]
        assert lab.ids("ab", mode=mode, where={"page": None}) == []


def test_min_score_leaves_out_what_is_too_far(lab: Lab):
    lab.index(LETTERS)

    assert lab.ids("a", mode="vector", min_score=0.9) == ["x"]
    assert lab.ids("a", mode="vector", min_score=0.3) == ["x", "y"]
    assert lab.ids("a", mode="vector", min_score=1.1) == []


def test_a_search_by_words_costs_nothing_and_one_by_meaning_one_text(lab: Lab):
    lab.index(LETTERS)

    words, meaning = lab.search("aaa", mode="text"), lab.search("aaa")

    assert words["cost_usd"] == 0
    assert meaning["cost_usd"] == 1e-6
    assert lab.models.asked[1:] == [["aaa"]]


def test_a_collection_that_is_not_there_is_named_and_not_made(lab: Lab):
    error = failure(lab.search, "a", collection="other")

    assert (error.failure.code, error.failure.retryable) == ("no_such_collection", False)
    assert "'other'" in error.message
    assert not lab.folder.exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a" * 65, ".hidden", None, "ä", "x\n"])
def test_a_collection_has_a_plain_name(name: object, lab: Lab):
    assert "collection to be 1 to 64 letters" in failure(lab.index, LETTERS, collection=name).message
    assert "collection to be 1 to 64 letters" in failure(lab.search, "a", collection=name).message


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"items": "ab"}, "items to be a list, got str"),
        ({"items": None}, "either items or texts, got neither"),
        ({"texts": ["a"]}, "got both"),
        ({"items": [{"text": " "}]}, "items[0] to have a text, got an empty one"),
        ({"items": ["a", 7]}, "items[1] to have a text, got int"),
        ({"items": [{"txt": "a"}]}, "got txt"),
        ({"items": [{"id": "", "text": "a"}]}, "items[0].id"),
        ({"items": [{"id": "1", "text": "a"}, {"id": 1, "text": "b"}]}, "'1' at items[1] again"),
        ({"items": ["a"], "places": []}, "places to be a list of 1 maps"),
        ({"items": ["a"], "metadata": {"x": "y" * 20_000}}, "the most is 16,384"),
        ({"replace": "yes"}, "replace to be true or false"),
        ({"model": None}, 'model to be "provider/model"'),
        ({"model": "lab/x"}, "begin with a provider"),
        ({"modle": "x"}, "got modle"),
    ],
)
def test_what_cannot_be_indexed_is_refused_before_anybody_is_asked(parameters: dict[str, Any], says: str, lab: Lab):
    error = failure(lab.index, **{"items": LETTERS, **parameters})

    assert says in error.message
    assert not error.failure.retryable
    assert lab.models.asked == []


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"query": " "}, "query to be a text"),
        ({"top": 0}, "top to be a whole number from 1"),
        ({"mode": "both"}, "mode to be one of hybrid, vector, text"),
        ({"min_score": "high"}, "min_score to be a number"),
        ({"where": ["x"]}, "where to be a map"),
        ({"topp": 1}, "got topp"),
    ],
)
def test_what_cannot_be_searched_is_refused(parameters: dict[str, Any], says: str, lab: Lab):
    lab.index(LETTERS)

    assert says in failure(lab.search, **{"query": "a", **parameters}).message


def test_writing_many_items_takes_time_in_proportion_to_their_number(tmp_path: Path):
    def seconds(count: int) -> float:
        collection = Collection(tmp_path, f"c{count}")
        items = [Item(str(number), f"text {number}", {}) for number in range(count)]
        collection.keep_vectors("demo/axes", {item.text: (1.0,) for item in items})
        began = time.process_time()
        collection.keep_items("demo/axes", 1, items, replace=True)
        collection.keep_items("demo/axes", 1, items[:1], replace=True)
        return time.process_time() - began

    small, large = max(seconds(800), 0.01), seconds(8_000)

    assert large < 25 * small, f"{small:.3f} s became {large:.3f} s for ten times as many items"
