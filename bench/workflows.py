"""The workflows that are run, and the loads made of them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from headgate.core.definition import Activity, Definition, Dependency

__all__ = [
    "LOADS",
    "NAP_SECONDS",
    "PARKED",
    "Load",
    "chain",
    "for_each",
    "gated_chain",
    "nap",
    "parallel",
    "text_chain",
]

NAP_SECONDS = 0.05


class Load(msgspec.Struct, frozen=True):
    """A workflow and how many of its runs are under way at once. `activities` is what one run completes."""

    name: str
    definition: Definition
    activities: int
    in_flight: int
    input: dict[str, Any] = {}


def echo(key: str, *after: str, **parameters: Any) -> Activity:
    return Activity(key=key, name="echo", parameters=parameters, depends_on=tuple(Dependency(other) for other in after))


def chain(length: int) -> Definition:
    """`length` echo activities, each after the one before it."""
    return Definition(f"chain_{length}", tuple(_links(length)))


def _links(length: int, **parameters: Any) -> list[Activity]:
    return [
        echo(f"a{number}", *([f"a{number - 1}"] if number else []), n=number, **parameters) for number in range(length)
    ]


async def nap(_parameters: dict[str, Any], _context: Any) -> dict[str, Any]:
    """An activity of one's own that takes as long as a quick model call."""
    await asyncio.sleep(NAP_SECONDS)
    return {}


def naps(length: int) -> Definition:
    """`length` naps, each after the one before it."""
    return Definition(
        f"naps_{length}",
        tuple(
            Activity(key=f"a{n}", name="nap", depends_on=(Dependency(f"a{n - 1}"),) if n else ()) for n in range(length)
        ),
    )


def parallel(width: int) -> Definition:
    """A start, `width` echo activities side by side, an end that depends on all of them."""
    middle = [echo(f"a{number}", "start", n=number) for number in range(width)]
    end = echo("end", *(activity.key for activity in middle))
    return Definition(f"parallel_{width}", (echo("start"), *middle, end))


def for_each(count: int) -> Definition:
    """One echo per item, all at once, and an end behind them. The input holds the items."""
    items = Activity(
        key="items",
        name="echo",
        parameters={"item": "{{ ITEM }}"},
        for_each="{{ INPUT.items }}",
        max_parallel=count,
    )
    return Definition(f"for_each_{count}", (items, echo("end", "items")))


def text_chain(length: int) -> Definition:
    """A chain whose outputs are the input's text."""
    return Definition(f"text_{length}", tuple(_links(length, text="{{ INPUT.text }}")))


def gated_chain(length: int) -> Definition:
    """The same with an approval behind it."""
    links = _links(length, text="{{ INPUT.text }}")
    gate = Activity(key="gate", name="approval", depends_on=(Dependency(links[-1].key),))
    return Definition(f"gated_{length}", (*links, gate))


def _load(name: str, definition: Definition, *, in_flight: int, activities: int | None = None, **more: Any) -> Load:
    return Load(name, definition, activities or len(definition.activities), in_flight, more)


LOADS: dict[str, Load] = {
    load.name: load
    for load in (
        _load("seq5", chain(5), in_flight=10),
        _load("par10", parallel(10), in_flight=10),
        _load("hc3", chain(3), in_flight=100),
        _load("wide", chain(5), in_flight=1_000),
        _load("naps", naps(3), in_flight=10),
        _load("overhead_100", chain(100), in_flight=1),
        _load("overhead_1000", chain(1_000), in_flight=1),
        _load("overhead_10000", chain(10_000), in_flight=1),
        _load("fanin_parallel", parallel(1_000), in_flight=1),
        _load("fanin_for_each", for_each(1_000), in_flight=1, activities=1_001, items=list(range(1_000))),
    )
}

PARKED = Load(
    "parked",
    Definition("parked", (Activity(key="far", name="echo", queue="nobody", parameters={"text": "one"}),)),
    activities=0,
    in_flight=64,
)
"""A run whose only task nobody takes: what is measured is its start alone."""
