"""The events of a run: everything that was ever recorded about it, and the public format of the log.

The events of its model calls and budgets stand in `gate_events.py`.

A *fact* came from outside and holds all of its command; a *consequence* was derived from the facts before it. Replay
feeds the facts to the decider and compares the consequences. Stored bytes are never rewritten: a new field is
appended with a default, so that an old event still reads.

The envelope (the fields of `Event`) and an event's own fields are one row. Content (inputs, outputs, parameters,
messages) stands beside it and is named by a digest, so that it can be erased while the hash chain still holds.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from headgate.core.values import Failure, Usage

__all__ = [
    "SCHEMA",
    "ActivityCancelled",
    "ActivityCompleted",
    "ActivityFailed",
    "ActivityResolved",
    "ActivityScheduled",
    "ActivitySkipped",
    "ActivitySuspended",
    "ActivityWaiting",
    "ApprovalDecided",
    "AttemptFailed",
    "AttemptLost",
    "AttemptTimedOut",
    "CancelRequested",
    "ChildCorrected",
    "ChildFinished",
    "EdgeDecided",
    "EffectBegun",
    "Event",
    "Fact",
    "FanOutOpened",
    "LoopDecided",
    "MessageDelivered",
    "RetryScheduled",
    "RunCancelled",
    "RunCompleted",
    "RunFailed",
    "RunPaused",
    "RunResumed",
    "RunRetried",
    "RunStarted",
    "SignalDelivered",
    "SignalReceived",
    "TimerFired",
]

SCHEMA = 1
"""The revision of this format. Readers take any revision up to their own."""

WaitKind = Literal["delay", "signal", "timer", "approval", "child", "retry", "items"]
TimerKind = Literal["delay", "signal", "timer", "approval", "reminder", "retry", "deadline", "grace"]


class Event(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True, tag_field="type"):
    """The envelope. Times are microseconds since 1970 (UTC); `version` counts 1, 2, 3… within the run."""

    fact: ClassVar[bool] = False

    run_id: str
    version: int
    at: int
    tenant: str
    trace_id: str
    actor: str
    """Who caused it: `client`, `user:…`, `worker:…`, `timer`, `policy`, `engine`."""
    cause: str
    """The id of the command that caused it."""
    place: str
    attempt: int
    build: str
    patches: tuple[str, ...]
    key_id: str

    @property
    def type(self) -> str:
        """The event's name on the wire, such as `activity_completed`."""
        return str(self.__struct_config__.tag)


class Fact(Event, frozen=True, gc=False, array_like=True, tag=True):
    """An event that came from outside: its fields are the whole of its command."""

    fact: ClassVar[bool] = True


# --- The run -----------------------------------------------------------------------------------------------------


class RunStarted(Fact, frozen=True, gc=False, array_like=True, tag="run_started"):
    """A run began. Its content is the input."""

    workflow: str
    definition: str
    """The definition's version (content hash)."""
    decider: int
    """The revision of `decide` that this run is decided by for as long as it lives."""
    mode: Literal["realtime", "batch"] = "realtime"
    limit: int | None = None
    """The run's budget in nano-dollars, where the start gave one (else the definition's holds)."""
    outer: tuple[str, ...] = ()
    """Ids of the budgets above this run's own, of which every call reserves as well."""
    parent_run: str = ""
    parent_place: str = ""
    parent_attempt: int = 0
    labels: dict[str, str] = {}
    unique_key: str = ""


class RunCompleted(Event, frozen=True, gc=False, array_like=True, tag="run_completed"):
    """Every activity has ended, no failure went unhandled. Its content is the workflow's `outputs`, if it has any."""


class RunFailed(Event, frozen=True, gc=False, array_like=True, tag="run_failed"):
    """The run ended without success; what was not finished is cancelled."""

    code: str
    message: str


class RunCancelled(Event, frozen=True, gc=False, array_like=True, tag="run_cancelled"):
    """A cancelled run has nothing out any more, or its grace is over."""


class CancelRequested(Fact, frozen=True, gc=False, array_like=True, tag="cancel_requested"):
    """Somebody wants the run to end. `out` are the places that workers were busy with: they are waited for."""

    reason: str = ""
    out: tuple[str, ...] = ()


class RunPaused(Fact, frozen=True, gc=False, array_like=True, tag="run_paused"):
    """Nothing new is handed out until the run is resumed."""

    reason: str = ""


class RunResumed(Fact, frozen=True, gc=False, array_like=True, tag="run_resumed"):
    """A pause is over."""


class RunRetried(Fact, frozen=True, gc=False, array_like=True, tag="run_retried"):
    """A failed or cancelled run goes on from what failed; what is completed stays."""


# --- Activities --------------------------------------------------------------------------------------------------


class ActivityScheduled(Event, frozen=True, gc=False, array_like=True, tag="activity_scheduled"):
    """This attempt of the place is a task now."""

    iteration: int = 0


class ActivityWaiting(Event, frozen=True, gc=False, array_like=True, tag="activity_waiting"):
    """The activity is ready but for a delay, a signal, or a person whom a policy asks (`name` says why; with an
    attempt, the call of that attempt was stopped). `until` is a time, or None for ever."""

    kind: WaitKind
    until: int | None = None
    name: str = ""
    iteration: int = 0


