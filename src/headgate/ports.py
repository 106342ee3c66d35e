"""The seams: what the engine asks of the world, and what the world may ask of the engine. Protocols and their values.

Floor 2 (engine, activities, stores, queues, llm, client) meets only here; nothing in this file does I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from headgate.core.errors import HeadgateError
from headgate.core.values import Assignment, Candidate, Failure, Price, Usage
from headgate.core.view import RunSummary, RunView

__all__ = [
    "Acknowledged",
    "ActivityContext",
    "ActivityFunction",
    "Admission",
    "Admitted",
    "Append",
    "Attempt",
    "Cache",
    "Changed",
    "Claim",
    "Client",
    "Clock",
    "Collected",
    "Completed",
    "Deletion",
    "Denied",
    "EmbeddingAnswer",
    "Erased",
    "Erasure",
    "EventRow",
    "EventView",
    "Failed",
    "Files",
    "FinishReason",
    "Head",
    "Hit",
    "Keeping",
    "KeptLog",
    "Log",
    "Message",
    "ModelAnswer",
    "ModelProvider",
    "ModelRequest",
    "Move",
    "NewEvent",
    "Outcome",
    "OverBudget",
    "ProviderError",
    "Providers",
    "Queue",
    "Report",
    "Reusable",
    "RunRow",
    "Schedule",
    "Schedules",
    "SpendRow",
    "SpendTotal",
    "SpendWanted",
    "StartRequest",
    "Task",
    "Tokens",
    "ToolCall",
    "Update",
    "WorkerProtocol",
]


# --- Workers -----------------------------------------------------------------------------------------------------


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


class Admitted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call may go to `model`; `reservation` nano-dollars are set aside for it until it is settled."""

    model: str
    reservation: int
    skipped: tuple[str, ...] = ()
    """Models before it in the list that did not fit the budget."""


