"""The control socket's protocol as values: lines of JSON, whatever the verb, and errors as they travel. No socket here.

A request is `{id, verb, arguments}`; its answer `{id, result}` or `{id, error: {code, branch, message, problems}}`. The
verb `watch` is answered by any number of `{id, update}` and then `{id, end: true}` or an error. Requests of one
connection may be answered in any order. Where the socket is a loopback port, each request names the `token`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headgate.core.errors import HeadgateError, Invalid, NotFound, Problem, Refused, StaleAttempt, Unavailable

__all__ = [
    "LINE_BYTES_MAX",
    "Answer",
    "Branch",
    "OwnerGone",
    "Request",
    "WireError",
    "as_error",
    "error_of",
]

LINE_BYTES_MAX = 64 * 1024 * 1024
"""The longest line that either side reads: a run's input of 50 MB and its definition fit in."""

Branch = Literal["invalid", "refused", "unavailable"]


class OwnerGone(Unavailable):
    """The process at the other end has ended, or was never there."""

    code = "owner_gone"


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    id: int
    verb: str
    arguments: dict[str, Any] = {}
    token: str = ""


class WireError(msgspec.Struct, frozen=True, omit_defaults=True):
    code: str
    branch: Branch
    message: str
    problems: tuple[Problem, ...] = ()


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the owner's. Exactly one of `result`, `error`, `update` and `end` is there."""

    id: int
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: WireError | None = None
    update: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    end: bool = False


def error_of(error: HeadgateError) -> WireError:
    """Return an error as it travels: branch, code, message and problems are kept."""
    branch: Branch = "refused"
    if isinstance(error, Invalid):
        branch = "invalid"
    elif isinstance(error, Unavailable):
        branch = "unavailable"
    problems = error.problems if isinstance(error, Invalid) else ()
    return WireError(error.code, branch, error.message, problems)


def as_error(error: WireError) -> HeadgateError:
    """Return the error that travelled, in its branch and with its code."""
    if error.branch == "invalid":
        return _coded(Invalid, error.code)(error.message, error.problems)
    if error.branch == "unavailable":
        return _coded(Unavailable, error.code)(error.message)
    if error.code == StaleAttempt.code:
        return _ToldStale(error.message)
    return (NotFound if error.code == NotFound.code else _coded(Refused, error.code))(error.message)


class _ToldStale(StaleAttempt):
    """A `StaleAttempt` that travelled, in the words that it was told in."""

    def __init__(self, message: str) -> None:
        HeadgateError.__init__(self, message)


def _coded(branch: type[Any], code: str) -> type[Any]:
    return branch if code == branch.code else type(branch.__name__, (branch,), {"code": code})
