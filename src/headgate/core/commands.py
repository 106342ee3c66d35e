"""What can be asked of a run. A command brings its own time, its id, and any random id that it needs.

Each command is decided to one fact (an event that holds all of it) and whatever follows, or to nothing.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headgate.core.values import CallError, Candidate, Failure, PassedOver, SharedBudget, Usage, Verdict

__all__ = [
    "AdmitCall",
    "BeginEffect",
    "Cancel",
    "Command",
    "CompleteActivity",
    "ConfirmMessage",
    "CorrectChild",
    "DecideApproval",
    "FailActivity",
    "FinishChild",
    "ForgetWaiting",
    "FreeBudget",
    "LoseAttempt",
    "Pause",
    "RaiseBudget",
    "RefuseCalls",
    "Resume",
    "Retry",
    "ReuseCall",
    "SettleCall",
    "Signal",
    "StartRun",
    "SuspendActivity",
    "Tick",
    "TimeOutAttempt",
]


class Command(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True):
    """`at` is the time in microseconds since 1970; `actor` says who asks; `command_id` is the key for repeats, and
    `fingerprint` tells a repeat from something else under the same key (empty: whatever it is, it is a repeat)."""

    at: int
    command_id: str = ""
    fingerprint: str = ""
    actor: str = "client"


class StartRun(Command, frozen=True, gc=False, tag=True):
    """Begin the run. Repeated on a run that has begun, it does nothing."""

    workflow: str
    definition: str
    trace_id: str
    input: Any = None
    tenant: str = "default"
    mode: Literal["realtime", "batch"] = "realtime"
    limit: int | None = None
    outer: tuple[str, ...] = ()
    parent_run: str = ""
    parent_place: str = ""
    parent_attempt: int = 0
    labels: dict[str, str] = {}
    unique_key: str = ""
    decider: int = 0
    """The revision of the rules that the run is decided by; 0: the newest."""


class CompleteActivity(Command, frozen=True, gc=False, tag=True):
    """A worker's result for one attempt."""

    place: str
    attempt: int
    output: Any
    encoded: bytes = b""
    """The output as `codec.content_bytes` gives it, where the caller has it; else it is made again."""
    worker: str = ""
    started_at: int = 0
    input_hash: str = ""
    cost: int = 0
    usage: tuple[Usage, ...] = ()
    cached: bool = False
    saved: int = 0
    simulated: bool = False


class BeginEffect(Command, frozen=True, gc=False, tag=True):
    """The attempt is about to do what must not be done twice; it does so once this is durable."""

    place: str
    attempt: int
    what: str = ""


class FailActivity(Command, frozen=True, gc=False, tag=True):
    """A worker's failure of one attempt."""

    place: str
    attempt: int
    error: Failure
    worker: str = ""
    started_at: int = 0
    input_hash: str = ""
    cost: int = 0
    usage: tuple[Usage, ...] = ()


class TimeOutAttempt(Command, frozen=True, gc=False, tag=True):
    """The attempt has run for longer than it may."""

    place: str
    attempt: int
    seconds: float
    started_at: int = 0


class LoseAttempt(Command, frozen=True, gc=False, tag=True):
    """Whoever worked on the attempt is gone."""

    place: str
    attempt: int
    reason: str


class SuspendActivity(Command, frozen=True, gc=False, tag=True):
    """A native activity's parameters are rendered: what it waits for is known now."""

    place: str
    attempt: int
    kind: Literal["timer", "approval", "child"]
    parameters: Any = None
    until: int | None = None
    on_timeout: Literal["fail", "approve", "reject", "continue"] = "fail"
    child_run: str = ""
    child_definition: str = ""
    child_limit: int | None = None
    input_hash: str = ""
    remind_every: int = 0


class Tick(Command, frozen=True, gc=False, tag=True):
    """It is `at` now: whatever the run had set a timer for until then is due."""


class Signal(Command, frozen=True, gc=False, tag=True):
    """A signal by name, for one activity (`key`) or for whichever waits for that name first."""

    name: str
    key: str = ""
    data: Any = None


class DecideApproval(Command, frozen=True, gc=False, tag=True):
    """A person's decision on an approval. `key` may be empty where only one is open."""

    key: str = ""
    approved: bool = True
    by: str = ""
    comment: str = ""
    data: Any = None


class FinishChild(Command, frozen=True, gc=False, tag=True):
    """A child run tells its parent how it ended."""

    place: str
    attempt: int
    child_run: str
    status: str
    output: Any = None
    cost: int = 0
    error: Failure | None = None


class CorrectChild(Command, frozen=True, gc=False, tag=True):
    """A child run tells its parent what its event `of` has changed of its cost after its end, in nano-dollars."""

    place: str
    attempt: int
    child_run: str
    of: int
    amount: int


class ConfirmMessage(Command, frozen=True, gc=False, tag=True):
    """Whom the message was for has accepted it."""

    message: str


class Cancel(Command, frozen=True, gc=False, tag=True):
    """End the run. `out` are the places that workers are busy with at this moment."""

    reason: str = ""
    out: tuple[str, ...] = ()


class Pause(Command, frozen=True, gc=False, tag=True):
    """Hand out nothing new."""

    reason: str = ""


class Resume(Command, frozen=True, gc=False, tag=True):
    """Undo a pause."""


class Retry(Command, frozen=True, gc=False, tag=True):
    """Go on with a failed or cancelled run from what failed."""


class AdmitCall(Command, frozen=True, gc=False, tag=True):
    """Ask for a model call. `over` is what an outer budget said when the first decision met it (see admission)."""

    place: str
    attempt: int
    call_id: str
    request_hash: str
    candidates: tuple[Candidate, ...]
    over: tuple[str, int, int, int] | None = None
    passed_over: tuple[PassedOver, ...] = ()
    """Models that the list had before these: what was wrong with them."""
    verdicts: tuple[Verdict, ...] = ()
    max_cost: int | None = None
    """The most that this one call may cost."""
    shared: tuple[SharedBudget, ...] = ()
    """The budgets above the run that concern the call, as they stand."""


class SettleCall(Command, frozen=True, gc=False, tag=True):
    """Say how an admitted call ended."""

    call_id: str
    outcome: Literal["used", "never_sent", "lost"]
    usage: Usage | None = None
    error: CallError | None = None
    verdicts: tuple[Verdict, ...] = ()


class ReuseCall(Command, frozen=True, gc=False, tag=True):
    """Take the kept answer of an equal call to `model` in the place of a call; it had cost `saved` nano-dollars."""

    place: str
    attempt: int
    call_id: str
    request_hash: str
    model: str
    saved: int = 0
    simulated: bool = False
    verdicts: tuple[Verdict, ...] = ()


class FreeBudget(Command, frozen=True, gc=False, tag=True):
    """A call that waits may have room now; `over` and `shared` as in `AdmitCall`. A `call_id` that is empty means the
    first one that waits (logs of before budgets had lines of their own)."""

    budget: str
    over: tuple[str, int, int, int] | None = None
    call_id: str = ""
    shared: tuple[SharedBudget, ...] = ()


class RaiseBudget(Command, frozen=True, gc=False, tag=True):
    """Raise the limit of the run, or of one activity, to so many nano-dollars."""

    limit: int
    key: str = ""
    by: str = ""


class RefuseCalls(Command, frozen=True, gc=False, tag=True):
    """Refuse the calls that wait for a person to raise a limit: all of the run, or of one activity."""

    key: str = ""
    by: str = ""


class ForgetWaiting(Command, frozen=True, gc=False, tag=True):
    """The process in which calls waited for money has ended: they are forgotten, and their attempts ask anew."""

    reason: str
