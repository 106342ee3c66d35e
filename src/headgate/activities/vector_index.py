"""The activity `vector_index`: texts into a collection, where `vector_search` finds them.

A text whose vector is known is not embedded, and not paid for, again. Vectors are kept batch by batch as they are paid
for, so an attempt that dies between two of them leaves them to the next one; the items themselves are written in one
transaction at the end. A second execution finds everything as it is, makes no call and changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec

from headgate.activities.embedding import embedding
from headgate.activities.parameters import refuse_unknown, wrong_parameters
from headgate.activities.vector_arithmetic import unit_vector
from headgate.activities.vector_store import Collection, Item, Kept
from headgate.core.money import dollars, nano
from headgate.ports import NO_GUARDS, ActivityContext, ActivityFunction, Attempt, Guards, Providers, state_folder_of

__all__ = ["Spent", "collection_named", "vector_index"]

_invalid = partial(wrong_parameters, "vector_index")

BATCH_SIZE = 100
ITEMS_PER_CALL_MAX = 20_000
TEXT_CHARACTERS_MAX = 200_000
METADATA_BYTES_MAX = 16_384
ID_CHARACTERS_MAX = 500
ROUNDS_MAX = 4
"""So often it looks again what is missing: once more for a model whose dimension has changed, and for other calls."""
_KNOWN = frozenset({"collection", "items", "texts", "places", "metadata", "model", "replace"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class _Asked(msgspec.Struct, frozen=True):
    """The parameters, read."""

    collection: str
    model: str
    items: tuple[Item, ...]
    replace: bool


class Spent:
    """What the calls of one execution came to."""

    def __init__(self) -> None:
        self.embedded = 0
        self.cost = 0
        self.simulated = False
        self.usage: Counter[str] = Counter()

    def add(self, result: dict[str, Any]) -> None:
        """Add a result of the activity `embedding`."""
        self.embedded += result["embedding_count"]
        self.cost += nano(Decimal(repr(result["cost_usd"])))
        self.simulated = self.simulated or bool(result.get("simulated"))
        self.usage.update(result["usage"])

    def fields(self) -> dict[str, Any]:
        """Return what results show of it."""
        shown = {"cost_usd": dollars(self.cost), "usage": dict(self.usage)}
        return {**shown, "simulated": True} if self.simulated else shown


def vector_index(providers: Providers, folder: Path, guards: Guards = NO_GUARDS) -> ActivityFunction:
    """Return the activity over these providers; collections lie in `<folder>/collections`.

    Its result is `{collection, model, indexed, unchanged, embedded, count, cost_usd, usage}`: items that are new or
    different, items that were the same, texts that were embedded, items there are now. Raises `Attempt`:
    `invalid_parameters`, `collection_differs`, `collection_full` (not retryable), what `embedding` raises, and
    `store_busy`, `store_full`.
    """
    embed = embedding(providers, guards)

    async def index(parameters: dict[str, Any], ctx: ActivityContext) -> dict[str, Any]:
        asked, spent = await asyncio.to_thread(_parsed, parameters), Spent()
        collection = Collection(state_folder_of(folder, ctx.task.tenant), asked.collection)
        kept = await _Indexing(asked, embed, ctx, collection, spent).keep()
        return {
            "collection": asked.collection,
            "model": asked.model,
            **msgspec.structs.asdict(kept),
            "embedded": spent.embedded,
            **spent.fields(),
        }

    return index


class _Indexing:
    """One execution. `dimension` is what the model gives: as the collection says, then as its answers do."""

    def __init__(
        self, asked: _Asked, embed: ActivityFunction, ctx: ActivityContext, collection: Collection, spent: Spent
    ) -> None:
        self.asked = asked
        self.embed = embed
        self.ctx = ctx
        self.collection = collection
        self.spent = spent
        self.dimension: int | None = None

    async def keep(self) -> Kept:
        model, collection = self.asked.model, self.collection
        settled = await asyncio.to_thread(collection.settled)
        collection.check(settled, model, None, replace=self.asked.replace)
        same = settled is not None and settled[0] == model
        self.dimension = settled[1] if settled and same else await asyncio.to_thread(collection.kept_dimension, model)
        for _ in range(ROUNDS_MAX):
            texts = [item.text for item in self.asked.items]
            missing = await asyncio.to_thread(collection.unknown, model, self.dimension, texts)
            for start in range(0, len(missing), BATCH_SIZE):
                vectors = await self._vectors(missing[start : start + BATCH_SIZE])
                collection.check(settled, model, self.dimension, replace=self.asked.replace)
                await asyncio.to_thread(collection.keep_vectors, model, vectors)
            if not missing and (kept := await asyncio.to_thread(self._write)):
                return kept
        message = f"The collection {collection.name!r} is changed by others all the time; nothing was written."
        raise Attempt.failed("store_busy", message)

    async def _vectors(self, texts: list[str]) -> dict[str, tuple[float, ...]]:
        result = await cast("Any", self.embed)({"model": self.asked.model, "input": texts}, self.ctx)
        self.spent.add(result)
        vectors = await asyncio.to_thread(_unit_vectors, result["embeddings"])
        lengths = sorted({len(vector) for vector in vectors})
        if len(vectors) != len(texts) or len(lengths) != 1:
            got = f"{len(vectors)} vectors, of {' and '.join(map(str, lengths))} numbers, for {len(texts)} texts"
            raise Attempt.failed("invalid_embedding", f"{self.asked.model} gave {got}. Ask again.")
        self.dimension = lengths[0]
        return dict(zip(texts, vectors, strict=True))

    def _write(self) -> Kept | None:
        asked = self.asked
        dimension = self.dimension if asked.items else None
        return self.collection.keep_items(asked.model, dimension, asked.items, replace=asked.replace)


def _unit_vectors(embeddings: list[list[float]]) -> list[tuple[float, ...]]:
    return [unit_vector(vector) for vector in embeddings]


# --- Parameters ------------------------------------------------------------------------------------------------


def collection_named(name: object, activity: str) -> str:
    """Return the name of a collection. Raises `Attempt` (`invalid_parameters`) for what can be none."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        shown = repr(name) if isinstance(name, str) and len(name) < 100 else type(name).__name__
        raise wrong_parameters(activity, f"expected collection to be 1 to 64 letters, digits, _ and -, got {shown}")
    return name


