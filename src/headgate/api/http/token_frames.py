"""What is told of an activity's text, as it travels: over a WebSocket, or as an event stream."""

from __future__ import annotations

from typing import Any, assert_never

import msgspec

from headgate.api.http.query import whole_number
from headgate.api.http.wire import rfc3339
from headgate.api.texts import Outcome
from headgate.core.errors import Invalid
from headgate.ports import Chunk, Ended, Gap, Position, Restarted, Tokens

__all__ = ["OutcomeFrame", "TextFrame", "chunk_frame", "outcome_frame", "positions_of"]

RESULT_BYTES_MAX = 256 * 1024
"""A larger result is named by where it is."""
POSITIONS_MAX = 1_000
"""That one client resumes from."""


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """Of which place and epoch; `id` is where a client is that has this."""

    place: str
    epoch: int
    offset: int
    attempt: int
    id: str


class TokenFrame(Placed, frozen=True, tag="token"):
    """Text that begins at byte `offset` of its epoch. `index` is the same number, for clients that look there."""

    text: str
    index: int


class RestartFrame(Placed, frozen=True, tag="restart"):
    """What came of this place before is void: its text begins again, at offset 0 of this epoch."""


class GapFrame(Placed, frozen=True, tag="gap"):
    """The text from `offset` up to `until` is not kept any more; the result has it."""

    until: int


class EndFrame(Placed, frozen=True, tag="end"):
    """The place is completed, failed or cancelled (`status`); its text has `offset` bytes."""

    status: str


class CompleteFrame(msgspec.Struct, frozen=True, tag="complete"):
    """The activity is over, and this is what it came to; the last frame."""

    workflow_id: str
    activity_key: str
    status: str
    result: Any
    timestamp: str | None


class ErrorFrame(msgspec.Struct, frozen=True, tag="error"):
    """The activity has failed or was cancelled; the last frame."""

    workflow_id: str
    activity_key: str
    status: str
    error: str
    code: str
    timestamp: str | None


TextFrame = TokenFrame | RestartFrame | GapFrame | EndFrame
OutcomeFrame = CompleteFrame | ErrorFrame


def chunk_frame(chunk: Chunk) -> TextFrame:
    """Return a chunk as it travels."""
    offset = 0 if isinstance(chunk, Restarted) else chunk.offset
    after = chunk.after
    placed: dict[str, Any] = {
        "place": chunk.place,
        "epoch": chunk.epoch,
        "offset": offset,
        "attempt": chunk.attempt,
        "id": f"{after.place}:{after.epoch}:{after.offset}:{after.origin}",
    }
    match chunk:
        case Tokens():
            return TokenFrame(text=chunk.text, index=offset, **placed)
        case Restarted():
            return RestartFrame(**placed)
        case Gap():
            return GapFrame(until=chunk.until, **placed)
        case Ended():
            return EndFrame(status=chunk.status, **placed)
        case _:
            assert_never(chunk)


def outcome_frame(run: str, wanted: str, outcome: Outcome) -> OutcomeFrame:
    """Return how an activity has ended."""
    at = rfc3339(outcome.at)
    if outcome.status in ("failed", "cancelled"):
        return ErrorFrame(run, wanted, outcome.status, outcome.error, outcome.code, at)
    result = outcome.result
    size = len(msgspec.json.encode(result))
    if size > RESULT_BYTES_MAX:
        result = {"$ref": f"/api/v1/workflows/{run}/activities/{wanted.partition('[')[0]}/output", "size": size}
    return CompleteFrame(run, wanted, outcome.status, result, at)


def positions_of(ids: str) -> list[Position]:
    """Return where a client is, from the newest `id` of each place, with commas between. Raises `Invalid`."""
    given = [one for one in ids.split(",") if one]
    if len(given) > POSITIONS_MAX:
        raise Invalid(f"expected at most {POSITIONS_MAX} ids to go on from, got {len(given)}")
    return [_position(one) for one in given]


def _position(id_: str) -> Position:
    parts = id_.split(":")
    epoch, offset = map(whole_number, parts[1:3]) if len(parts) == 4 else (None, None)
    if epoch is None or offset is None:
        raise Invalid(f"expected where to go on to be the `id` of a frame, got {id_!r}")
    return Position(parts[0], epoch, offset, parts[3])
