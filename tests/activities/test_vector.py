"""`vector_index` and `vector_search`: what is kept, what is paid for, and what is found, in which order."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.activities.vector_index import BATCH_SIZE, vector_index
from headgate.activities.vector_search import vector_search
from headgate.activities.vector_store import Collection, Item
from headgate.core.values import Assignment, Price, Usage
from headgate.llm.demo import DemoProvider
from headgate.ports import Admission, Admitted, Attempt, CallRequest, EmbeddingAnswer, ProviderError


class Models(DemoProvider):
    """Embedding models: `embed` is the demo model, `axes` counts letters; what they were asked is noted down."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []
        self.fails_at = 0
        self.axes = 3
        self.vectors: dict[str, tuple[float, ...]] = {}

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        self.asked.append(list(inputs))
        if len(self.asked) == self.fails_at:
            raise ProviderError("The line is dead.", status=503, code="provider_unavailable", retryable=True)
        if model == "embed":
            return await super().embed(model, inputs)
        vectors = tuple(
            self.vectors.get(text) or tuple(float(text.count(axis)) for axis in "abcd"[: self.axes]) for text in inputs
        )
        return EmbeddingAnswer(embeddings=vectors, model=model, usage=Usage(input_tokens=len(inputs)))

    def price(self, model: str) -> Price | None:
        return super().price(model) or Price(1_000_000_000, 0)

    @property
    def embedded(self) -> list[str]:
        return [text for batch in self.asked for text in batch]


class Context:
    """An activity's context that admits every call."""

    def __init__(self) -> None:
        self.task = Assignment(activity_id="c", workflow_id="r", activity_key="a", place="a", activity_name="x")
        self.settled: list[Any] = []

    async def admit(self, request: CallRequest) -> tuple[str, Admission]:
        return request.request_hash, Admitted(request.candidates[0].model, request.candidates[0].worst_case)

    async def settle(self, call_id: str, outcome: Any) -> None:
        self.settled.append(outcome)

    def stream(self, text: str) -> None: ...

    def restart_stream(self) -> None: ...

    def log(self, message: str, **fields: Any) -> None: ...


class Lab:
    """A state folder and the two activities over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = Models()
        self.context = Context()

    def index(self, items: Any = None, **parameters: Any) -> dict[str, Any]:
        asked = {"collection": "lab", "model": "demo/axes", "items": items, **parameters}
        running: Any = vector_index({"demo": self.models}, self.folder)(asked, self.context)
        return asyncio.run(running)

    def search(self, query: str, **parameters: Any) -> dict[str, Any]:
        asked = {"collection": "lab", "query": query, **parameters}
        running: Any = vector_search({"demo": self.models}, self.folder)(asked, self.context)
        return asyncio.run(running)

    def ids(self, query: str, **parameters: Any) -> list[str]:
        return [match["id"] for match in self.search(query, **parameters)["matches"]]

    def items(self) -> list[Any]:
        """The items of the collection, as they are stored."""
        db = apsw.Connection(str(self.folder / "collections" / "lab.db"))
        rows = list(db.execute("select * from items order by id"))
        db.close()
        return rows

    def bytes(self) -> list[Any]:
        """All that the collection holds."""
        db = apsw.Connection(str(self.folder / "collections" / "lab.db"))
        tables = ("collection", "items", "vectors", "words_data")
        rows = [row for table in tables for row in db.execute(f"select * from {table} order by 1, 2")]
        db.close()
        return rows


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "state")


def failure(running: Any, *args: Any, **parameters: Any) -> Attempt:
    with pytest.raises(Attempt) as caught:
        running(*args, **parameters)
    return caught.value


LETTERS = [{"id": name, "text": text} for name, text in (("x", "aaa"), ("y", "bbb a"), ("z", "cc b"))]


# --- Index ---------------------------------------------------------------------------------------------------


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


# --- Search --------------------------------------------------------------------------------------------------

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
