"""`headgate files`: the files among a run's input and outputs, listed or taken out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from headgate.cli import exit_codes
from headgate.cli.kept_files import kept_bytes
from headgate.cli.options import Common, common
from headgate.cli.session import open_reader
from headgate.core.errors import Invalid, NotFound
from headgate.core.values import FILE_MARK
from headgate.core.view import RunView

__all__ = ["files"]


@click.command()
@common
@click.argument("run")
@click.argument("name", required=False)
@click.option("--out", metavar="PATH", help="Write the file here; - for stdout.")
def files(common: Common, run: str, name: str | None, out: str | None) -> int:
    """List the files of RUN, or take out the one called NAME (as listed) with --out."""
    tenant, view = asyncio.run(_tenant_and_view(common, run))
    found = list(_files_of(view))
    if name is None:
        _list(common, found)
        return exit_codes.COMPLETED
    matching = [value for at, value in found if name in (at, value.get("name"))]
    if not matching:
        names = ", ".join(at for at, _ in found) or "it has none"
        raise NotFound(f"Run {run} has no file {name!r}; {names}.")
    if out is None:
        raise Invalid("Say where to: --out PATH, or --out - for stdout.")
    _write(kept_bytes(common, tenant, matching[0]), out)
    return exit_codes.COMPLETED


def _list(common: Common, found: list[tuple[str, dict[str, Any]]]) -> None:
    if common.output.json:
        common.output.data([{"at": at, **value} for at, value in found])
        return
    rows = [(at, str(file.get("name")), f"{file.get('size')} bytes", str(file.get("media_type"))) for at, file in found]
    common.output.table(rows)


async def _tenant_and_view(common: Common, run: str) -> tuple[str, RunView]:
    async with open_reader(common) as (reader, _):
        found = await reader.find(run)
        return found.tenant, await reader.show(found.id)


def _files_of(view: RunView) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each file stands (`INPUT.invoice`, `report.chart`) and its value."""
    yield from _within(view.input, "INPUT")
    for place in view.activities:
        yield from _within(place.output, place.key)
    yield from _within(view.outputs, "outputs")


def _within(value: Any, at: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict) and FILE_MARK in value:
        yield at, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _within(part, f"{at}.{key}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _within(part, f"{at}[{number}]")


def _write(data: bytes, out: str) -> None:
    if out == "-":
        sys.stdout.buffer.write(data)
        return
    try:
        Path(out).write_bytes(data)
    except OSError as error:
        raise Invalid(f"--out: {out} cannot be written: {error.strerror or error}.") from None
