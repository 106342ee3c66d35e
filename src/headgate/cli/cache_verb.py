"""`headgate cache`: what is kept for reuse, what that has saved, and how to have it made anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from headgate.cli.interrupts import run_loop
from headgate.cli.json_form import iso
from headgate.cli.options import Common, common
from headgate.cli.session import open_reader, open_to_change
from headgate.cli.words import clock, money, now, plural, span
from headgate.core.duration import parse_microseconds
from headgate.core.errors import Invalid, Refused
from headgate.core.money import exact_dollars

if TYPE_CHECKING:
    from headgate.stores.cache_inventory import CacheInventory, CacheLine, CacheSum

__all__ = ["cache"]

KEY_CHARACTERS = 12
"""Of a key, which has 64, in lists. Any beginning that no other key has names it."""
NOTHING = "Nothing is kept. `cache: true` at an activity keeps its results."
ACTIONS = ("list", "stats", "clear", "forget")
T = TypeVar("T")


@click.command()
@common
@click.argument("action", type=click.Choice(ACTIONS), default="list")
@click.argument("key", required=False)
@click.option("--workflow", metavar="NAME", help="Only results of this workflow.")
@click.option("--activity", metavar="KEY", help="Only results of the activity of this key.")
@click.option("--older", metavar="DURATION", help="For clear: only results made longer ago than this, such as 2d.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="For list: so many.")
def cache(
    common: Common,
    action: str,
    key: str | None,
    workflow: str | None,
    activity: str | None,
    older: str | None,
    limit: int,
) -> None:
    """Look after the results, and the answers of models, that are kept for reuse.

    \b
    list        what is kept, the last used first
    stats       per activity: how many there are, how often they were used, what that saved
    clear       take results out: all, or those that the options name
    forget KEY  take one out; a beginning of its key will do
    """
    if key is None and action == "forget":
        raise Invalid("`headgate cache forget` needs a KEY; `headgate cache list` shows them.")
    if key is not None and action != "forget":
        raise Invalid(f"`headgate cache {action}` takes no KEY, got {key!r}.")
    if older is not None and action != "clear":
        raise Invalid(f"--older is for `headgate cache clear`, not for {action}.")
    before = None if older is None else now() - parse_microseconds(older)
    match action:
        case "list":
            run_loop(_list(common, workflow, activity, limit))
        case "stats":
            run_loop(_stats(common))
        case "clear":
            run_loop(_change(common, lambda kept: kept.clear(workflow=workflow, activity=activity, before=before)))
        case _:
            run_loop(_change(common, lambda kept: kept.forget(str(key))))


# --- Looking -------------------------------------------------------------------------------------------------------


async def _list(common: Common, workflow: str | None, activity: str | None, limit: int) -> None:
    from headgate.stores.storage import cache_inventory_beside

    async with open_reader(common) as (_, log):
        lines = await cache_inventory_beside(log).lines(workflow=workflow, activity=activity, limit=limit)
    _print(common, lines, _line_form, _line, right=frozenset({3, 4, 5}))


def _print(
    common: Common,
    found: Sequence[T],
    form: Callable[[T], dict[str, Any]],
    row: Callable[[T], list[str]],
    *,
    right: frozenset[int],
) -> None:
    if common.output.json:
        common.output.data([form(one) for one in found])
        return
    common.say_database()
    if not found:
        common.output.notice(NOTHING)
        return
    common.output.table([row(one) for one in found], right=right)


def _line(line: CacheLine) -> list[str]:
    left = line.expires_at - now()
    holds = f"for {span(left)}" if left > 0 else "expired"
    where = f"{line.workflow}/{line.activity}"
    uses = plural(line.hits, "use")
    model = f"from {line.name}" if line.of_a_call else ""
    figures = [uses, money(line.saves), _bytes(line.size)]
    return [line.key.hex()[:KEY_CHARACTERS], where, clock(line.at), *figures, holds, model]


def _line_form(line: CacheLine) -> dict[str, Any]:
    return {
        "key": line.key.hex(),
        "workflow": line.workflow,
        "activity": line.activity,
        "kind": "call" if line.of_a_call else "result",
        "activity_name": "" if line.of_a_call else line.name,
        "model": line.name if line.of_a_call else "",
        "at": iso(line.at),
        "expires_at": iso(line.expires_at),
        "used_at": iso(line.used_at),
        "cost_usd": exact_dollars(line.saves),
        "hits": line.hits,
        "size_bytes": line.size,
    }


async def _stats(common: Common) -> None:
    from headgate.stores.storage import cache_inventory_beside

    async with open_reader(common) as (_, log):
        sums = await cache_inventory_beside(log).sums(now())
    _print(common, sums, _sum_form, _sum, right=frozenset({1, 2, 3, 4}))
    if common.output.json or not sums:
        return
    saved = sum(one.saved for one in sums)
    saving = f", which saved {money(saved)}" if saved else ""
    common.output.notice(f"{plural(sum(one.hits for one in sums), 'use')} of what is kept now{saving}.")


def _sum(one: CacheSum) -> list[str]:
    expired = f"{one.expired} expired" if one.expired else ""
    uses, results = plural(one.hits, "use"), plural(one.results, "result")
    return [f"{one.workflow}/{one.activity}", results, _bytes(one.size), uses, money(one.saved), expired]


def _sum_form(one: CacheSum) -> dict[str, Any]:
    return {
        "workflow": one.workflow,
        "activity": one.activity,
        "activity_name": one.name,
        "results": one.results,
        "expired": one.expired,
        "size_bytes": one.size,
        "hits": one.hits,
        "saved_usd": exact_dollars(one.saved),
        "oldest_at": iso(one.oldest_at),
    }


def _bytes(size: int) -> str:
    if size < 1_000:
        return f"{size} B"
    return f"{size / 1_000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


# --- Taking out ----------------------------------------------------------------------------------------------------


async def _change(common: Common, change: Callable[[CacheInventory], Awaitable[int]]) -> None:
    from headgate.stores.ownership import Owned
    from headgate.stores.storage import cache_inventory_beside

    try:
        async with open_to_change(common) as log:
            gone = await change(cache_inventory_beside(log))
    except Owned as error:
        raise Refused(f"{error.message} Results can be taken out when it has ended.") from None
    if common.output.json:
        common.output.data({"forgotten": gone})
    else:
        common.output.notice(f"Took out {plural(gone, 'result')}.")