class ActivitySuspended(Fact, frozen=True, gc=False, array_like=True, tag="activity_suspended"):
    """A native activity took its parameters (the content) and now waits for a time, a person or a child run."""

    kind: WaitKind
    until: int | None = None
    on_timeout: Literal["fail", "approve", "reject", "continue"] = "fail"
    child_run: str = ""
    child_definition: str = ""
    child_limit: int | None = None
    input_hash: str = ""
    remind_every: int = 0
    """Of an approval: after how long, again and again, people are reminded (microseconds); 0: never."""


class FanOutOpened(Event, frozen=True, gc=False, array_like=True, tag="fan_out_opened"):
    """A `for_each` was evaluated; the content is the list of its items."""

    count: int
    iteration: int = 0


class ActivityCompleted(Fact, frozen=True, gc=False, array_like=True, tag="activity_completed"):
    """A worker reported this attempt's output (the content), and it was the first report for the attempt."""

    worker: str = ""
    started_at: int = 0
    input_hash: str = ""
    cost: int = 0
    """Nano-dollars that the worker reported beside the calls settled one by one."""
    usage: tuple[Usage, ...] = ()
    cached: bool = False
    """The output is that of an equal attempt before it: nothing ran, nobody was asked."""
    saved: int = 0
    """Nano-dollars that the reused attempt cost; 0 where that is not known."""
    simulated: bool = False
    """`saved` is at the notional prices of demo models."""


class ActivityResolved(Event, frozen=True, gc=False, array_like=True, tag="activity_resolved"):
    """The engine itself completed the activity: a wait is over, a person decided, a child or all items finished.

    `of` is the version of the event whose content is the output; 0: this event's own content; -1: the items' outputs.
    """

    of: int = 0
    cost: int = 0


class EffectBegun(Fact, frozen=True, gc=False, array_like=True, tag="effect_begun"):
    """An attempt is about to do what must not be done twice (a mail, a request that is not a GET). Should it be lost
    from here on, nobody knows whether that was done: it fails as `outcome_unknown`."""

    what: str = ""


class AttemptFailed(Fact, frozen=True, gc=False, array_like=True, tag="attempt_failed"):
    """A worker reported that this attempt failed."""

    error: Failure
    worker: str = ""
    started_at: int = 0
    input_hash: str = ""
    cost: int = 0
    usage: tuple[Usage, ...] = ()


class AttemptTimedOut(Fact, frozen=True, gc=False, array_like=True, tag="attempt_timed_out"):
    """The attempt ran longer than its activity's `timeout_seconds`."""

    seconds: float
    started_at: int = 0


class AttemptLost(Fact, frozen=True, gc=False, array_like=True, tag="attempt_lost"):
    """The worker that held the attempt is gone; it does not count against `max_attempts`."""

    reason: str


class RetryScheduled(Event, frozen=True, gc=False, array_like=True, tag="retry_scheduled"):
    """The failed attempt leads to another one at `until`."""

    until: int
    message: str


class ActivityFailed(Event, frozen=True, gc=False, array_like=True, tag="activity_failed"):
    """The place has failed for good."""

    code: str
    message: str
    details: dict[str, object] | None = None


class ActivitySkipped(Event, frozen=True, gc=False, array_like=True, tag="activity_skipped"):
    """The activity will not run (in this iteration), because."""

    reason: str
    iteration: int = 0


class ActivityCancelled(Event, frozen=True, gc=False, array_like=True, tag="activity_cancelled"):
    """The place was open when its run was cancelled."""


# --- What was concluded -------------------------------------------------------------------------------------------


class EdgeDecided(Event, frozen=True, gc=False, array_like=True, tag="edge_decided"):
    """A conditional edge was looked at. `place` is the activity that it leads to."""

    edge: int
    applied: bool
    source: str = ""


class LoopDecided(Event, frozen=True, gc=False, array_like=True, tag="loop_decided"):
    """All of a loop's body has ended: it goes round again, or is over. `place` is the loop's head."""

    loop: int
    again: bool
    reason: str = ""


# --- From outside --------------------------------------------------------------------------------------------------


class TimerFired(Fact, frozen=True, gc=False, array_like=True, tag="timer_fired"):
    """A time has come that the run had set."""

    kind: TimerKind


class SignalReceived(Fact, frozen=True, gc=False, array_like=True, tag="signal_received"):
    """A signal came (the content is its data); `key` names the activity it is for, or is empty."""

    name: str
    key: str = ""


class SignalDelivered(Event, frozen=True, gc=False, array_like=True, tag="signal_delivered"):
    """The signal of version `of` is this place's, and nobody else's."""

    of: int


class ApprovalDecided(Fact, frozen=True, gc=False, array_like=True, tag="approval_decided"):
    """A person decided; the content is the activity's output: `{approved, by, at, comment, data}`."""

    approved: bool
    by: str = ""


class ChildFinished(Fact, frozen=True, gc=False, array_like=True, tag="child_finished"):
    """A child run ended; the content is its outputs."""

    child_run: str
    status: str
    cost: int = 0
    error: Failure | None = None


class ChildCorrected(Fact, frozen=True, gc=False, array_like=True, tag="child_corrected"):
    """What a child run cost has changed after its end: a call of it was settled late, or it was retried."""

    child_run: str
    of: int
    amount: int


class MessageDelivered(Fact, frozen=True, gc=False, array_like=True, tag="message_delivered"):
    """A message of this run has been accepted by whom it was for."""

    message: str
