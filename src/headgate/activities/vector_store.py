"""A collection of texts with their vectors, in an SQLite file of its own, with a full-text index beside it.

A vector belongs to a text (by its digest), a model and a dimension, not to an item: so a text that comes again, under
another id or in a later call, is not embedded again. Vectors are kept as soon as they are paid for; items are written
in one transaction at the end of a call. That throws away the vectors of texts that it took out, and no others: a vector
that no item has may belong to a call that is still on its way.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import apsw
import msgspec

from headgate.activities.state_file import opened, transaction
from headgate.activities.vector_arithmetic import DIGITS, Found, cosines, packed
from headgate.named_sql import named_sql
from headgate.ports import Attempt

__all__ = ["Collection", "Fits", "Item", "Kept"]

SCHEMA_VERSION = 1
ITEMS_MAX = 200_000
"""A search reads every vector of a collection; beyond this a database made for it is the better place."""
QUERY_WORDS_MAX = 64

SQL = named_sql("headgate.activities", "vector_store.sql")


class Item(msgspec.Struct, frozen=True):
    """A text of a collection, under its id; `metadata` is a JSON map."""

    id: str
    text: str
    metadata: dict[str, Any]


class Kept(msgspec.Struct, frozen=True):
    """What a call changed: items that are new or different, items that were the same, and items there are now."""

    indexed: int
    unchanged: int
    count: int


Settled = tuple[str, int]
"""The model and the dimension of a collection."""
Fits = Callable[[dict[str, Any]], bool]


class Collection:
    """The collection `name` under the state folder. Every method opens the file for itself: call it in a thread."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.path = folder / "collections" / f"{name}.db"

    # --- Writing -------------------------------------------------------------------------------------------------

    def settled(self) -> Settled | None:
        """Return the model and dimension of the collection; None for one that is new."""
        if not self.path.is_file():
            return None
        with self._open() as db:
            return _settled(db)

    def kept_dimension(self, model: str) -> int | None:
        """Return the dimension of the vectors that are kept of a model, also by a call that did not end."""
        if not self.path.is_file():
            return None
        with self._open() as db:
            row = db.execute(SQL["kept_dimension"], (model,)).fetchone()
        return None if row is None else cast("int", row[0])

    def unknown(self, model: str, dimension: int | None, texts: Iterable[str]) -> list[str]:
        """Return the texts that have no vector of this model and dimension yet, each once, in order."""
        by_digest = {_digest(text): text for text in texts}
        if dimension is None:
            return list(by_digest.values())
        names = msgspec.json.encode([digest.hex() for digest in by_digest]).decode()
        with self._open() as db:
            known = {row[0] for row in db.execute(SQL["known_vectors"], (model, dimension, names))}
        return [text for digest, text in by_digest.items() if digest not in known]

    def keep_vectors(self, model: str, vectors: dict[str, tuple[float, ...]]) -> None:
        """Keep the unit vectors of texts, durably; one that is there already stays."""
        rows = [(model, len(vector), _digest(text), packed(vector)) for text, vector in vectors.items()]
        with self._open() as db, transaction(db):
            db.executemany(SQL["keep_vector"], rows)

    def keep_items(self, model: str, dimension: int | None, items: Sequence[Item], *, replace: bool) -> Kept | None:
        """Write the items, all or none; `replace` takes out all others. `dimension` None: there are no items.

        Returns None, and has written nothing, where a vector is missing that another call threw away meanwhile.
        Raises `Attempt`: `collection_differs`, `collection_full`.
        """
        with contextlib.suppress(_VectorGone), self._open() as db, transaction(db):
            settled = _settled(db)
            self.check(settled, model, dimension, replace=replace)
            gone = _remove_others(db, {item.id for item in items}) if replace else []
            indexed = sum(_keep_item(db, item, gone) for item in items)
            if dimension is not None and settled != (model, dimension):
                db.execute(SQL["name_collection"], (model, dimension))
                db.execute(SQL["forget_other_models"])
            count = _number(db, "count")
            if count > ITEMS_MAX:
                what = f"{self.name!r} would have {count:,} items, the most is {ITEMS_MAX:,}. Use several collections"
                raise _refused("collection_full", what)
            if _number(db, "without_vector"):
                raise _VectorGone
            db.executemany(SQL["forget_vector"], [{"digest": digest} for digest in gone])
            return Kept(indexed, len(items) - indexed, count)
        return None

    def check(self, settled: Settled | None, model: str, dimension: int | None, *, replace: bool) -> None:
        """Raise `Attempt` (`collection_differs`) where vectors of this model cannot stand beside those there are."""
        if settled is None or replace:
            return
        instead = "or set `replace: true`, which indexes all of the collection anew"
        if settled[0] != model:
            what = (
                f"{self.name!r} was indexed with {settled[0]}, and vectors of {model} cannot be compared with its own"
            )
            raise _refused("collection_differs", f"{what}. Use that model, another collection, {instead}")
        if dimension is not None and settled[1] != dimension:
            what = f"{self.name!r} holds vectors of {settled[1]} numbers, and {model} gives {dimension} now"
            raise _refused("collection_differs", f"{what}. Use another collection, {instead}")

    # --- Reading -------------------------------------------------------------------------------------------------

    def nearest(self, query: Sequence[float], limit: int, fits: Fits | None) -> list[Found]:
        """Return the items whose vectors have the largest cosine with `query`, best first, then by id."""
        with self._open(fits) as db:
            settled = _settled(db)
            if settled is None or settled[1] != len(query):  # it was indexed anew since the query got its vector
                return []
            rows = cast("Iterator[tuple[int, str, bytes]]", db.execute(SQL["scan"], settled))
            return heapq.nsmallest(limit, cosines(rows, query), key=lambda found: (-found.score, found.id))

    def matching(self, query: str, limit: int, fits: Fits | None) -> list[Found]:
        """Return the items that hold words of `query`, by relevance (BM25), best first, then by id."""
        words = list(dict.fromkeys(query.replace("\0", " ").split()))[:QUERY_WORDS_MAX]
        if not words:
            return []
        # In quotes everything is a word, also AND, NEAR, * and the like.
        asked = " OR ".join('"' + word.replace('"', '""') + '"' for word in words)
        with self._open(fits) as db:
            rows = db.execute(SQL["match"], (asked, limit)).fetchall()
        return [Found(number, id_, round(score, DIGITS)) for number, id_, score in cast("list[Any]", rows)]

    def items(self, numbers: Iterable[int]) -> dict[int, Item]:
        """Return items by their numbers; one that is gone is left out."""
        asked = msgspec.json.encode(list(numbers)).decode()
        with self._open() as db:
            rows = cast("list[Any]", db.execute(SQL["items_of"], (asked,)).fetchall())
        return {number: Item(id_, text, msgspec.json.decode(data)) for number, id_, text, data in rows}

    @contextlib.contextmanager
    def _open(self, fits: Fits | None = None) -> Generator[apsw.Connection]:
        def metadata_fits(metadata: str) -> bool:
            return fits is None or fits(msgspec.json.decode(metadata))

        with opened(self.path, SQL, schema_version=SCHEMA_VERSION) as db:
            db.create_scalar_function("fits", cast("Any", metadata_fits), 1)  # its stub wants any number of values
            yield db


