"""The activity `vector_search`: the texts of a collection that fit a query best, by meaning, by words, or by both.

It changes nothing. An attempt that runs again pays for the query's vector again: one short text.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, get_args

import msgspec

from headgate.activities.embedding import embedding
from headgate.activities.parameters import refuse_unknown, wrong_parameters
from headgate.activities.vector_arithmetic import DIGITS, Found, unit_vector
from headgate.activities.vector_index import Spent, collection_named
from headgate.activities.vector_store import Collection, Fits
from headgate.ports import NO_GUARDS, ActivityContext, ActivityFunction, Attempt, Guards, Providers, state_folder_of

__all__ = ["vector_search"]

_invalid = partial(wrong_parameters, "vector_search")

TOP = 5
TOP_MAX = 1_000
QUERY_CHARACTERS_MAX = 20_000
RANK_OFFSET = 60
"""Added to ranks before they are fused, so that the first places do not outweigh agreement (as in the paper on it)."""
POOL_MIN = 50
"""So many of either ranking, or four times `top`, are fused."""
Mode = Literal["hybrid", "vector", "text"]
_MODES: tuple[str, ...] = get_args(Mode)
_KNOWN = frozenset({"collection", "query", "top", "mode", "min_score", "where"})


class _Asked(msgspec.Struct, frozen=True):
    """The parameters, read."""

    collection: str
    query: str
    top: int
    mode: Mode
    min_score: float | None
    fits: Fits | None

    @property
    def pool(self) -> int:
        return max(POOL_MIN, 4 * self.top) if self.mode == "hybrid" else self.top


class _Ranked(msgspec.Struct, frozen=True):
    """One match before its text is read."""

    number: int
    id: str
    score: float
    cosine: float | None
    relevance: float | None


def vector_search(providers: Providers, folder: Path, guards: Guards = NO_GUARDS) -> ActivityFunction:
    """Return the activity over these providers; collections lie in `<folder>/collections`.

    Its result is `{matches: [{id, text, metadata, score, cosine, relevance}], count, collection, mode, model, cost_usd,
    usage}`, best match first, of equal ones by id. `score` is the cosine (`vector`), the relevance (`text`, BM25), or
    both ranks fused (`hybrid`): 1 is first in both. Raises `Attempt`: `invalid_parameters`, `no_such_collection` (not
    retryable), and what `embedding` raises.
    """
    embed = embedding(providers, guards)

    async def search(parameters: dict[str, Any], ctx: ActivityContext) -> dict[str, Any]:
        asked, spent = _parsed(parameters), Spent()
        collection = Collection(state_folder_of(folder, ctx.task.tenant), asked.collection)
        settled = await asyncio.to_thread(collection.settled)
        if settled is None and not collection.path.is_file():
            message = f"vector_search: there is no collection {asked.collection!r}. Make it with vector_index first."
            raise Attempt.failed("no_such_collection", message, retryable=False)
        vector: tuple[float, ...] = ()
        if settled is not None and asked.mode != "text":
            result = await cast("Any", embed)({"model": settled[0], "input": [asked.query]}, ctx)
            spent.add(result)
            vector = unit_vector(result["embeddings"][0])
            collection.check(settled, settled[0], len(vector), replace=False)
        matches = await asyncio.to_thread(_matches, collection, asked, vector)
        return {
            "matches": matches,
            "count": len(matches),
            "collection": asked.collection,
            "mode": asked.mode,
            "model": settled[0] if settled else None,
            **spent.fields(),
        }

    return search


def _matches(collection: Collection, asked: _Asked, vector: tuple[float, ...]) -> list[dict[str, Any]]:
    near = collection.nearest(vector, asked.pool, asked.fits) if vector else []
    worded = collection.matching(asked.query, asked.pool, asked.fits) if asked.mode != "vector" else []
    ranked = _ranked(asked.mode, near, worded)
    if asked.min_score is not None:
        ranked = [match for match in ranked if match.score >= asked.min_score]
    ranked = ranked[: asked.top]
    items = collection.items(match.number for match in ranked)
    return [
        {
            "id": match.id,
            "text": items[match.number].text,
            "metadata": items[match.number].metadata,
            "score": match.score,
            "cosine": match.cosine,
            "relevance": match.relevance,
        }
        for match in ranked
        if match.number in items
    ]


def _ranked(mode: Mode, near: list[Found], worded: list[Found]) -> list[_Ranked]:
    """Return the matches of both rankings, the best first. Fused, each rank counts 1 / (60 + rank), of at most 1."""
    cosines = {found.number: found.score for found in near}
    relevances = {found.number: found.score for found in worded}
    fused: dict[int, float] = {}
    for ranking in (near, worded):
        for rank, found in enumerate(ranking, 1):
            fused[found.number] = fused.get(found.number, 0.0) + (RANK_OFFSET + 1) / (RANK_OFFSET + rank) / 2
    scores = {"hybrid": fused, "vector": cosines, "text": relevances}[mode]
    ids = {found.number: found.id for found in (*near, *worded)}
    matches = [
        _Ranked(number, id_, round(scores[number], DIGITS), cosines.get(number), relevances.get(number))
        for number, id_ in ids.items()
    ]
    return sorted(matches, key=lambda match: (-match.score, match.id))


# --- Parameters ------------------------------------------------------------------------------------------------


def _parsed(parameters: dict[str, Any]) -> _Asked:
    given = {name: value for name, value in parameters.items() if value is not None}
    refuse_unknown(given, _KNOWN, "vector_search")
    collection = collection_named(given.get("collection"), "vector_search")
    query, top, mode = given.get("query"), given.get("top", TOP), given.get("mode", "hybrid")
    if not isinstance(query, str) or not query.strip() or len(query) > QUERY_CHARACTERS_MAX:
        got = f"one of {len(query):,} characters" if isinstance(query, str) else type(query).__name__
        raise _invalid(f"expected query to be a text of 1 to {QUERY_CHARACTERS_MAX:,} characters, got {got}")
    top = int(top) if isinstance(top, float) and top.is_integer() else top
    if not isinstance(top, int) or isinstance(top, bool) or not 1 <= top <= TOP_MAX:
        raise _invalid(f"expected top to be a whole number from 1 to {TOP_MAX}, got {top!r}")
    if mode not in _MODES:
        raise _invalid(f"expected mode to be one of {', '.join(_MODES)}, got {mode!r}")
    least = given.get("min_score")
    if isinstance(least, bool) or not isinstance(least, int | float | None):
        raise _invalid(f"expected min_score to be a number, got {least!r}")
    return _Asked(collection, query, top, cast("Mode", mode), least, _where(given.get("where")))


def _where(where: object) -> Fits | None:
    if where is None or where == {}:
        return None
    if not isinstance(where, dict):
        raise _invalid(f"expected where to be a map of metadata names to values, got {type(where).__name__}")
    wanted = cast("dict[str, Any]", where)

    def fits(metadata: dict[str, Any]) -> bool:
        return all(name in metadata and _same(metadata[name], value) for name, value in wanted.items())

    return fits


def _same(left: object, right: object) -> bool:
    """Return whether two JSON values are equal; Python alone would take true for 1."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)
