"""Conversations in one SQLite file: turns in their order, and for each conversation a summary of its older turns.

A turn is known by a digest of its key, role and content. The key says which place of which run says it, and which of
that place's turns it is; so an attempt that runs again finds its turns, and the same words said twice are two turns.
Positions count from 1 and have no gaps.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import apsw
import msgspec

from headgate.activities.state_file import opened, transaction
from headgate.named_sql import named_sql
from headgate.ports import Attempt

__all__ = ["Conversations", "Summary", "Turn"]

SCHEMA_VERSION = 1
TURNS_MAX = 100_000
"""Of one conversation; a further turn is refused."""

SQL = named_sql("headgate.activities", "conversation_store.sql")


class Turn(msgspec.Struct, frozen=True):
    """Something that was said. `position` is 0 before it is stored."""

    role: str
    content: str
    position: int = 0


class Summary(msgspec.Struct, frozen=True):
    """What stands for all turns up to the position `covers`."""

    covers: int
    content: str


class Conversations:
    """All conversations of a state folder. Every method opens the file for itself: call it in a thread."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "conversations.db"

    def append(self, conversation: str, key: str, turns: Sequence[Turn]) -> tuple[list[int], int]:
        """Add the turns, all or none; return their positions and how many turns there are.

        `key` names who says it. A turn of the same key, number, role and content is there already after the first call
        and keeps its position. Raises `Attempt` (`conversation_full`).
        """
        with self._open() as db, transaction(db):
            positions = [_add(db, conversation, f"{key}#{number}", turn) for number, turn in enumerate(turns)]
            return positions, _last(db, conversation)

    def last(self, conversation: str) -> int:
        """Return how many turns there are."""
        with self._open() as db:
            return _last(db, conversation)

    def newest(self, conversation: str, *, after: int, count: int) -> list[Turn]:
        """Return at most `count` turns behind a position, the newest first."""
        with self._open() as db:
            rows = cast("list[Any]", db.execute(SQL["newest"], (conversation, after, count)).fetchall())
        return [Turn(role, content, position) for position, role, content in rows]

    def oldest(self, conversation: str, *, after: int, up_to: int, characters_max: int) -> list[Turn]:
        """Return the turns behind a position, in order, as many as have `characters_max` together; at least one."""
        with self._open() as db:
            rows = cast("Iterator[Any]", db.execute(SQL["oldest"], (conversation, after, up_to)))
            turns: list[Turn] = []
            characters = 0
            for position, role, content in rows:
                characters += len(content)
                if turns and characters > characters_max:
                    break
                turns.append(Turn(role, content, position))
        return turns

    def summary(self, conversation: str) -> Summary | None:
        """Return the summary of the older turns, if there is one."""
        with self._open() as db:
            return _summary(db, conversation)

    def keep_summary(self, conversation: str, summary: Summary) -> Summary:
        """Keep the summary unless one is there that covers as much; return the one that is kept."""
        with self._open() as db, transaction(db):
            db.execute(SQL["keep_summary"], (conversation, summary.covers, summary.content))
            return _summary(db, conversation) or summary

    @contextlib.contextmanager
    def _open(self) -> Generator[apsw.Connection]:
        with opened(self.path, SQL, schema_version=SCHEMA_VERSION) as db:
            yield db


def _add(db: apsw.Connection, conversation: str, key: str, turn: Turn) -> int:
    said = msgspec.json.encode([key, turn.role, turn.content])
    digest = hashlib.sha256(said).digest()
    there = db.execute(SQL["position_of"], (conversation, digest)).fetchone()
    if there is not None:
        return cast("int", there[0])
    position = _last(db, conversation) + 1
    if position > TURNS_MAX:
        message = f"The conversation {conversation!r} has {TURNS_MAX:,} turns, which is the most. Begin another one."
        raise Attempt.failed("conversation_full", message, retryable=False)
    db.execute(SQL["insert_turn"], (conversation, position, digest, turn.role, turn.content))
    return position


def _last(db: apsw.Connection, conversation: str) -> int:
    return cast("int", next(db.execute(SQL["last"], (conversation,)))[0])


def _summary(db: apsw.Connection, conversation: str) -> Summary | None:
    row = db.execute(SQL["summary"], (conversation,)).fetchone()
    return None if row is None else Summary(cast("int", row[0]), cast("str", row[1]))