class Hit(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call need not be made: this is the response of an equal one."""

    response: Any


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

    async def admit(
        self, activity_id: str, *, call_id: str, request_hash: str, candidates: Sequence[Candidate]
    ) -> Admission: ...

    async def settle(
        self, activity_id: str, *, call_id: str, outcome: Usage | Literal["lost", "never_sent"]
    ) -> None: ...

    async def begin_effect(self, activity_id: str, *, what: str) -> None:
        """Make durable that the attempt is about to do what must not be done twice. Raises `StaleAttempt`: do not."""
        ...

    def stream(self, activity_id: str, text: str) -> None:
        """Pass on tokens of the attempt's output as they come; never blocks, never fails."""
        ...


# --- Activities --------------------------------------------------------------------------------------------------


class ActivityContext(Protocol):
    """What an activity's code may use beside its parameters."""

    @property
    def task(self) -> Assignment: ...

    async def admit(self, *, request_hash: str, candidates: Sequence[Candidate]) -> tuple[str, Admission]:
        """Ask the gate for a model call; return the call's id and the answer (after waiting, if need be)."""
        ...

    async def settle(self, call_id: str, outcome: Usage | Literal["lost", "never_sent"]) -> None:
        """Say how the call ended. What is not settled when the attempt ends is forfeited: counted as spent."""
        ...

    async def begin_effect(self, what: str) -> None:
        """Say, before doing it, that something is done now that must not be done twice (`what`: for people). If the
        attempt is lost after this returns, the activity fails as `outcome_unknown` and is not tried again by itself.
        A failure that is raised counts as its code says: raise a retryable one only if it certainly was not done.
        A second call in the attempt does nothing. Raises `StaleAttempt`: the attempt is over, do nothing."""
        ...

    def stream(self, text: str) -> None: ...

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


# --- Models ------------------------------------------------------------------------------------------------------


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call of a tool that the model asks for."""

    id: str
    name: str
    arguments: dict[str, Any]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation, in the least form that all providers share."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    images: tuple[str, ...] = ()
    """What is to be looked at beside the text: URLs, `data:` URLs among them."""


class ModelRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is asked of a model. `model` is the name without its provider; `activity_key` names who asks (scripts)."""

    model: str
    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: tuple[str, ...] = ()
    response_schema: dict[str, Any] | None = None
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | dict[str, Any] | None = None
    seed: int | None = None
    extra: dict[str, Any] = {}
    activity_key: str = ""
    timeout_seconds: float | None = None
    reasoning: str = ""
    """How much the model is to think before it answers, in its vendor's words: low, medium, high …"""
    drop_unsupported: bool = False
    """What the model refuses may be left out; the answer's `notes` say what was."""


FinishReason = Literal["Stop", "MaxTokens", "ToolUse", "ContentFilter", "Error"]


class ModelAnswer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a model answered. `model` is the one that answered, as the provider names it."""

    content: str
    model: str
    usage: Usage
    finish_reason: FinishReason = "Stop"
    tool_calls: tuple[ToolCall, ...] = ()
    notes: tuple[str, ...] = ()
    """Where the model was asked something else than the request says, a sentence each."""


class EmbeddingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One vector per input text, in order."""

    embeddings: tuple[tuple[float, ...], ...]
    model: str
    usage: Usage


class ProviderError(HeadgateError):
    """A model call that did not give an answer.

    `status` is the HTTP status or 0 (no answer at all: then `sent` says whether the request may have left).
    `usage` is what the provider reported all the same. `retryable`: the same call may go well later.
    """

    code = "provider_error"

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "provider_error",
        retryable: bool = False,
        sent: bool = True,
        retry_after_seconds: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = code
        self.retryable = retryable
        self.sent = sent
        self.retry_after_seconds = retry_after_seconds
        self.usage = usage


class ModelProvider(Protocol):
    """A family of models behind one name (`openai/…`). Never retries: the engine owns retries."""

    @property
    def name(self) -> str: ...

    async def request(self, request: ModelRequest) -> ModelAnswer:
        """Make the call. Raises `ProviderError`."""
        ...

    def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        """Yield text as it comes, then the whole answer, once, as the last item. Raises `ProviderError`."""
        ...

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer: ...

    def price(self, model: str) -> Price | None:
        """Return the price of `model`, or None where it is not known."""
        ...

    def count(self, request: ModelRequest) -> int:
        """Return an upper estimate of the request's input tokens."""
        ...


Providers = Mapping[str, ModelProvider]


# --- The log -----------------------------------------------------------------------------------------------------


class EventRow(NamedTuple):
    """One event as stored. `pos` is its global position (0 before it is stored); `content` None: none, or elsewhere."""

    pos: int
    run: int
    version: int
    at: int
    type: str
    data: bytes
    hash: bytes
    content: bytes | None


NewEvent = tuple[int, int, int, str, bytes, bytes, bytes | None]
"""An `EventRow` before it has a position: run, version, at, type, data, hash, content."""


class Head(NamedTuple):
    """What the log knows of a run beside its events: enough to list it, to find it in time, and to append to it."""

    status: str
    version: int
    hash: bytes
    attention_at: int | None
    tasks: int
    cost: int
    reserved: int
    updated_at: int
    finished_at: int | None
    error: str
    simulated: bool = False
    """At least one call had a notional price (demo models)."""


class RunRow(msgspec.Struct, frozen=True):
    """A run as the log lists it. `key` is the log's own number for it; `content_key` keys its digests."""

    key: int
    id: str
    tenant: str
    workflow: str
    definition: str
    trace_id: str
    parent: str
    unique_key: str
    labels: str
    limit: int | None
    content_key: bytes
    created_at: int
    head: Head

    @property
    def erased(self) -> bool:
        """Whether the run's contents were erased; then the key that its digests were made with is gone, too."""
        return not self.content_key


class Move(msgspec.Struct, frozen=True):
    """A change of a shared budget, in nano-dollars. `limit` given: the budget is made if there is none."""

    budget: str
    reserve: int = 0
    spend: int = 0
    limit: int | None = None


class SpendRow(NamedTuple):
    """What one call, forfeit or report of a run cost, in nano-dollars; `part` counts the rows of event `version`.

    `kind`: `call` (settled), `forfeit` (a reservation that counts as spent; taken back with a negative cost when the
    call is settled after all), `reported` (by a worker, of its own), `cached` (nothing was spent, `saved` was not).
    `price` is the JSON of the `Price` that `cost` was reckoned with, or empty; `labels` is JSON, too.
    """

    version: int
    part: int
    at: int
    tenant: str
    workflow: str
    run_id: str
    activity: str
    place: str
    attempt: int
    call_id: str
    kind: str
    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    estimated: bool
    cost: int
    saved: int
    price: str
    simulated: bool
    labels: str
    prompt: str


class SpendWanted(msgspec.Struct, frozen=True):
    """Which spend rows are meant: of these runs and the runs below them (none named: of all), from `since` until
    before `until` (microseconds), with all of these labels."""

    runs: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    workflow: str = ""
    labels: dict[str, str] = {}


class SpendTotal(NamedTuple):
    """What rows of one name come to. Rows at demo prices are totals of their own: `simulated`."""

    name: str
    simulated: bool
    calls: int
    hits: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost: int
    saved: int


class Append(msgspec.Struct):
    """One run's next events, and all that must become true with them or not at all."""

    run: int
    expected_version: int
    rows: list[NewEvent]
    head: Head
    new: RunRow | None = None
    blobs: Sequence[tuple[bytes, bytes]] = ()
    moves: Sequence[Move] = ()
    commands: Sequence[tuple[str, str, int, bytes]] = ()
    """`(tenant, command id, at, answer)`: kept for a week, so that a repeat is answered as the first was."""
    size: int = 0
    spend: Sequence[SpendRow] = ()


class OverBudget(msgspec.Struct, frozen=True):
    """A shared budget did not admit the reservation."""

    budget: str
    limit: int
    spent: int
    reserved: int


Outcome = Literal["accepted", "version_conflict", "run_exists", "repeated"] | OverBudget | BaseException


class Log(Protocol):
    """The events of every run.

    What every log keeps true, tested by tests/conformance/test_log.py:

    1. An append is all or nothing, and is durable before it is accepted.
    2. Of two appends with the same `expected_version`, one gets `version_conflict` and leaves no trace.
    3. A refusal of one run (conflict, budget) does not touch the others of the batch.
    4. A follower sees every event once, each run's in order, however many writers there are.
    5. A budget's `spent + reserved` passes its limit by no reservation.
    """

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        """Append the batch in one transaction; one outcome per item. Raises `Unavailable`: nothing was written."""
        ...

    def new_key(self) -> int:
        """Return a number that no run has had."""
        ...

    async def run(self, run_id: str) -> RunRow | None: ...

    async def run_by_unique_key(self, tenant: str, unique_key: str) -> RunRow | None: ...

    async def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 100, before: int | None = None
    ) -> list[RunRow]:
        """Newest first; `before` is the key of the last one seen."""
        ...

    async def matching(self, prefix: str, limit: int = 2) -> list[str]:
        """Return run ids that begin with `prefix`."""
        ...

    async def busy(self, after: int, limit: int) -> list[RunRow]:
        """Return unfinished runs that hold tasks, by key: what a start has to take up again."""
        ...

    async def due(self, now: int, limit: int) -> list[str]:
        """Return the ids of runs whose `attention_at` has come."""
        ...

    async def next_attention(self, after: int) -> int | None:
        """Return the earliest `attention_at` later than `after`."""
        ...

    async def events(self, run: int, *, after: int = 0, limit: int = 100_000) -> list[EventRow]: ...

    async def feed(self, after: int, limit: int) -> list[EventRow]:
        """Return the next events of all runs behind position `after`."""
        ...

    async def contents(self, run: int, versions: Sequence[int]) -> dict[int, bytes]:
        """Return the contents of these events; an erased one is left out."""
        ...

    async def answer(self, tenant: str, command_id: str) -> bytes | None:
        """Return what a command of this id was answered, if it was made within the last week."""
        ...

    async def budget(self, budget: str) -> OverBudget | None: ...

    async def spend(self, run_id: str) -> list[SpendRow]:
        """Return the run's spend rows, in the order of its events."""
        ...

    async def spend_totals(self, by: str, wanted: SpendWanted) -> list[SpendTotal]:
        """Return what the wanted rows come to, dearest first. `by` is `activity`, `run`, `workflow`, `model`,
        `provider`, `day` (UTC), `prompt`, `kind`, or `label:` and a label's name."""
        ...

    async def replace_spend(self, run_id: str, rows: Sequence[SpendRow]) -> None:
        """Put these rows in the place of all rows of the run, at once. Raises `Unavailable`: nothing was changed."""
        ...

    async def save_definition(self, version: str, name: str, body: bytes, at: int) -> bool:
        """Keep a definition; return whether it is new. A repeat makes it the newest of its name again."""
        ...

    async def definition(self, name: str, version: str | None = None) -> tuple[str, bytes] | None:
        """Return `(version, body)` of a definition, the newest of the name unless `version` is given."""
        ...

    async def close(self) -> None: ...


