"""Errors as they travel over HTTP: one envelope, a status by what the caller should do, stable codes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
    "BadRequest",
    "ErrorBody",
    "ErrorEnvelope",
    "NoSuchRange",
    "NotAllowed",
    "TooLarge",
    "body_of",
    "envelope",
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


_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    416: "RANGE_NOT_SATISFIABLE",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMIT_EXCEEDED",
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


def envelope(error: HeadgateError) -> ErrorEnvelope:
    """Return an error as it travels."""
    return body_of(status_of(error), error.message, _details(error))


def body_of(status: int, message: str, details: dict[str, Any] | None = None) -> ErrorEnvelope:
    """Return the envelope for a status."""
    return ErrorEnvelope(ErrorBody(_CODES[status], message, details or {}))


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
