"""A batch of appends as the arguments of `append_batch`, and what it answers as outcomes.

PostgreSQL takes a whole batch as arrays, one for each column: the work per row is then in compiled code. `apart` and
`once` tell the function which items have to do with each other (`postgres_append.sql`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from headgate.ports import Append, Opening, Outcome, OverBudget, RunRow, SpendRow
from headgate.stores.postgres_columns import Columns, clean, numbers, texts, truths, values

__all__ = [
    "ANSWERS_KEPT_MICROSECONDS",
    "EVENTS_MAX",
    "arguments_of",
    "budgets_of",
    "clean_labels",
    "outcomes_of",
    "spend_json",
]

ANSWERS_KEPT_MICROSECONDS = 7 * 86_400 * 1_000_000
EVENTS_MAX = (1 << 20) - 1
"""Events of one batch: a position has twenty bits for an event's number in its transaction."""

WORDS: tuple[Outcome, ...] = ("accepted", "version_conflict", "run_exists", "repeated")
OVER_BUDGET = 4

ITEMS = Columns(numbers, numbers, truths, truths, numbers)
HEADS = Columns(texts, numbers, values, numbers, numbers, numbers, numbers, numbers, numbers, texts, truths)
NEW = Columns(numbers, truths, texts, texts, texts, texts, texts, texts, texts, texts, numbers, values, numbers)
EVENTS = Columns(numbers, numbers, numbers, texts, values, values, values)
BLOBS = Columns(numbers, values, values)
MOVES = Columns(numbers, numbers, numbers, numbers, numbers, truths, truths, texts)
COMMANDS = Columns(numbers, texts, texts, numbers, values)
SPEND = Columns(numbers, texts)
OFFERS = Columns(numbers, texts, texts, numbers, texts, numbers, texts, truths, texts)
OVER = Columns(numbers, texts, texts, numbers)


def budgets_of(batch: Sequence[Append]) -> list[str]:
    """Return the ids of all budgets that the batch moves, in the order they are locked in."""
    return sorted({clean(move.budget) for item in batch for move in item.moves})


def arguments_of(batch: Sequence[Append], budgets: Sequence[str], lease: int) -> list[Any]:
    """Return the arguments of `append_batch` that describe the batch; items are numbered from 1. A task that is born
    in somebody's hands has a lease of so many microseconds."""
    together = _Together(batch)
    items = [
        (item.run, item.expected_version, item.new is not None, together.apart(item), item.limit) for item in batch
    ]
    heads = [item.head if item.new is None else item.new.head for item in batch]
    new = [(number, together.once(item), *_run(item.new)) for number, item in _numbered(batch) if item.new is not None]
    events = [(number, *row[1:]) for number, item in _numbered(batch) for row in item.rows]
    blobs = [(number, *blob) for number, item in _numbered(batch) for blob in item.blobs]
    commands = [(number, *command) for number, item in _numbered(batch) for command in item.commands]
    spend = [(number, spend_json(row)) for number, item in _numbered(batch) for row in item.spend]
    offers = [(number, *offer) for number, item in _numbered(batch) for offer in item.offers]
    over = [(number, run_id, *one) for number, item in _numbered(batch) for run_id, *one in item.over]
    return [
        *ITEMS.of(items),
        *HEADS.of(heads),
        *NEW.of(new),
        *EVENTS.of(events),
        *BLOBS.of(blobs),
        texts(budgets),
        *MOVES.of(_moves(batch, budgets)),
        *COMMANDS.of(commands),
        *SPEND.of(spend),
        lease,
        *OFFERS.of(offers),
        *OVER.of(over),
    ]


def outcomes_of(codes: Sequence[int], over: Sequence[int], budgets: Sequence[str]) -> list[Outcome]:
    """Return one outcome per item."""
    refusals = {
        item: OverBudget(budgets[budget - 1], limit, spent, reserved)
        for item, budget, limit, spent, reserved in (over[at : at + 5] for at in range(0, len(over), 5))
    }
    return [refusals[number] if code == OVER_BUDGET else WORDS[code] for number, code in enumerate(codes, 1)]


def spend_json(row: SpendRow) -> str:
    """Return the row as an object; its names are the columns'."""
    fields = {name: clean(value) if isinstance(value, str) else value for name, value in row._asdict().items()}
    fields["labels"] = clean_labels(fields["labels"])
    return msgspec.json.encode(fields).decode()


def clean_labels(text: str) -> str:
    """Return labels without NUL: they are read as JSON by the server, which knows none there either."""
    if "\\u0000" not in text:
        return text
    labels = msgspec.json.decode(text, type=dict[str, str])
    return msgspec.json.encode({clean(name): clean(value) for name, value in labels.items()}).decode()


class _Together:
    """Which items of a batch have to do with each other: the same run, id or unique key."""

    def __init__(self, batch: Sequence[Append]) -> None:
        new = [item.new for item in batch if item.new is not None]
        self._runs = Counter(item.run for item in batch)
        self._ids = Counter(run.id for run in new)
        self._unique = Counter((run.tenant, run.unique_key) for run in new if run.unique_key)

    def apart(self, item: Append) -> bool:
        """Return whether the item is judged by itself, after those before it."""
        return bool(item.moves or item.commands) or self._runs[item.run] > 1 or not self.once(item)

    def once(self, item: Append) -> bool:
        run = item.new
        return run is None or (
            self._runs[item.run] == self._ids[run.id] == 1 and self._unique.get((run.tenant, run.unique_key), 1) == 1
        )


def _numbered(batch: Sequence[Append]) -> Iterable[tuple[int, Append]]:
    return enumerate(batch, 1)


def _run(run: RunRow) -> tuple[Any, ...]:
    return (
        *(run.id, run.tenant, run.workflow, run.definition, run.trace_id, run.parent, run.unique_key, run.labels),
        *(run.limit, run.content_key, run.created_at),
    )


def _moves(batch: Sequence[Append], budgets: Sequence[str]) -> list[tuple[Any, ...]]:
    """Each item's moves by budget, moves of one budget in their order."""
    number_of = {budget: number for number, budget in enumerate(budgets, 1)}
    return [
        (
            *(number, number_of[clean(move.budget)], move.reserve, move.spend, move.limit, move.beyond, move.sets),
            None if move.opening is None else _opening(move.opening),
        )
        for number, item in _numbered(batch)
        for move in sorted(item.moves, key=lambda move: number_of[clean(move.budget)])
    ]


def _opening(opening: Opening) -> str:
    label, value = opening.label or ("", "")
    wanted: dict[str, Any] = {
        "tenant": opening.tenant,
        "since": opening.since,
        "until": opening.until,
        "simulated": opening.simulated,
        "workflow": opening.workflow,
        "label": label,
        "value": value,
        "model": _like(opening.model),
        "provider": _like(opening.provider),
    }
    return msgspec.json.encode(
        {name: clean(given) if isinstance(given, str) else given for name, given in wanted.items()}
    ).decode()


def _like(pattern: str) -> str:
    """Return a pattern of `*` and `?` as one of `like`."""
    return pattern.translate(_AS_LIKE)


_AS_LIKE = str.maketrans({"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": r"\\"})
