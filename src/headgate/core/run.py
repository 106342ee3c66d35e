"""A run: the control state of one execution, folded from its events, and nothing that the events do not hold.

It keeps statuses, counters, timers, reservations and the versions of the events that hold results, never a result.
`fold` changes it, event by event; `decide` asks it. It knows no clock, no store, no queue.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Literal

import msgspec

from headgate.core.definition import Budget
from headgate.core.place import Place, PlaceStatus, key_of_place
from headgate.core.plan import Plan
from headgate.core.values import Candidate, Price

__all__ = ["Call", "Loop", "Message", "Run", "RunStatus", "SignalKept"]

RunStatus = Literal["created", "running", "waiting", "paused", "cancelling", "completed", "failed", "cancelled"]


class Loop:
    """A loop of the plan in this run: its iteration, how much of its body is open, whether it is over."""

    __slots__ = ("iteration", "open", "over")

    def __init__(self, size: int) -> None:
        self.iteration = 0
        self.open = size
        self.over = False


class Call(msgspec.Struct):
    """A model call that was asked for. `state`: waiting, admitted, settled, forfeited, refused, reused."""

    call_id: str
    place: str
    attempt: int
    state: str
    model: str = ""
    reservation: int = 0
    price: Price | None = None
    candidates: tuple[Candidate, ...] = ()
    since: int = 0
    needed: int = 0
    waits_for: str = ""
    spent: int = 0
    code: str = ""
    reason: str = ""
    tokens: int = 0
    """The most that it may use while it is open; what it has used when it is not."""
    request_hash: str = ""
    max_cost: int | None = None
    shared: tuple[str, ...] = ()
    """The budgets above the run that were looked at when it was asked for."""
    budgets: tuple[str, ...] = ()
    """Those that it has reserved in: what it settles is moved there, whatever the rules have become."""
    line: str = ""
    """The budget above the run in whose line it waits; empty: in the run's own."""
    raises: str = ""
    """Of one that waits for a person: whose limit is asked about, an activity's key, or empty for the run."""
    left: int = 0
    limit: int = 0
    refused_by: str = ""
    """The person who did not want the limit raised for it."""

    @property
    def claim(self) -> str:
        """The claim of the attempt that asked: its id without the number of the call."""
        return self.call_id.rpartition("/")[0]


class Message(msgspec.Struct, frozen=True):
    """Something to tell another run. `id` is the same however often it is derived."""

    id: str
    kind: Literal["start_child", "cancel_child", "tell_parent", "correct_parent"]
    place: str = ""
    attempt: int = 0
    run_id: str = ""
    definition: str = ""
    content: int = 0
    limit: int | None = None
    amount: int = 0
    """To the parent: nano-dollars, what the run had cost when it ended, or the difference since."""
    of: int = 0
    """Of a correction: the version of the event that made it."""


class SignalKept(msgspec.Struct, frozen=True):
    """A signal that nobody has taken yet."""

    name: str
    key: str
    version: int


