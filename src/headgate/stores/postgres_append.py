"""A batch of appends as the arguments of `append_batch`, and what it answers as outcomes.

PostgreSQL takes a whole batch as a few arrays of rows: the work per row is then in compiled code. `apart` and `once`
tell the function which items have to do with each other (`postgres_append.sql`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from headgate.ports import Append, Move, NewEvent, Offer, Opening, Outcome, OverBudget, SpendRow
from headgate.stores.postgres_rows import (
    N,
    Rows,
    RowTypes,
    bytes_head,
    clean,
    number_or_null,
    numbers_of,
    row,
    rows,
    text,
    text_or_null,
    value,
    words,
)

__all__ = [
    "EVENTS_MAX",
    "arguments_of",
    "budgets_of",
    "clean_labels",
    "outcomes_of",
    "sent_to",
    "spend_json",
]

EVENTS_MAX = (1 << 20) - 1
"""Events of one batch: a position has twenty bits for an event's number in its transaction."""

WORDS: tuple[Outcome, ...] = ("accepted", "version_conflict", "run_exists", "repeated")
OVER_BUDGET = 4

NOTHING = text("")


class Hand(NamedTuple):
    """What a run has in hand from now on: a task that is in its own row, and in no other. None: as before."""

    node: str | None = None
    place: str | None = None
    queue: str | None = None
    attempt: int | None = None


AS_BEFORE = Hand()
NOTHING_IN_HAND = Hand("")
PUT_DOWN = Hand("", "")
"""Nothing, and what it was becomes a row, beside the tasks that are offered."""


def budgets_of(batch: Sequence[Append]) -> list[str]:
    """Return the ids of all budgets that the batch moves, in the order they are locked in."""
    return sorted({clean(move.budget) for item in batch for move in item.moves})


def arguments_of(batch: Sequence[Append], budgets: Sequence[str], lease: int) -> list[Rows | list[str] | int]:
    """Return the arguments of `append_batch` that describe the batch; items are numbered from 1. A task that is born
    in somebody's hands has a lease of so many microseconds."""
    together = _Together(batch)
    judged = [(number, item, together.apart(item), together.hand(item)) for number, item in _numbered(batch)]
    plain = sum(item.new is None and not apart for _, item, apart, _ in judged)
    starts = [_start(n, item, hand, once=together.once(item)) for n, item, _, hand in judged if item.new]
    with_rows = [(number, item) for number, item, _, hand in judged if hand is PUT_DOWN]
    offers = ((number, offer) for number, item in with_rows for offer in item.offers)
    events = ((number, event) for number, item in _numbered(batch) for event in item.rows)
    return [
        rows("item_row", [_item(number, item, hand, apart=apart) for number, item, apart, hand in judged]),
        plain,
        rows("start_row", starts),
        rows("event_row", [_event(number, item, event) for number, (item, event) in enumerate(events, 1)]),
        rows("blob_row", [_blob(n, item.run, *blob) for n, item in _numbered(batch) for blob in item.blobs]),
        list(budgets),
        rows("move_row", _moves(batch, budgets)),
        rows("command_row", [_command(n, *command) for n, item in _numbered(batch) for command in item.commands]),
        rows("spend_row", [_spend(n, spend) for n, item in _numbered(batch) for spend in item.spend]),
        lease,
        rows("offer_row", [_offer(number, *offer) for number, offer in enumerate(offers, 1)]),
        rows("ended_row", [_ended(number, *ended) for number, item in with_rows for ended in item.over]),
    ]


def sent_to(types: RowTypes, arguments: Sequence[Rows | list[str] | int]) -> list[Any]:
    """Return the arguments as a server takes them that has these numbers for kinds of rows."""
    return [one.of(types) if isinstance(one, Rows) else one for one in arguments]


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

    def hand(self, item: Append) -> Hand:
        """Return what the run has in hand from now on: its only task, if that is new and born in somebody's hands."""
        if not item.offers and not item.over:
            return AS_BEFORE
        if item.resumes or not len(item.offers) == item.head.tasks <= 1 or self._runs[item.run] > 1:
            return PUT_DOWN
        for offer in item.offers:
            return Hand(offer.node, offer.place, offer.queue, offer.attempt) if offer.held else PUT_DOWN
        return NOTHING_IN_HAND

    def once(self, item: Append) -> bool:
        run = item.new
        return run is None or (
            self._runs[item.run] == self._ids[run.id] == 1 and self._unique.get((run.tenant, run.unique_key), 1) == 1
        )


