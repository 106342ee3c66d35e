"""`headgate costs`: what was spent, on what; and `headgate rebuild`, which makes these figures again from the log."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.output import Output
from headgate.cli.session import open_reader, open_to_change
from headgate.cli.words import clock, now, plural
from headgate.core.errors import Invalid
from headgate.core.money import exact_dollars
from headgate.ports import SpendTotal, SpendWanted

if TYPE_CHECKING:
    from headgate.engine.reader import Reader
    from headgate.ports import Log

__all__ = ["costs", "rebuild"]

PROPERTIES = ("activity", "run", "workflow", "model", "provider", "tier", "day", "prompt", "kind")
LOOK_SECONDS = 0.5
ROWS_SHOWN_MAX = 200
"""Of a picture that changes in place: what is below the screen nobody sees. The last table has all."""
RARE: dict[str, tuple[str, ...]] = {
    "to cache": ("cache_write_tokens", "cache_write_1h_tokens"),
    "reasoning": ("reasoning_tokens",),
    "audio in": ("audio_input_tokens", "cache_read_audio_tokens"),
    "audio out": ("audio_output_tokens",),
}
"""Columns that are shown where there is something in them, and the parts of the tokens that they are."""
NUMBERS = frozenset(range(1, 7 + len(RARE)))


@click.command()
@common
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--by", metavar="WHAT", help=f"{', '.join(PROPERTIES)}, or label:NAME.")
@click.option("--since", metavar="DATE", help="From this day or time (UTC) on.")
@click.option("--until", metavar="DATE", help="Until before this day or time (UTC).")
@click.option("--workflow", metavar="NAME", default="", help="Only runs of this workflow.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only runs with this label.")
@click.option("--live", is_flag=True, help="Go on with new figures until the runs have ended.")
def costs(
    common: Common,
    runs: tuple[str, ...],
    by: str | None,
    since: str | None,
    until: str | None,
    workflow: str,
    labels: tuple[str, ...],
    live: bool,
) -> None:
    """Print what was spent: of the RUNs with the runs below them, or of everything.

    One RUN is shown by activity, several by run, everything by workflow. Demo prices are never added to real ones.
    """
    if live and not runs:
        raise Invalid("--live follows runs until they have ended: name one, or - for the newest.")
    by = _property(by) if by else "activity" if len(runs) == 1 else "run" if runs else "workflow"
    wanted = SpendWanted((), _time(since, "--since"), _time(until, "--until"), workflow, _pairs(labels))
    run_loop(_costs(common, runs, by, wanted, live=live))


def _property(by: str) -> str:
    if by in PROPERTIES or (by.startswith("label:") and by != "label:"):
        return by
    raise Invalid(f'--by: expected one of {", ".join(PROPERTIES)}, or label:NAME, got "{by}".')


def _time(text: str | None, option: str) -> int | None:
    from headgate.llm.price_overrides import read_time

    return read_time(text, option) if text else None


def _pairs(labels: Sequence[str]) -> dict[str, str]:
    pairs = [label.partition("=") for label in labels]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise Invalid(f'--label: expected NAME=VALUE, like team=ops, got "{name}{equals}".')
    return {name: value for name, _, value in pairs}


async def _costs(common: Common, runs: Sequence[str], by: str, wanted: SpendWanted, *, live: bool) -> None:
    async with open_reader(common) as (reader, log):
        found = [(await reader.find(run)).id for run in runs]
        wanted = SpendWanted(tuple(found), wanted.since, wanted.until, wanted.workflow, wanted.labels)
        common.say_database()
        if live:
            await _follow(common.output, reader, log, by, wanted)
        _print(common.output, by, await log.spend_totals(by, wanted))


# --- One table -----------------------------------------------------------------------------------------------------


def _print(output: Output, by: str, totals: Sequence[SpendTotal]) -> None:
    if output.json:
        output.data(_form(by, totals))
        return
    if not totals:
        output.notice("Nothing was spent.")
        return
    output.table(_lines(totals), right=NUMBERS)


def _lines(totals: Sequence[SpendTotal]) -> list[list[str]]:
    """Return the table: a head, a line for each total, and their sums."""
    rare = [column for column in RARE if any(_tokens(column, total) for total in totals)]
    head = ["", "calls", "tokens in", "from cache", "tokens out", *rare, "cost", "saved"]
    lines = [_line(total.name or "(none)", total, rare) for total in totals]
    return [head, *lines, *(_line("total", total, rare) for total in _sums(totals))]


def _line(name: str, total: SpendTotal, rare: Sequence[str]) -> list[str]:
    demo = " (demo prices)" if total.simulated else ""
    reused = f" +{total.hits} reused" if total.hits else ""
    if total.hits and name == "total":
        reused += f" ({_hit_rate(total):.0%})"
    guessed = f" ({total.estimated} estimated)" if total.estimated else ""
    return [
        f"{name}{demo}",
        f"{total.calls}{guessed}{reused}",
        *(f"{tokens:,}" for tokens in (total.input_tokens, total.cache_read_tokens, total.output_tokens)),
        *(f"{_tokens(column, total):,}" for column in rare),
        _exact(total.cost),
        _exact(total.saved) if total.saved else "",
    ]


def _tokens(column: str, total: SpendTotal) -> int:
    return sum(getattr(total, part) for part in RARE[column])


def _hit_rate(total: SpendTotal) -> float:
    """Return which part of what was wanted had been made before."""
    return total.hits / (total.hits + total.calls) if total.hits else 0.0


def _exact(amount: int) -> str:
    """Return nano-dollars to the last digit: what is compared with a vendor's bill is not rounded."""
    return f"-${exact_dollars(-amount)}" if amount < 0 else f"${exact_dollars(amount)}"


