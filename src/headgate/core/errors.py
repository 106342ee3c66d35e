"""What can go wrong, in three branches by what the caller should do about it.

*Invalid*: mend the request. *Refused*: not now, not like this, or not you. *Unavailable*: ask again later.
Every error has a stable `code` for programs and a message for people: what happened, with the values, then
what to do.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "HeadgateError",
    "Invalid",
    "NotFound",
    "OverQuota",
    "Problem",
    "Refused",
    "StaleAttempt",
    "Unavailable",
    "UniqueKeyHeld",
]

import msgspec


class HeadgateError(Exception):
    """The root of every error that Headgate raises on purpose."""

    code: ClassVar[str] = "error"

    @property
    def message(self) -> str:
        return str(self)


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with an input, and where: a line and column, a JSON path, or both."""

    message: str
    path: str = ""
    line: int | None = None
    column: int | None = None
    source: str = ""

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.source, self.line, self.column) if part not in ("", None))
        return f"{where}: {self.message}" if where else self.message


class Invalid(HeadgateError):
    """The request is wrong and will stay wrong: mend it (HTTP 400 or 422)."""

    code = "invalid"

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class Refused(HeadgateError):
    """The request is well formed but not possible now, or not for this caller (401, 403, 404, 409, 429)."""

    code = "refused"


class NotFound(Refused):
    """There is no such thing, or not for this caller (404)."""

    code = "not_found"


class UniqueKeyHeld(Refused):
    """A run that is not over, or is completed, has the unique key (409); `run` is its id."""

    code = "unique_key_held"

    def __init__(self, key: str, run: str, status: str) -> None:
        super().__init__(f"The unique key {key!r} is held by run {run}, which is {status}.")
        self.run = run


class OverQuota(Refused):
    """A tenant has used up what it may use (429); `retry_after_seconds` is when there may be room again."""

    code = "over_quota"

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(HeadgateError):
    """Nothing is wrong with the request; ask again (503)."""

    code = "unavailable"


class StaleAttempt(Refused):
    """A worker speaks of an attempt that nobody waits for any more. `run_status`: of its run, where that is known."""

    code = "stale_attempt"

    def __init__(self, run_id: str, place: str, *, reported: int, current: int, run_status: str = "") -> None:
        attempt = f"attempt {reported} of activity {place!r}"
        match run_status:
            case "cancelling" | "cancelled":
                told = f"Run {run_id!r} was cancelled: stop working on {attempt}, and discard its result."
            case "completed" | "failed":
                told = f"Run {run_id!r} is {run_status}, and waits for {attempt} no more; discard this result."
            case _ if current != reported:
                told = (
                    f"Activity {place!r} of run {run_id!r} no longer waits for attempt {reported} "
                    f"(it stands at attempt {current}). Another worker has taken or settled it; discard this result."
                )
            case _:
                told = (
                    f"Whoever says so has {attempt} of run {run_id!r} no more: it is over, or was given to another "
                    "worker after too long a silence; discard this result."
                )
        super().__init__(told)
