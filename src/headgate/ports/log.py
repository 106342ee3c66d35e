"""The log: rows, appends, and what every log keeps true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from headgate.ports.queue import Offer, TaskTable
from headgate.ports.spend import SpendRow, SpendTotal, SpendWanted
from headgate.ports.tenants import DEFAULT_TENANT

__all__ = [
    "ANSWERS_KEPT_MICROSECONDS",
    "EVERY_RUN",
    "Append",
    "EventRow",
    "FeedLag",
    "Head",
    "Log",
    "Move",
    "NewEvent",
    "Opening",
    "Outcome",
    "OverBudget",
    "RunRow",
    "RunsWanted",
    "SharedLog",
]

ANSWERS_KEPT_MICROSECONDS = 7 * 86_400 * 1_000_000
"""So long a log knows what a command of an id was answered: at least so long a repeat decides nothing."""


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
    approvals: int | None = 0
    """How many places wait for a person's decision; None: the row is older than this number, so look at the run."""


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


class Opening(msgspec.Struct, frozen=True):
    """Which spend rows a budget begins with: of a tenant, from `since` until before `until`, at demo prices or not, and
    of what the budget is for. Empty: any. `model` and `provider` are patterns (`*`, `?`), `model` of provider/model."""

    tenant: str
    since: int
    until: int
    simulated: bool = False
    workflow: str = ""
    label: tuple[str, str] | None = None
    model: str = ""
    provider: str = ""


class RunsWanted(msgspec.Struct, frozen=True):
    """Which runs are meant: created from `since` until before `until` (microseconds), with `text` in their id, unique
    key, labels or error, as it is written there. `tenant` None: those of all tenants; `unfinished`:
    only what has not ended."""

    status: str | None = None
    workflow: str | None = None
    since: int | None = None
    until: int | None = None
    text: str = ""
    tenant: str | None = None
    unfinished: bool = False


EVERY_RUN = RunsWanted()


class Move(msgspec.Struct, frozen=True):
    """A change of a shared budget, in nano-dollars. `limit` given: the budget is made if there is none.

    `beyond`: the reservation is made even where it does not fit. `sets`: an existing budget takes the limit, too.
    `opening`: what is spent of it begins, or begins anew, with what these spend rows hold; what is reserved stays.
    """

    budget: str
    reserve: int = 0
    spend: int = 0
    limit: int | None = None
    beyond: bool = False
    sets: bool = False
    opening: Opening | None = None


class Append(msgspec.Struct):
    """One run's next events, and all that must become true with them or not at all. Of no run (0): moves alone."""

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
    limit: int | None = None
    """The run's own limit, where these events have raised it."""
    offers: Sequence[Offer] = ()
    """Tasks that these events schedule, where a log of many processes keeps them as rows (`SharedLog`)."""
    over: Sequence[tuple[str, str, int]] = ()
    """Run id, place and attempt of tasks that they end; no place: every task of the run."""
    resumes: bool = False
    """Some of the tasks may be there already."""


class OverBudget(msgspec.Struct, frozen=True):
    """A shared budget did not admit the reservation."""

    budget: str
    limit: int
    spent: int
    reserved: int


Outcome = Literal["accepted", "version_conflict", "run_exists", "repeated"] | OverBudget | BaseException


class FeedLag(NamedTuple):
    """How many events are in a log and not in its feed yet, and how many seconds ago the first of them was written."""

    events: int
    seconds: float


class Log(Protocol):
    """The events of every run.

    What every log keeps true, tested by tests/conformance/test_log*.py:

    1. An append is all or nothing, and is durable before it is accepted.
    2. Of two appends with the same `expected_version`, one gets `version_conflict` and leaves no trace.
    3. A refusal of one run (conflict, budget) does not touch the others of the batch.
    4. A follower sees every event once, each run's in order, however many writers there are.
    5. A budget's `spent + reserved` passes its limit by no reservation but one that is meant to (`beyond`).
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
        self, wanted: RunsWanted = EVERY_RUN, *, limit: int = 100, before: int | None = None, offset: int = 0
    ) -> list[RunRow]:
        """Return the wanted runs, newest first; `before` is the key of the last one seen."""
        ...

    async def count_runs(self, wanted: RunsWanted = EVERY_RUN) -> int:
        """Return how many runs `runs` would list, if there were no limit."""
        ...

    async def unfinished(self) -> dict[str, int]:
        """Return how many runs have not ended, of all tenants, by status; what has ended is not looked at."""
        ...

    async def matching(self, prefix: str, limit: int = 2, *, tenant: str | None = None) -> list[str]:
        """Return run ids that begin with `prefix`, of one tenant or of all."""
        ...

    async def busy(self, after: int, limit: int) -> list[RunRow]:
        """Return unfinished runs that hold tasks, by key: what a start has to take up again."""
        ...

    async def with_approvals(self, tenant: str, limit: int, *, before: int | None = None) -> list[RunRow]:
        """Return a tenant's unfinished runs with open approvals, or of which that is not known, newest first; `before`
        is the key of the last one seen."""
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

    async def feed_end(self) -> int:
        """Return the position of the last event that `feed` gives; 0: there is none."""
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
        `provider`, `tier`, `day` (UTC), `prompt`, `kind`, or `label:` and a label's name."""
        ...

    async def estimates(self, limit: int) -> list[tuple[str, str, int, int]]:
        """Return (provider, model, estimated input, reported input) of those among the newest `limit` spend rows that
        tell both, newest first."""
        ...

    async def stored_bytes(self, tenant: str) -> int:
        """Return about how much the events and contents of a tenant's runs take, as they are; it takes a while."""
        ...

    async def replace_spend(self, run_id: str, rows: Sequence[SpendRow]) -> None:
        """Put these rows in the place of all rows of the run, at once. Raises `Unavailable`: nothing was changed."""
        ...

    async def save_definition(
        self, version: str, name: str, body: bytes, at: int, *, tenant: str = DEFAULT_TENANT
    ) -> bool:
        """Keep a tenant's definition; return whether it is new. A repeat makes it the newest of its name again."""
        ...

    async def definition(
        self, name: str, version: str | None = None, *, tenant: str = DEFAULT_TENANT
    ) -> tuple[str, bytes] | None:
        """Return `(version, body)` of a tenant's definition, the newest of the name unless `version` is given."""
        ...

    async def definitions(
        self, *, limit: int = 100, after: str = "", tenant: str = DEFAULT_TENANT
    ) -> list[tuple[str, str, int, bytes]]:
        """Return `(name, version, deployed at, body)` of the newest of a tenant's names behind `after`."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class SharedLog(Protocol):
    """A log that many processes write at the same time."""

    @property
    def lanes(self) -> int:
        """Return how many commits it takes at the same time from one process."""
        ...

    @property
    def tasks(self) -> TaskTable:
        """Return the tasks of its runs."""
        ...

    @property
    def trouble(self) -> str:
        """Return why its server cannot be reached now; empty when it can, as far as is known."""
        ...

    async def require_room(self) -> None:
        """Raise `Unavailable` where a node would find fewer connections than it needs."""
        ...

    async def server_time(self) -> int:
        """Return what time it is there: microseconds since 1970 (UTC)."""
        ...

    async def feed_lag(self) -> FeedLag:
        """Return how far the feed is behind the log."""
        ...

    async def versions(self, run_ids: Sequence[str]) -> dict[str, int]:
        """Return the versions that these runs have by now; one that is not there is left out."""
        ...

    async def left_alone(self, now: int, changed_before: int, limit: int) -> list[str]:
        """Return the ids of runs whose `attention_at` has come and that nobody has changed since `changed_before`."""
        ...
