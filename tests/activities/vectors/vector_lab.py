"""Collections of vectors, and a model that makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from headgate.activities.vector_index import vector_index
from headgate.activities.vector_search import vector_search
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


def failure(running: Any, *args: Any, **parameters: Any) -> Attempt:
    with pytest.raises(Attempt) as caught:
        running(*args, **parameters)
    return caught.value


LETTERS = [{"id": name, "text": text} for name, text in (("x", "aaa"), ("y", "bbb a"), ("z", "cc b"))]