def _parsed(parameters: dict[str, Any]) -> _Asked:
    given = {name: value for name, value in parameters.items() if value is not None}
    refuse_unknown(given, _KNOWN, "vector_index")
    collection = collection_named(given.get("collection"), "vector_index")
    model, replace = given.get("model"), given.get("replace", False)
    if not isinstance(model, str):
        raise _invalid(f'expected model to be "provider/model", got {model!r}')
    if not isinstance(replace, bool):
        raise _invalid(f"expected replace to be true or false, got {replace!r}")
    return _Asked(collection, model, tuple(_items(given)), replace)


def _items(given: dict[str, Any]) -> list[Item]:
    if ("items" in given) == ("texts" in given):
        raise _invalid(f"expected either items or texts, got {'both' if 'items' in given else 'neither'}")
    name = "items" if "items" in given else "texts"
    entries = given[name]
    if not isinstance(entries, list):
        raise _invalid(f"expected {name} to be a list, got {type(entries).__name__}")
    if len(entries) > ITEMS_PER_CALL_MAX:
        raise _invalid(
            f"expected at most {ITEMS_PER_CALL_MAX:,} {name}, got {len(entries):,}; index them in several calls"
        )
    common, places = _metadata(given.get("metadata", {}), "metadata"), given.get("places")
    if places is not None and (not isinstance(places, list) or len(places) != len(entries)):
        raise _invalid(f"expected places to be a list of {len(entries)} maps, one for each of {name}")
    items: dict[str, Item] = {}
    seen: Counter[str] = Counter()
    for index, entry in enumerate(cast("list[Any]", entries)):
        where = f"{name}[{index}]"
        place = {} if places is None else _metadata(places[index], f"places[{index}]")
        item = _item(entry, where, {**common, **place}, seen)
        if items.setdefault(item.id, item) is not item:
            raise _invalid(f"expected every id once, got {item.id!r} at {where} again")
    return list(items.values())


def _item(entry: object, where: str, common: dict[str, Any], seen: Counter[str]) -> Item:
    fields = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {"text": entry}
    unknown = sorted(fields.keys() - {"id", "text", "metadata"})
    if unknown:
        raise _invalid(f"expected {where} to have id, text and metadata, got {unknown[0]}")
    text, given_id = fields.get("text"), fields.get("id")
    if not isinstance(text, str) or not text.strip():
        got = "an empty one" if isinstance(text, str) else type(text).__name__
        raise _invalid(f"expected {where} to have a text, got {got}")
    if len(text) > TEXT_CHARACTERS_MAX:
        raise _invalid(
            f"{where} has {len(text):,} characters, the most is {TEXT_CHARACTERS_MAX:,}; use text_split first"
        )
    if given_id is not None and (
        not isinstance(given_id, str | int) or not 0 < len(str(given_id)) <= ID_CHARACTERS_MAX
    ):
        raise _invalid(f"expected {where}.id to be a text of 1 to {ID_CHARACTERS_MAX} characters")
    own = _metadata(fields.get("metadata") or {}, f"{where}.metadata")
    return Item(_id_of(text, seen) if given_id is None else str(given_id), text, {**common, **own})


def _id_of(text: str, seen: Counter[str]) -> str:
    """Return an id that follows from the text, and from how often the same text came before in this call."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    seen[digest] += 1
    return digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def _metadata(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(f"expected {where} to be a map, got {type(value).__name__}")
    if (size := len(msgspec.json.encode(value))) > METADATA_BYTES_MAX:
        raise _invalid(f"{where} has {size:,} bytes, the most is {METADATA_BYTES_MAX:,}")
    return cast("dict[str, Any]", value)
