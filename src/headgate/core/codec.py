"""Events as bytes: how they are encoded, chained and named. The one place that knows the stored form.

A row's `data` is MessagePack of `[schema, event, digest]`. `digest` is BLAKE2b of the content, keyed by a random key of
the run, so that erasing content and key leaves nothing to guess from; `hash = SHA-256(previous hash ‖ data)`.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast, get_args

import msgspec

from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.errors import Invalid
from headgate.core.events import SCHEMA, Event

__all__ = ["GENESIS", "TYPE_NAMES", "AnyEvent", "chain", "content_bytes", "content_value", "decode", "digest", "encode"]

GENESIS = b""
"""What the first event's hash is chained to."""

DIGEST_BYTES = 16

AnyEvent = (
    e.RunStarted
    | e.RunCompleted
    | e.RunFailed
    | e.RunCancelled
    | e.CancelRequested
    | e.RunPaused
    | e.RunResumed
    | e.RunRetried
    | e.ActivityScheduled
    | e.ActivityWaiting
    | e.ActivitySuspended
    | e.FanOutOpened
    | e.ActivityCompleted
    | e.ActivityResolved
    | e.AttemptFailed
    | e.AttemptTimedOut
    | e.AttemptLost
    | e.RetryScheduled
    | e.ActivityFailed
    | e.ActivitySkipped
    | e.ActivityCancelled
    | e.EdgeDecided
    | e.LoopDecided
    | e.TimerFired
    | e.SignalReceived
    | e.SignalDelivered
    | e.ApprovalDecided
    | e.ChildFinished
    | e.ChildCorrected
    | e.MessageDelivered
    | e.EffectBegun
    | g.CallRequested
    | g.CallReused
    | g.ModelSkipped
    | g.CallAdmitted
    | g.CallWaiting
    | g.CallRefused
    | g.BudgetFreed
    | g.BudgetRaised
    | g.BudgetRefused
    | g.WaitingForgotten
    | g.CallSettled
    | g.CallForfeited
    | g.BudgetAlert
    | g.BudgetOverrun
)
"""All of them."""

TYPE_NAMES: dict[type[Event], str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(AnyEvent)}
"""What each event is called in the log and on the wire."""

_packer = msgspec.msgpack.Encoder()
_unpacker = msgspec.msgpack.Decoder(tuple[int, AnyEvent, bytes | None])
_json = msgspec.json.Encoder()
_unjson = msgspec.json.Decoder()


def encode(event: Event, content_digest: bytes | None) -> bytes:
    return _packer.encode((SCHEMA, event, content_digest))


def decode(data: bytes) -> tuple[Event, bytes | None]:
    """Return the event and its content's digest. Raises `Invalid` for a revision newer than this program's."""
    try:
        _, event, content_digest = _unpacker.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid(f"This event was written by a newer version of Headgate, or is damaged: {error}.") from error
    return event, content_digest


def digest(key: bytes, content: bytes) -> bytes:
    return hashlib.blake2b(content, key=key, digest_size=DIGEST_BYTES).digest()


def chain(previous: bytes, data: bytes) -> bytes:
    return hashlib.sha256(previous + data).digest()


def content_bytes(value: Any, *, what: str = "value") -> bytes:
    """Return a JSON value as stored. Raises `Invalid` for what JSON cannot hold: NaN, infinity, foreign objects."""
    try:
        data = _json.encode(value)
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise Invalid(f"The {what} is not a JSON value: {error}.") from error
    if b"null" in data and not _is_finite(value):
        path = _not_finite(value)
        raise Invalid(f"The {what} holds a number that JSON cannot: NaN or infinity at {path or 'its top'}.")
    return data


def content_value(data: bytes) -> Any:
    return _unjson.decode(data)


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return value - value == 0.0
    if isinstance(value, dict):
        return all(map(_is_finite, cast("dict[Any, Any]", value).values()))
    return not isinstance(value, list | tuple) or all(map(_is_finite, cast("list[Any]", value)))


def _not_finite(value: Any, path: str = "") -> str | None:
    if isinstance(value, float):
        return path if value != value or value in (float("inf"), float("-inf")) else None
    if isinstance(value, dict):
        parts = ((f"{path}.{key}", part) for key, part in value.items())
    elif isinstance(value, list | tuple):
        parts = ((f"{path}[{number}]", part) for number, part in enumerate(value))
    else:
        return None
    return next((found for name, part in parts if (found := _not_finite(part, name)) is not None), None)