class _VectorGone(Exception):
    """A vector that was there is there no more."""


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _settled(db: apsw.Connection) -> Settled | None:
    row = db.execute(SQL["collection"]).fetchone()
    return None if row is None else cast("Settled", tuple(row))


def _number(db: apsw.Connection, query: str) -> int:
    return cast("int", next(db.execute(SQL[query]))[0])


def _remove_others(db: apsw.Connection, wanted: set[str]) -> list[bytes]:
    """Remove all items but those; return the digests of their texts."""
    rows = cast("list[tuple[str, bytes]]", db.execute(SQL["ids"]).fetchall())
    others = [row for row in rows if row[0] not in wanted]
    db.executemany(SQL["remove_item"], [(id_,) for id_, _ in others])
    return [digest for _, digest in others]


def _keep_item(db: apsw.Connection, item: Item, gone: list[bytes]) -> bool:
    """Return whether the item is new or different; one that is the same is not touched. `gone` gets the digest of a
    text that it had before."""
    metadata = msgspec.json.encode(item.metadata, order="sorted").decode()
    row = cast("tuple[str, str, bytes] | None", db.execute(SQL["item"], (item.id,)).fetchone())
    if row is not None and row[:2] == (item.text, metadata):
        return False
    if row is not None:
        gone.append(row[2])
    db.execute(SQL["keep_item"], (item.id, item.text, metadata, _digest(item.text)))
    return True


def _refused(code: str, message: str) -> Attempt:
    return Attempt.failed(code, f"The collection {message}.", retryable=False)
