"""What a run's events cost, row by row: the spend rows that are written in the transaction of their events.

A row is a function of the events alone, so that rows can be made again from the log (`rebuild_spend`), and the rows of
a run add up to what the run has spent, always: a settlement after a forfeit takes the forfeit back in a row of its
own, with a negative amount. The price on a row, times its tokens, is its cost; where that is not so, because somebody
else told the cost, the row has no price.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.codec import decode
from headgate.core.definition import Definition
from headgate.core.errors import NotFound
from headgate.core.fold import apply
from headgate.core.plan import load_plan
from headgate.core.run import Call, Run
from headgate.core.values import Price, Usage
from headgate.ports import Log, RunRow, SpendRow

__all__ = ["rebuild_spend", "spend_of"]

RUNS_PAGE = 500
EVENTS_PAGE = 5_000

_json = msgspec.json.Encoder()


def spend_of(run: Run, row: RunRow, events: Iterable[e.Event], settled: Call | None = None) -> list[SpendRow]:
    """Return the spend rows of `events`, which `run` has folded already.

    `settled` is the call that a settlement among them is of, as it was before: a late one is forgotten in the fold.
    """
    found: list[SpendRow] = []
    for event in events:
        match event:
            case g.CallSettled():
                found += _settlement(run, row, event, settled)
            case g.CallForfeited() if event.amount:
                call = run.calls[event.call_id]
                found.append(_forfeited(run, row, event, call.model, call.price, event.amount))
            case g.CallReused():
                found.append(_reused(run, row, event))
            case e.ActivityCompleted() if event.cached:
                found.append(_row(run, row, event, kind="cached", saved=event.saved, simulated=event.simulated))
            case e.ActivityCompleted() | e.AttemptFailed() if event.usage or event.cost:
                found += _report(run, row, event)
            case _:
                pass
    return found


def _settlement(run: Run, row: RunRow, event: g.CallSettled, settled: Call | None) -> Iterator[SpendRow]:
    call = settled if settled is not None and settled.call_id == event.call_id else run.calls.get(event.call_id)
    model, price = (call.model, call.price) if call is not None else ("", None)
    if event.replaces and event.outcome != "lost":
        yield _forfeited(run, row, event, model, price, -event.replaces)
    if event.usage is not None and event.outcome == "used":
        reckoned = event.usage.price or (None if price is None else price.of(event.usage))
        yield _row(
            run,
            row,
            event,
            kind="call",
            part=1,
            call_id=event.call_id,
            model=model,
            usage=event.usage,
            cost=event.cost,
            price=reckoned,
            simulated=_is_demo(reckoned),
        )


def _reused(run: Run, row: RunRow, event: g.CallReused) -> SpendRow:
    return _row(
        run,
        row,
        event,
        kind="cached",
        call_id=event.call_id,
        model=event.model,
        saved=event.saved,
        simulated=event.simulated,
    )


def _forfeited(
    run: Run, row: RunRow, event: g.CallForfeited | g.CallSettled, model: str, price: Price | None, cost: int
) -> SpendRow:
    """Return the row of a forfeit: it has no price, for nobody knows the tokens that it would be the cost of."""
    return _row(
        run, row, event, kind="forfeit", call_id=event.call_id, model=model, cost=cost, simulated=_is_demo(price)
    )


def _report(run: Run, row: RunRow, event: e.ActivityCompleted | e.AttemptFailed) -> Iterator[SpendRow]:
    """Yield a row for each usage that a worker reported, and one for a cost that none of them accounts for."""
    left = event.cost
    for part, usage in enumerate(event.usage):
        cost = usage.cost_nano or 0
        left -= cost
        yield _row(
            *(run, row, event),
            kind="reported",
            part=part,
            usage=usage,
            cost=cost,
            price=usage.price,
            simulated=_is_demo(usage.price),
        )
    if left:
        yield _row(run, row, event, kind="reported", part=len(event.usage), cost=left)


def _row(
    run: Run,
    row: RunRow,
    event: e.Event,
    *,
    kind: str,
    part: int = 0,
    call_id: str = "",
    model: str = "",
    usage: Usage | None = None,
    cost: int = 0,
    saved: int = 0,
    price: Price | None = None,
    simulated: bool = False,
) -> SpendRow:
    asked_provider, _, asked_model = model.partition("/")
    used = usage or Usage()
    owner = run.owner_of(event.place)
    return SpendRow(
        event.version,
        part,
        event.at,
        row.tenant,
        row.workflow,
        row.id,
        "" if owner is None else owner.planned.key,
        event.place,
        event.attempt,
        call_id,
        kind,
        used.provider or asked_provider,
        used.model or asked_model,
        used.input_tokens,
        used.output_tokens,
        used.cache_read_tokens,
        used.cache_write_tokens,
        used.reasoning_tokens,
        used.estimated,
        cost,
        saved,
        "" if price is None or price.cost(used) != cost else _json.encode(price).decode(),
        simulated,
        row.labels,
        str(getattr(owner.planned.activity, "prompt", "") or "") if owner is not None else "",
        used.cache_write_1h_tokens,
        used.audio_input_tokens,
        used.audio_output_tokens,
        used.cache_read_audio_tokens,
        used.tier,
        used.estimated_input,
    )


def _is_demo(price: Price | None) -> bool:
    return price is not None and price.simulated


# --- Again, from the log -----------------------------------------------------------------------------------------


async def rebuild_spend(log: Log, run_id: str | None = None) -> int:
    """Make the spend rows again of the runs that the log holds (of one, if it is named), and return how many rows.

    Rows of runs that were deleted stay as they are. Each run is replaced whole: interrupted or repeated, no row is
    lost or doubled. Raises `NotFound` for a run or a definition that is not there.
    """
    if run_id is not None:
        row = await log.run(run_id)
        if row is None:
            raise NotFound(f"There is no run {run_id!r}.")
        return await _rebuild(log, row)
    count, before = 0, None
    while rows := await log.runs(limit=RUNS_PAGE, before=before):
        for row in rows:
            count += await _rebuild(log, row)
        before = rows[-1].key
    return count


async def _rebuild(log: Log, row: RunRow) -> int:
    found = await log.definition(row.workflow, row.definition, tenant=row.tenant)
    if found is None:
        raise NotFound(f"The definition {row.definition} of run {row.id} is not in this database.")
    run = Run(row.id, load_plan(msgspec.json.decode(found[1], type=Definition)))
    rows: list[SpendRow] = []
    while run.version < row.head.version:
        page = await log.events(row.key, after=run.version, limit=EVENTS_PAGE)
        if not page:
            raise NotFound(f"The log of run {row.id} ends at event {run.version}; its head says {row.head.version}.")
        for stored in page:
            event = decode(stored.data)[0]
            settled = run.calls.get(event.call_id) if isinstance(event, g.CallSettled) else None
            apply(run, event)
            rows += spend_of(run, row, [event], settled)
    await log.replace_spend(row.id, rows)
    return len(rows)