# --- Keeping -----------------------------------------------------------------------------------------------------


class Deletion(msgspec.Struct, frozen=True):
    """A run that is not there any more: how long it was, what its head's hash was (hex), when, why and by whom."""

    run_id: str
    workflow: str
    version: int
    hash: str
    at: int
    why: str
    actor: str


class Erasure(msgspec.Struct, frozen=True):
    """A run whose contents were erased, at which version, when and by whom."""

    run_id: str
    version: int
    at: int
    actor: str


class Collected(msgspec.Struct, frozen=True, omit_defaults=True):
    """What retention deleted, or would delete. `more`: it stopped at its bound, with some left."""

    runs: int = 0
    events: int = 0
    spend: int = 0
    cached: int = 0
    files: int = 0
    more: bool = False

    def __add__(self, other: Collected) -> Collected:
        return Collected(
            self.runs + other.runs,
            self.events + other.events,
            self.spend + other.spend,
            self.cached + other.cached,
            self.files + other.files,
            self.more or other.more,
        )


class Erased(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an erasure came to. `texts`: events that hold words of people or programs beside their content, by type:
    they stay. `wal_left`: somebody was reading, so old pages stand in the WAL until the next checkpoint."""

    runs: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    """Runs that had been erased before; nothing was changed of them."""
    contents: int = 0
    files: int = 0
    texts: dict[str, int] = {}
    wal_left: bool = False


class Keeping(Protocol):
    """What a log offers to whoever deletes and erases. Each call is bounded, and safe to repeat after a crash."""

    async def expired(self, before: int, limit: int) -> list[str]:
        """Return runs that ended before `before` (microseconds) and that nothing needs, oldest first."""
        ...

    async def count_expired(self, before: int) -> Collected: ...

    async def delete(self, runs: Sequence[str], *, before: int, at: int, why: str, actor: str) -> Collected:
        """Delete those of `runs` that are still expired, then of what is deleted a bounded part: `more` says that
        events are left to the next call, which may name no runs."""
        ...

    async def trim(self, *, spend_before: int, cache_before: int, deletions_before: int) -> Collected:
        """Delete a bounded part of old spend rows, expired results and old records of deletions."""
        ...

    async def sweep_files(self, before: int, only: Sequence[str] | None = None) -> int:
        """Remove files last written before `before` that no kept run names (`only` these, by digest); return how many.
        Bounded."""
        ...

    async def labelled(self, name: str, value: str) -> list[str]: ...

    async def below(self, run_id: str) -> list[str]:
        """Return the run and all runs below it, itself first."""
        ...

    async def erase(self, run_id: str, *, at: int, actor: str) -> Erased:
        """Erase all contents of a finished run and destroy its key. Raises `Refused` for one that has not ended."""
        ...

    async def go_on_erasing(self) -> int:
        """Finish erasures that were interrupted; return how many."""
        ...

    async def files_of(self, run_id: str) -> list[str]:
        """Return the digests of kept files that the run's contents name."""
        ...

    async def clean(self) -> bool:
        """Fold the WAL into the file and empty it; False: a reader was in the way."""
        ...

    async def deletion(self, run_id: str) -> Deletion | None: ...

    async def deletions(self, limit: int) -> list[Deletion]: ...

    async def erasure(self, run_id: str) -> Erasure | None: ...

    async def gaps(self) -> list[tuple[int, str]]:
        """Return what no run's own chain can show: events of no run, and positions that no deletion explains."""
        ...


@runtime_checkable
class KeptLog(Protocol):
    """A log that outlives its process, and so has something to keep and to delete."""

    def keeping(self, folder: Path) -> Keeping:
        """Return the door to it; `folder` is where activities keep their files."""
        ...


# --- The cache ---------------------------------------------------------------------------------------------------


class Reusable(msgspec.Struct, frozen=True):
    """The output of an attempt (JSON bytes), kept for equal attempts until `expires_at` (microseconds).

    `saves` is what the attempt cost, in nano-dollars; workflow, activity and name say where it was made.
    """

    tenant: str
    key: bytes
    workflow: str
    activity: str
    name: str
    at: int
    expires_at: int
    saves: int
    output: bytes


class Cache(Protocol):
    """Results that may be used again. Any of them may be gone at any time: losing one costs a repetition, no more.

    What every cache keeps true, tested by tests/stores/test_cache.py:

    1. What is found is what was kept under that tenant and key, to the byte, and has not expired.
    2. Neither method waits or fails: what cannot be read is not found, what cannot be written is dropped.
    3. Size and number are bounded; what was used longest ago goes first.
    """

    def find(self, tenant: str, key: bytes, now: int) -> Reusable | None:
        """Return the result, and count the use."""
        ...

    def keep(self, kept: Reusable) -> None:
        """Keep a result; it replaces that of the same key. It is found from now on, and on the disk a little later."""
        ...

    async def close(self) -> None:
        """Write what is not written yet. Harmless when repeated."""
        ...


# --- Queue and clock ---------------------------------------------------------------------------------------------


class Task(NamedTuple):
    """One attempt of one place, waiting to be claimed."""

    queue: str
    run_id: str
    place: str
    attempt: int


class Claim(msgspec.Struct, gc=False):
    """A task in the hands of a worker, until `lease_until` and at most until `deadline` (microseconds)."""

    activity_id: str
    task: Task
    worker_id: str
    claimed_at: int
    lease_until: int
    deadline: int


class Queue(Protocol):
    """Tasks on their way to workers: a projection of the log, which may be dropped and rebuilt at any time."""

    def put(self, task: Task) -> None:
        """Offer a task. Offering one that is offered or claimed already changes nothing."""
        ...

    async def take(self, queues: Sequence[str], *, worker_id: str, count: int, wait_seconds: float) -> list[Claim]:
        """Claim up to `count` tasks, oldest first; wait for the first one at most `wait_seconds`."""
        ...

    def claimed(self, activity_id: str) -> Claim | None: ...

    def renew(self, activity_id: str, lease_until: int) -> bool: ...

    def set_deadline(self, activity_id: str, deadline: int) -> None: ...

    def finish(self, activity_id: str) -> None:
        """The claim is over. A claim that is not known is no error."""
        ...

    def drop(self, run_id: str) -> list[Claim]:
        """Take back the run's tasks that nobody has claimed; return its claims."""
        ...

    def claims_of(self, run_id: str) -> list[Claim]:
        """Return the run's claims."""
        ...

    def overdue(self, now: int) -> list[Claim]:
        """Return claims past their lease or deadline."""
        ...

    def next_deadline(self) -> int | None: ...

    def depth(self, queue: str) -> int: ...


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A workflow that starts by the clock: at the times of `cron` in `timezone`, or `every_seconds`. Times are
    microseconds since 1970 (UTC), `limit` is in nano-dollars."""

    id: str
    name: str
    workflow: str
    version: str = ""
    tenant: str = "default"
    input: Any = None
    cron: str = ""
    every_seconds: float = 0.0
    timezone: str = "UTC"
    overlap: Literal["skip", "allow"] = "skip"
    mode: str = "realtime"
    limit: int | None = None
    labels: dict[str, str] = {}
    enabled: bool = True
    created_at: int = 0
    next_at: int | None = None
    last_at: int | None = None
    last_run: str = ""
    note: str = ""
    """Why the last time brought no run; empty: it did."""


class Schedules(Protocol):
    """The schedules of one log. `save` replaces the one of the same name."""

    async def save(self, schedule: Schedule) -> None: ...

    async def remove(self, tenant: str, name: str) -> bool: ...

    def all(self) -> list[Schedule]: ...

    def due(self, now: int, limit: int) -> list[Schedule]: ...

    def next_at(self) -> int | None: ...


class Files(Protocol):
    """Files that travel through runs as file values, `{"$file": sha256, "name", "size", "media_type"}`."""

    def keep(self, data: bytes, name: str, media_type: str = "") -> dict[str, Any]:
        """Keep the bytes durably; return their file value. The same bytes again are kept once. Raises `OSError`."""
        ...

    def read(self, value: dict[str, Any]) -> bytes:
        """Return the bytes. Raises `OSError`; `ValueError` for a value that names no file."""
        ...

    def text(self, value: dict[str, Any]) -> str | None:
        """Return the file's text, or None: it is not text, too large, or not there."""
        ...


class Clock(Protocol):
    """Time. The engine reads no other."""

    def now(self) -> int:
        """Return microseconds since 1970 (UTC); never less than before."""
        ...

    async def wait(self, until: int | None, wake: asyncio.Event) -> None:
        """Return when it is `until`, or `wake` is set (it is cleared), whichever comes first."""
        ...


# --- The client --------------------------------------------------------------------------------------------------


class EventView(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One event of the log, readable: `fields` are the event's own beside the envelope."""

    version: int
    at: int
    type: str
    place: str = ""
    attempt: int = 0
    actor: str = ""
    cause: str = ""
    trace_id: str = ""
    fields: dict[str, Any] = {}
    content: Any = None
    hash: str = ""


class Tokens(msgspec.Struct, frozen=True, tag="tokens"):
    """Streamed text of one attempt; `offset` counts characters from the start of the attempt's text."""

    place: str
    epoch: int
    offset: int
    text: str


class Changed(msgspec.Struct, frozen=True, tag="changed"):
    """The run has new events; this is it now (contents left out)."""

    run: RunView


Update = Tokens | Changed


class StartRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client starts a run with. Either a definition's text, or the name of one that is deployed."""

    definition: str | None = None
    source: str = "definition"
    files: dict[str, str] = {}
    """The texts of the files that the definition refers to, by their paths relative to it."""
    workflow: str = ""
    version: str | None = None
    input: Any = None
    mode: Literal["realtime", "batch"] = "realtime"
    limit: int | None = None
    labels: dict[str, str] = {}
    unique_key: str = ""
    command_id: str = ""


class Client(Protocol):
    """What a door offers, whoever stands behind it: the engine in this process, or the owner at the other end of a
    socket. Run ids may be shortened as long as they are unambiguous; `-` is the newest run. Errors are the three
    branches of `core.errors`, the same at both ends."""

    async def start(self, request: StartRequest) -> RunSummary: ...

    async def show(self, run: str, *, at: int | None = None, contents: bool = True) -> RunView:
        """Return the run as it is, or as it was after event `at`."""
        ...

    async def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 50
    ) -> list[RunSummary]: ...

    async def events(
        self, run: str, *, after: int = 0, limit: int = 1_000, contents: bool = True
    ) -> list[EventView]: ...

    async def signal(self, run: str, name: str, *, key: str = "", data: Any = None) -> RunView: ...

    async def decide(
        self, run: str, *, key: str = "", approved: bool, by: str = "", comment: str = "", data: Any = None
    ) -> RunView: ...

    async def cancel(self, run: str, *, reason: str = "") -> RunView: ...

    async def pause(self, run: str, *, reason: str = "") -> RunView: ...

    async def resume(self, run: str) -> RunView: ...

    async def retry(self, run: str) -> RunView: ...

    async def erase(self, runs: Sequence[str] = (), *, label: str = "", by: str = "") -> Erased:
        """Erase the contents of finished runs, and of the runs below them; `label` is `name=value`."""
        ...

    async def collect(self, *, older: str = "", dry_run: bool = False, by: str = "") -> Collected:
        """Delete what ended longer ago than `older` (a duration; empty: the retention that is set)."""
        ...

    async def schedule(self, schedule: Schedule, *, definition: str, files: dict[str, str]) -> Schedule:
        """Keep a schedule of the workflow in `definition`; one of the same name is replaced. Raises `Invalid`."""
        ...

    async def schedules(self) -> list[Schedule]: ...

    async def change_schedule(self, name: str, change: Literal["pause", "resume", "remove", "trigger"]) -> Schedule:
        """Change a schedule; return it as it is then (a removed one: as it was). Raises `NotFound`."""
        ...

    def watch(self, run: str, *, tokens: bool = False) -> AsyncIterator[Update]:
        """Yield the run as it is, then each change, and tokens where wanted; ends after the finished run."""
        ...

    async def settled(self) -> None:
        """Return when no run has anything to do now: all are finished, or wait for a time, a person or a signal."""
        ...