def _sums(totals: Sequence[SpendTotal]) -> list[SpendTotal]:
    """Return the sum of what is real and the sum of what is not, each where there is any: never one of both."""
    sums: list[SpendTotal] = []
    for simulated in (False, True):
        parts = [total for total in totals if total.simulated == simulated]
        if parts:
            sums.append(
                SpendTotal("total", simulated, *(sum(numbers) for numbers in zip(*_numbers(parts), strict=True)))
            )
    return sums


def _numbers(totals: Sequence[SpendTotal]) -> list[tuple[int, ...]]:
    return [total[2:] for total in totals]


def _form(by: str, totals: Sequence[SpendTotal]) -> dict[str, Any]:
    rows = [{by: total.name, **_figures(total)} for total in totals]
    sums = {total.simulated: total for total in _sums(totals)}
    return {
        "by": by,
        "rows": rows,
        "total": _figures(sums.get(False) or SpendTotal("", False, *[0] * 9)),
        "demo_total": _figures(sums[True]) if True in sums else None,
    }


def _figures(total: SpendTotal) -> dict[str, Any]:
    figures: dict[str, Any] = total._asdict()
    del figures["name"]
    cost, saved = figures.pop("cost"), figures.pop("saved")
    rate = {"hit_rate": round(_hit_rate(total), 4)}
    return figures | {"cost_usd": exact_dollars(cost), "saved_usd": exact_dollars(saved)} | rate


# --- Live ----------------------------------------------------------------------------------------------------------


async def _follow(output: Output, reader: Reader, log: Log, by: str, wanted: SpendWanted) -> None:
    """Show the figures as they change, until every run has ended: in place on a terminal, else a line for each."""
    if output.draws:
        from rich.live import Live

        with Live(console=output.console(), refresh_per_second=4, transient=True) as picture:
            async for totals in _changes(reader, log, by, wanted):
                picture.update("\n".join("  ".join(line) for line in _aligned(totals)))
        return
    async for totals in _changes(reader, log, by, wanted):
        if output.json:
            output.data(_form(by, totals))
        else:
            output.notice(f"{clock(now())[11:]}  {_in_short(totals)}")


async def _changes(reader: Reader, log: Log, by: str, wanted: SpendWanted) -> AsyncIterator[list[SpendTotal]]:
    last: list[SpendTotal] | None = None
    while True:
        # Asked before the figures are read: of a run that had ended by then nothing is missing in them.
        ended = all([(await reader.find(run)).head.finished_at is not None for run in wanted.runs])
        totals = await log.spend_totals(by, wanted)
        if ended:
            return
        if totals != last:
            yield totals
            last = totals
        # The file belongs to another process, which tells nobody that it has written.
        await sleep(LOOK_SECONDS)


def _aligned(totals: Sequence[SpendTotal]) -> list[list[str]]:
    lines = _lines(totals)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    shown = lines if len(lines) <= ROWS_SHOWN_MAX else [*lines[:ROWS_SHOWN_MAX], lines[-1]]
    return [
        [
            cell.rjust(width) if column in NUMBERS else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in shown
    ]


def _in_short(totals: Sequence[SpendTotal]) -> str:
    parts = [
        f"{_exact(total.cost)} in {plural(total.calls, 'call')}{' (demo prices)' if total.simulated else ''}"
        for total in _sums(totals)
    ]
    return ", ".join(parts) or "nothing was spent yet"


# --- Again, from the log -------------------------------------------------------------------------------------------


@click.command()
@common
def rebuild(common: Common) -> None:
    """Make again from the log what is derived from it: the rows that `headgate costs` adds up.

    Needs a file for itself. Of runs that retention has deleted the rows stay as they are.
    """
    run_loop(_rebuild(common))


async def _rebuild(common: Common) -> None:
    from headgate.engine.spend import rebuild_spend

    async with open_to_change(common) as log:
        rows = await rebuild_spend(log)
    if common.output.json:
        common.output.data({"spend_rows": rows})
    else:
        common.output.line(f"Made {plural(rows, 'spend row')} again.")
