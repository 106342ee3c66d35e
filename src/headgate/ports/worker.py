"""What a worker may say to the engine, and what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from headgate.core.values import Assignment, CallError, Candidate, Failure, PassedOver, RateReport, Usage, Verdict
from headgate.ports.queue import Task

__all__ = [
    "Acknowledged",
    "Admission",
    "Admitted",
    "CallRequest",
    "Completed",
    "Denied",
    "Failed",
    "Hit",
    "Kept",
    "Report",
    "Settlement",
    "WorkerHost",
    "WorkerProtocol",
]


class Completed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A worker's report: this claim's output (any JSON value), and the usage that was not settled call by call."""

    activity_id: str
    output: Any = None
    usage: tuple[Usage, ...] = ()


class Failed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A worker's report: this claim failed."""

    activity_id: str
    error: Failure
    usage: tuple[Usage, ...] = ()


Report = Completed | Failed


class Acknowledged(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The engine has durably recorded a report (or had done so before). `stale`: it was of no use, for the attempt is
    no longer the current one; `will_retry`: the failure leads to another attempt."""

    activity_id: str
    stale: str = ""
    will_retry: bool = False


class CallRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model call that an attempt asks the gate for: what is asked (by its hash), and of whom, in order of preference.

    `passed_over` are models that the author's list had before these; `verdicts` what the policies made of the text.
    `pause_seconds`: it is another try of what has just failed, and is not to be made before.
    `reuse` asks for the answers of equal calls: the hash of what is asked, as it would leave and without the model; of
    an embedding one hash for each text. Empty: the activity does not cache.
    """

    request_hash: str
    candidates: tuple[Candidate, ...]
    passed_over: tuple[PassedOver, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    pause_seconds: float = 0.0
    reuse: tuple[str, ...] = ()
    max_cost: int | None = None
    """The most that this one call may cost, in nano-dollars."""


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer to be kept for equal calls (any JSON value), and its share of what the call cost, beside the others'
    shares."""

    answer: Any
    share: int = 1


class Settlement(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a call ended: `used` with its `usage`, `never_sent` (nothing was done for us), or `lost` (nobody knows).

    `answers` are to be kept: one for each hash that the request had in `reuse`, or none.
    """

    outcome: Literal["used", "never_sent", "lost"]
    usage: Usage | None = None
    error: CallError | None = None
    verdicts: tuple[Verdict, ...] = ()
    rates: RateReport | None = None
    """What the provider said of its rates; it is learnt from, and not recorded."""
    answers: tuple[Kept, ...] = ()
    """What of the answer is to be kept for equal calls; it is not recorded."""

    @classmethod
    def used(cls, usage: Usage, *, rates: RateReport | None = None, answers: tuple[Kept, ...] = ()) -> Settlement:
        """Return the settlement of a call that was answered."""
        return cls("used", usage, rates=rates, answers=answers)


class Admitted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call may go to `model`; `reservation` nano-dollars are set aside for it until it is settled."""

    model: str
    reservation: int
    skipped: tuple[str, ...] = ()
    """Models before it in the list that did not fit the budget."""


class Hit(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call need not be made: these are the answers of equal calls to `model`, one for each hash of the request's
    `reuse`; None where there is none (at least one is there), which is to be asked for anew."""

    model: str
    answers: tuple[Any, ...]


class Denied(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call may not be made."""

    error: Failure


Admission = Admitted | Hit | Denied


class WorkerProtocol(Protocol):
    """All that a worker may say to the engine: in process, and later over HTTP, the same object.

    What every implementation keeps true: a claim is known by its `activity_id` alone; a report that is repeated
    changes nothing; a report is durable before it is acknowledged; `admit` returns only when there is an answer
    (it waits where only other calls' reservations keep the call out).
    """

    async def poll(
        self, queues: Sequence[str], *, worker_id: str, count: int, wait_seconds: float
    ) -> list[Assignment]: ...

    async def heartbeat(self, activity_id: str, *, worker_id: str, progress: Any = None) -> float:
        """Keep the lease; return the seconds until the next heartbeat is due. Raises `StaleAttempt`: stop working."""
        ...

    async def report(self, reports: Sequence[Report], *, worker_id: str) -> list[Acknowledged]: ...

    async def admit(self, activity_id: str, *, call_id: str, request: CallRequest) -> Admission: ...

    async def settle(self, activity_id: str, *, call_id: str, settlement: Settlement) -> None: ...

    async def begin_effect(self, activity_id: str, *, what: str) -> None:
        """Make durable that the attempt is about to do what must not be done twice. Raises `StaleAttempt`: do not."""
        ...

    def stream(self, activity_id: str, text: str) -> None:
        """Pass on tokens of the attempt's output as they come; never blocks, never fails."""
        ...

    def restart_stream(self, activity_id: str) -> None:
        """What was streamed of this attempt is void: its text begins again. Never blocks, never fails."""
        ...


class WorkerHost(WorkerProtocol, Protocol):
    """The worker protocol as a process has it that hands out tasks: it knows what a worker's silence means, and what is
    missing of what it streams."""

    async def poll(
        self,
        queues: Sequence[str],
        *,
        worker_id: str,
        count: int,
        wait_seconds: float,
        heartbeats: bool | None = None,
    ) -> list[Assignment]:
        """Return tasks. `heartbeats`: whether this worker says that it keeps them by heartbeats. Told either way, what
        it is silent about for too long is lost; None: it is kept by its process or its connection."""
        ...

    async def claim_of(self, task: Task, *, worker_id: str) -> str:
        """Return the `activity_id` of the worker's claim of an attempt; `worker_id` empty: of whoever holds it. Where
        there is none, it is one of a claim that is over: its outcome is still taken if the attempt is the current
        one."""
        ...

    def stream(self, activity_id: str, text: str, offset: int | None = None) -> None:
        """The same. `offset`: how many bytes the worker has streamed of the attempt before this piece, each restart
        counting as one. What comes again is let be; a text of which something has not come here is taken back, and its
        readers get the result."""
        ...

    def restart_stream(self, activity_id: str, offset: int | None = None) -> None:
        """The same; a restart that comes again is let be, and after one nothing is missing."""
        ...

    def progress_of(self, run_id: str) -> dict[str, Any]:
        """Return what workers have said to this process of a run's tasks under way, by place."""
        ...
