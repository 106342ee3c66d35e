"""What an activity's code is given, and how it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from headgate.core.errors import HeadgateError
from headgate.core.values import Assignment, Failure
from headgate.ports.worker import Admission, CallRequest, Settlement

__all__ = ["ActivityContext", "ActivityFunction", "Attempt"]


class ActivityContext(Protocol):
    """What an activity's code may use beside its parameters."""

    @property
    def task(self) -> Assignment: ...

    async def admit(self, request: CallRequest) -> tuple[str, Admission]:
        """Ask the gate for a model call; return the call's id and the answer (after waiting, if need be)."""
        ...

    async def settle(self, call_id: str, settlement: Settlement) -> None:
        """Say how the call ended. What is not settled when the attempt ends is forfeited: counted as spent."""
        ...

    async def begin_effect(self, what: str) -> None:
        """Say, before doing it, that something is done now that must not be done twice (`what`: for people). If the
        attempt is lost after this returns, the activity fails as `outcome_unknown` and is not tried again by itself.
        A failure that is raised counts as its code says: raise a retryable one only if it certainly was not done.
        A second call in the attempt does nothing. Raises `StaleAttempt`: the attempt is over, do nothing."""
        ...

    def stream(self, text: str) -> None:
        """Pass on a part of the output while it is made, to whoever watches; never waits, never fails."""
        ...

    def restart_stream(self) -> None:
        """Take back what was streamed so far: the text begins again. Nothing happens where nothing was."""
        ...

    def progress(self, value: Any) -> None:
        """Say how far the task is, in JSON of at most 4 kB; the newest goes along with the next heartbeat, within ten
        seconds, and stands in the run's `activities` until the attempt is over. Never waits, never fails."""
        ...

    def log(self, message: str, **fields: Any) -> None: ...


ActivityFunction = Callable[[dict[str, Any], ActivityContext], Any | Awaitable[Any]]
"""An activity's code: rendered parameters and context in, a JSON value out (or an awaitable of it).

It fails by raising: `Attempt.failed(...)` to choose code and retryability, any other exception is `activity_error`,
retryable as the definition says.
"""


class Attempt(HeadgateError):
    """Raised by an activity's code to end its attempt in a stated way."""

    code = "activity_error"

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure

    @classmethod
    def failed(
        cls, code: str, message: str, *, retryable: bool = True, retry_after_seconds: float | None = None
    ) -> Attempt:
        """Return the exception for a failed attempt; `retryable` False ends the activity at once."""
        return cls(Failure(code, message, retryable, retry_after_seconds))
