"""Errors as they travel over HTTP: one envelope, a status by what the caller should do, stable codes.

A route may refuse in other words than the envelope, where a standard has its own: see `Wording`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from headgate.api.caller import Forbidden, TooMany, Unauthorized
from headgate.core.errors import (
    HeadgateError,
    Invalid,
    NotFound,
    OverQuota,
    Refused,
    StaleAttempt,
    Unavailable,
    UniqueKeyHeld,
)

__all__ = [
    "ENVELOPED",
    "BadRequest",
    "ErrorBody",
    "ErrorEnvelope",
    "Fault",
    "NoSuchRange",
    "NotAllowed",
    "Refusal",
    "TooLarge",
    "Wording",
    "code_of",
    "envelope",
    "refusal_of",
    "status_of",
]


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """`code` is one of the table in the reference; `details.reason` is the engine's own, finer code."""

    code: str
    message: str
    details: dict[str, Any] = {}


class ErrorEnvelope(msgspec.Struct, frozen=True):
    """Every answer that is no success."""

    error: ErrorBody


class BadRequest(Invalid):
    """The request cannot be read at all (400)."""

    code = "bad_request"


class TooLarge(Invalid):
    """The body is longer than is taken (413)."""

    code = "too_large"


class NoSuchRange(Invalid):
    """The file has no such part (416)."""

    code = "no_such_range"


class NotAllowed(Refused):
    """There is such a path, but not with this method (405)."""

    code = "method_not_allowed"

    def __init__(self, path: str, method: str, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(sorted(allowed))
        super().__init__(f"{path} takes {self.allowed}, not {method}.")


class Fault(HeadgateError):
    """A fault of ours (500); the log has more."""

    code = "internal_error"


class Refusal(NamedTuple):
    """An answer that is no success; the body is yet to be encoded."""

    status: int
    body: Any
    headers: tuple[tuple[str, str], ...] = ()


_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    414: "PAYLOAD_TOO_LARGE",
    416: "RANGE_NOT_SATISFIABLE",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMIT_EXCEEDED",
    431: "PAYLOAD_TOO_LARGE",
    500: "INTERNAL_ERROR",
    503: "SERVICE_UNAVAILABLE",
}


def status_of(error: HeadgateError) -> int:
    """Return the HTTP status of an error."""
    match error:
        case BadRequest():
            return 400
        case TooLarge():
            return 413
        case NoSuchRange():
            return 416
        case Invalid():
            return 422
        case Unauthorized():
            return 401
        case TooMany() | OverQuota():
            return 429
        case Forbidden():
            return 403
        case NotAllowed():
            return 405
        case NotFound():
            return 404
        case StaleAttempt() | Refused():
            return 409
        case Unavailable():
            return 503
        case _:
            return 500


def code_of(status: int) -> str:
    """Return the envelope's code for a status; what has none of its own is a request that cannot be read."""
    return _CODES.get(status, "BAD_REQUEST")


def envelope(error: HeadgateError) -> ErrorEnvelope:
    """Return an error as it travels."""
    return ErrorEnvelope(ErrorBody(code_of(status_of(error)), error.message, _details(error)))


def refusal_of(error: HeadgateError) -> Refusal:
    """Return what is answered to an error, in the envelope."""
    return Refusal(status_of(error), envelope(error), _headers(error))


def _headers(error: HeadgateError) -> tuple[tuple[str, str], ...]:
    """Return the headers that an error's answer has beside its body."""
    match error:
        case Unauthorized():
            return (("www-authenticate", "Bearer"),)
        case TooMany() | OverQuota():
            return (("retry-after", str(max(1, math.ceil(error.retry_after_seconds)))),)
        case Unavailable():
            return (("retry-after", "1"),)
        case NotAllowed():
            return (("allow", error.allowed),)
        case _:
            return ()


def _details(error: HeadgateError) -> dict[str, Any]:
    details: dict[str, Any] = {"reason": error.code}
    if isinstance(error, UniqueKeyHeld):
        details["workflow_id"] = error.run
    problems = error.problems if isinstance(error, Invalid) else ()
    if problems:
        fields: dict[str, list[str]] = {}
        for problem in problems:
            fields.setdefault(problem.path or "$", []).append(str(problem))
        details["field_errors"] = fields
        details["problems"] = msgspec.to_builtins(problems)
    return details


class Wording(NamedTuple):
    """In which words a route refuses: what makes them of an error, the type of their body, and the statuses of errors
    that any request may be answered with."""

    of: Callable[[HeadgateError], Refusal]
    body: Any
    statuses: tuple[int, ...]


ENVELOPED = Wording(refusal_of, ErrorEnvelope, (400, 401, 403, 413, 422, 429, 500, 503))