def _numbered(batch: Sequence[Append]) -> Iterable[tuple[int, Append]]:
    return enumerate(batch, 1)


# --- Rows, their columns as `postgres_schema.sql` has them ------------------------------------------------------------

_one, _two, _four, _five, _eight = map(numbers_of, (1, 2, 4, 5, 8))


def _item(number: int, item: Append, hand: Hand, *, apart: bool) -> bytes:
    head = item.head if item.new is None else item.new.head
    version, tasks, cost, reserved, updated_at = head.version, head.tasks, head.cost, head.reserved, head.updated_at
    expected = item.expected_version
    return row(
        23,
        _eight(
            *(N, number, N, item.run, N, expected, N, version, N, tasks, N, cost, N, reserved, N, updated_at),
        ),
        number_or_null(head.attention_at),
        number_or_null(head.finished_at),
        number_or_null(item.limit),
        number_or_null(head.approvals),
        number_or_null(hand.attempt),
        words(item.new is not None, apart, hand is PUT_DOWN, head.simulated, head.status, *hand[:3]),
        text(head.error) if head.error else NOTHING,
        value(head.hash),
    )


def _start(number: int, item: Append, hand: Hand, *, once: bool) -> bytes:
    assert item.new is not None
    run, head = item.new, item.new.head
    version, tasks, cost, reserved, updated_at = head.version, head.tasks, head.cost, head.reserved, head.updated_at
    return row(
        30,
        _four(N, number, N, run.key, N, version, N, tasks),
        _four(N, cost, N, reserved, N, run.created_at, N, updated_at),
        number_or_null(head.attention_at),
        number_or_null(head.finished_at),
        number_or_null(run.limit if item.limit is None else item.limit),
        number_or_null(head.approvals),
        number_or_null(hand.attempt),
        words(once, head.simulated),
        text(run.id),
        words(run.tenant, run.workflow, run.definition),
        text(run.trace_id),
        text(run.parent),
        text(run.unique_key),
        text(run.labels),
        words(head.status, hand.node or "", hand.place, hand.queue),
        text(head.error),
        value(run.content_key),
        value(head.hash),
    )


def _event(number: int, item: int, event: NewEvent) -> bytes:
    run, version, at, kind, data, hashed, content = event
    first = _five(N, item, N, number, N, run, N, version, N, at)
    return row(9, first, words(kind), bytes_head(len(data)), data, value(hashed), value(content))


def _blob(item: int, run: int, digest: bytes, data: bytes) -> bytes:
    return row(4, _two(N, item, N, run), value(digest), bytes_head(len(data)), data)


def _moves(batch: Sequence[Append], budgets: Sequence[str]) -> list[bytes]:
    """Each item's moves by budget, moves of one budget in their order."""
    number_of = {budget: number for number, budget in enumerate(budgets, 1)}
    return [
        _move(number, number_of[clean(move.budget)], move)
        for number, item in _numbered(batch)
        for move in sorted(item.moves, key=lambda move: number_of[clean(move.budget)])
    ]


def _move(item: int, budget: int, move: Move) -> bytes:
    return row(
        8,
        _four(N, item, N, budget, N, move.reserve, N, move.spend),
        number_or_null(move.limit),
        words(move.beyond, move.sets),
        text_or_null(None if move.opening is None else _opening(move.opening)),
    )


def _command(item: int, tenant: str, command_id: str, at: int, answer: bytes) -> bytes:
    return row(5, _two(N, item, N, at), words(tenant), text(command_id), value(answer))


def _spend(item: int, spend: SpendRow) -> bytes:
    return row(2, _one(N, item), text(spend_json(spend)))


def _offer(number: int, item: int, offer: Offer) -> bytes:
    run_id, place, attempt, queue, version, node, held, tenant = offer
    return row(
        10, _four(N, item, N, number, N, attempt, N, version), words(run_id), words(place, queue, node, tenant, held)
    )


def _ended(item: int, run_id: str, place: str, attempt: int) -> bytes:
    return row(4, _two(N, item, N, attempt), words(run_id), words(place))


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