class Run:
    """Everything that the engine must know of a run to decide. `version` is that of the newest event folded."""

    __slots__ = (
        "_alarms",
        "alerts",
        "applied",
        "approvals",
        "asking_calls",
        "at",
        "budget",
        "calls",
        "calls_of",
        "children_out",
        "children_spent",
        "code",
        "corrected",
        "corrections",
        "cost_at_end",
        "decider",
        "dropped",
        "edges",
        "edges_due",
        "error",
        "fans_due",
        "finished",
        "finished_at",
        "id",
        "labels",
        "loops",
        "loops_due",
        "messages",
        "mode",
        "open",
        "outer",
        "outputs_version",
        "overruns",
        "parent",
        "pause_reason",
        "paused_from",
        "pending",
        "places",
        "plan",
        "raised",
        "ready",
        "reserved",
        "resumed",
        "signals",
        "simulated",
        "spent",
        "started_at",
        "status",
        "tasks",
        "tenant",
        "timers",
        "tokens",
        "tokens_reserved",
        "trace_id",
        "unique_key",
        "version",
        "waiting_calls",
    )

    def __init__(self, run_id: str, plan: Plan) -> None:
        self.id = run_id
        self.plan = plan
        self.version = 0
        self.status: RunStatus = "created"
        self.at = 0
        self.started_at = 0
        self.finished_at = 0
        self.finished = False
        self.tenant = ""
        self.trace_id = ""
        self.mode = "realtime"
        self.decider = 0
        self.labels: dict[str, str] = {}
        self.unique_key = ""
        self.parent: tuple[str, str, int] | None = None
        self.paused_from: RunStatus | None = None
        self.pause_reason = ""
        self.code = ""
        self.error = ""
        self.outputs_version = 0

        self.places = [Place(planned, planned.key) for planned in plan.activities]
        self.open = len(self.places)
        """Activities that have not ended."""
        self.tasks: dict[str, Place] = {}
        """Places whose newest attempt is a task, in the order in which they were scheduled."""
        self.approvals: dict[str, Place] = {}
        """Places that wait for a person's decision, in the order in which it was asked for."""
        self.messages: dict[str, Message] = {}
        self.signals: list[SignalKept] = []
        self.timers: dict[tuple[str, str], int] = {}
        self._alarms: list[tuple[int, str, str]] = []

        edges = plan.graph.edges
        self.edges = bytearray(len(edges))
        """Per edge: 0 undecided, 1 applies, 2 does not."""
        self.pending = [planned.needs for planned in plan.activities]
        self.applied = [0] * len(self.places)
        self.dropped = bytearray(len(self.places))
        """Per activity: an unconditional dependency was not completed, so it cannot become ready."""
        self.loops = [Loop(len(loop.body)) for loop in plan.graph.loops]

        # What `conclude` has yet to look at; empty whenever an append is complete.
        self.edges_due: dict[int, None] = {}
        self.loops_due: dict[int, None] = {}
        self.ready: dict[int, None] = {}
        self.fans_due: dict[int, None] = {}
        self.resumed: dict[int, str] = {}

        self.budget: Budget | None = plan.definition.budget
        self.outer: tuple[str, ...] = ()
        self.spent = 0
        self.reserved = 0
        self.tokens = self.tokens_reserved = 0
        self.children_spent = 0
        self.children_out: dict[str, None] = {}
        """Child runs that were begun and whose end has not been heard of; they may outlive whoever waited for them."""
        self.corrections: set[tuple[str, int]] = set()
        """Corrections of children's costs that were heard: child run, and version of its event."""
        self.cost_at_end: int | None = None
        """Of a child: what it had cost when it ended first."""
        self.corrected = 0
        """Of a child: what its parent was told beside that."""
        self.calls: dict[str, Call] = {}
        self.calls_of: dict[str, list[str]] = {}
        """Per place that is under way: the calls of its newest attempt."""
        self.waiting_calls: dict[str, None] = {}
        self.asking_calls: dict[str, None] = {}
        """Calls that wait for a person to raise a limit, or to refuse."""
        self.raised: dict[str, int] = {}
        """Limits of activities that somebody has raised, by key."""
        self.overruns: set[str] = set()
        self.alerts: set[str] = set()
        """Budgets that were named already, with how much of them was spent then."""
        self.simulated = False

    @property
    def shown_status(self) -> RunStatus:
        """The status that people see: a running run of which nothing can be worked on now is waiting."""
        if self.status == "running" and self.version and (not self.tasks or self._only_asks):
            return "waiting"
        return self.status

    @property
    def _only_asks(self) -> bool:
        """Whether every task stands still until a person has raised a limit or refused."""
        if not self.asking_calls or self.reserved:
            return False
        return self.tasks.keys() <= {self.calls[call_id].place for call_id in self.asking_calls}

    @property
    def limit(self) -> int | None:
        return None if self.budget is None else self.budget.limit

    def budget_of(self, key: str) -> Budget | None:
        """Return the budget of an activity as it is now, or of the run for an empty key."""
        if not key:
            return self.budget
        budget = self.plan.activities[self.plan.index[key]].activity.budget
        limit = self.raised.get(key)
        return budget if budget is None or limit is None else Budget(limit, budget.action)

    @property
    def attention_at(self) -> int | None:
        """The earliest time (microseconds) at which the run wants to be looked at; 0: now; None: never by itself."""
        if self.messages:
            return 0
        if self.status == "paused":
            return None
        while self._alarms:
            at, path, kind = self._alarms[0]
            if self.timers.get((path, kind)) == at:
                return at
            heapq.heappop(self._alarms)
        return None

    @property
    def total_cost(self) -> int:
        """What the run and its child runs have cost, in nano-dollars, forfeited reservations included."""
        return self.spent + self.children_spent

    def set_timer(self, path: str, kind: str, at: int) -> None:
        self.timers[path, kind] = at
        heapq.heappush(self._alarms, (at, path, kind))

    def due_timers(self, now: int) -> list[tuple[str, str]]:
        """Return the timers that are due at `now`, earliest first. Asking changes nothing."""
        if (at := self.attention_at) is None or at > now:
            return []
        due = [(at, path, kind) for (path, kind), at in self.timers.items() if at <= now]
        return [(path, kind) for _, path, kind in sorted(due)]

    def place(self, path: str) -> Place | None:
        """Return the place of this path in its present round, or None: unknown, or of an iteration that is over."""
        index = self.plan.index.get(path)
        if index is not None:
            place = self.places[index]
            return place if place.path == path else None
        key, item = _split_item(path)
        index = self.plan.index.get(key.partition("@")[0])
        if index is None or self.places[index].path != key:
            return None
        place = self.places[index]
        if item < 0:
            return place
        return place.fan.live.get(item) if place.fan else None

    def owner(self, place: Place) -> Place:
        """Return the activity's own place (of an item: its fan-out)."""
        return self.places[place.planned.index]

    def owner_of(self, path: str) -> Place | None:
        """Return the activity that a path of any round or item belongs to."""
        index = self.plan.index.get(key_of_place(path))
        return None if index is None else self.places[index]

    def ended_places(self, status: PlaceStatus) -> Iterator[Place]:
        return (place for place in self.places if place.status == status)

    def live_places(self) -> Iterator[Place]:
        """Every place that is scheduled or waiting, items included, in a fixed order."""
        for place in self.places:
            if place.fan:
                yield from place.fan.live.values()
            if place.status in {"scheduled", "waiting"}:
                yield place


def _split_item(path: str) -> tuple[str, int]:
    if path.endswith("]"):
        key, _, item = path[:-1].rpartition("[")
        if item.isdigit():
            return key, int(item)
    return path, -1
