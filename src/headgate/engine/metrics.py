"""What this process has done since it began, and how things stand: the figures of `GET /metrics`.

Counters hear of every commit (`Appender.committed`) and of every answer of the HTTP door: what they count is durable.
Gauges are looked up when somebody asks. On a shared database each process counts its own work, to be summed up; gauges
that say so are of all of them, and the same wherever they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headgate.core.money import dollars
from headgate.engine.engine import Engine
from headgate.engine.exposition import Counts, Durations, Family, Metric, Sample
from headgate.engine.limit_view import view_limits
from headgate.engine.limits import Limits
from headgate.ports import Append, Outcome, Queue

__all__ = ["METRICS", "Metrics"]

COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OF_A_MODEL = ("tenant", "provider", "model")

EVENTS = Metric(
    "headgate_events_total",
    "counter",
    "Events made durable, by type: run_started, activity_completed, attempt_failed and so on.",
    ("type",),
)
COMMITS = Metric("headgate_commit_seconds", "histogram", "How long the log took for one commit of many appends.")
APPENDS = Metric("headgate_appends_total", "counter", "Appends by what became of them.", ("outcome",))
SPEND = Metric("headgate_spend_usd_total", "counter", "What model calls and workers' reports cost.", OF_A_MODEL)
RETURNED = Metric(
    "headgate_spend_returned_usd_total",
    "counter",
    "What had counted as spent and was not: calls given up for lost that were settled after all.",
    OF_A_MODEL,
)
CALLS = Metric(
    "headgate_model_calls_total",
    "counter",
    "Entries of the bill by kind: call, forfeit, reported (by a worker), cached.",
    (*OF_A_MODEL, "kind"),
)
TOKENS = Metric("headgate_tokens_total", "counter", "Tokens by direction.", (*OF_A_MODEL, "direction"))
REQUESTS = Metric("headgate_http_requests_total", "counter", "HTTP requests by route and status.", ("route", "status"))
RUNS = Metric("headgate_runs", "gauge", "Runs that have not ended, by status; of all processes.", ("status",))
WAITING = Metric(
    "headgate_queue_waiting", "gauge", "Tasks that wait for a worker, by queue; of all processes.", ("queue",)
)
CLAIMS = Metric(
    "headgate_queue_claims", "gauge", "Tasks that a worker or a node has, by queue; of all processes.", ("queue",)
)
PENDING = Metric("headgate_appends_pending", "gauge", "Appends that wait for a commit.")
OPEN_CALLS = Metric("headgate_calls_open", "gauge", "Model calls that are admitted and not settled.")
RESERVED = Metric("headgate_reserved_usd", "gauge", "What open model calls have reserved in the budgets of their runs.")
CALLS_WAITING = Metric(
    "headgate_calls_waiting", "gauge", "Model calls that wait for a rate, a pause or a circuit; of all processes."
)
CIRCUITS = Metric(
    "headgate_circuit",
    "gauge",
    "1 for the state of each model that has failed of late; of all processes.",
    ("model", "state"),
)

METRICS = (
    *(EVENTS, COMMITS, APPENDS, SPEND, RETURNED, CALLS, TOKENS, REQUESTS),
    *(RUNS, WAITING, CLAIMS, PENDING, OPEN_CALLS, RESERVED, CALLS_WAITING, CIRCUITS),
)


class Metrics:
    """One per engine."""

    def __init__(self, engine: Engine, queue: Queue, limits: Limits) -> None:
        self._engine = engine
        self._queue = queue
        self._limits = limits
        self._events, self._appends, self._requests = Counts(EVENTS), Counts(APPENDS), Counts(REQUESTS)
        self._spend, self._returned = Counts(SPEND), Counts(RETURNED)
        self._calls, self._tokens = Counts(CALLS), Counts(TOKENS)
        self._commits = Durations(COMMITS, COMMIT_SECONDS)
        engine.appender.committed = self._committed

    def answered(self, route: str, status: int) -> None:
        """Count an answer of the HTTP door."""
        self._requests.add(route, str(status))

    def _committed(self, items: Sequence[Append], outcomes: Sequence[Outcome], seconds: float) -> None:
        self._commits.add(seconds)
        for item, outcome in zip(items, outcomes, strict=True):
            self._appends.add(_name_of(outcome))
            if outcome == "accepted":
                for row in item.rows:
                    self._events.add(row[3])
                if item.spend:
                    self._bill(item)

    def _bill(self, item: Append) -> None:
        for row in item.spend:
            model = (row.tenant, row.provider, row.model)
            self._calls.add(*model, row.kind)
            self._tokens.add(*model, "input", amount=row.input_tokens)
            self._tokens.add(*model, "output", amount=row.output_tokens)
            # A counter that falls looks like a restart, so what is given back stands apart.
            (self._spend if row.cost >= 0 else self._returned).add(*model, amount=dollars(abs(row.cost)))

    def counted(self) -> list[Family]:
        """Return the counters: what this process has done since it began."""
        counts = (self._events, self._commits, self._appends, self._spend, self._returned, self._calls, self._tokens)
        return [one.family() for one in (*counts, self._requests)]

    def here(self) -> list[Family]:
        """Return how things stand in this process."""
        calls, reserved = self._engine.open_calls
        pending = self._engine.appender.pending
        return [_one(PENDING, pending), _one(OPEN_CALLS, calls), _one(RESERVED, dollars(reserved))]

    async def everywhere(self) -> list[Family]:
        """Return how things stand with all processes of the database. Raises `Unavailable`."""
        lengths = await self._queue.lengths()
        store = self._limits.store
        view = view_limits(await store.cells(""), store.now())
        return [
            _by_label(RUNS, await self._engine.log.unfinished()),
            _by_label(WAITING, {length.queue: length.waiting for length in lengths}),
            _by_label(CLAIMS, {length.queue: length.held for length in lengths}),
            _one(CALLS_WAITING, len(view.waits)),
            Family(CIRCUITS, [Sample((circuit.model, circuit.state), 1) for circuit in view.circuits]),
        ]


def _name_of(outcome: Outcome) -> str:
    if isinstance(outcome, str):
        return outcome
    return "unavailable" if isinstance(outcome, BaseException) else "over_budget"


def _one(metric: Metric, value: float) -> Family:
    return Family(metric, [Sample((), value)])


def _by_label(metric: Metric, values: Mapping[str, float]) -> Family:
    return Family(metric, [Sample((label,), value) for label, value in sorted(values.items())])
