"""What a demo printed, and what it left in its database."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.socket_guard import SocketGuard

from headgate.core.view import PlaceView, RunView
from headgate.engine.reader import Reader
from headgate.ports import EventView, SpendTotal, SpendWanted
from headgate.stores.sqlite import SqliteLog

SECONDS_MAX = 120.0
SLOWLY = ("--pace", "0.03")
"""Of few tickets, so that there is a middle to be killed in."""
MANUAL = """# The ferry Alma

## Lost luggage

Luggage that was left on board is kept at the harbour office for thirty days. After that it is given to the mission.

## Cancelled crossings

A crossing that the wind cancels is refunded in full within five days. A bicycle ticket is refunded with it.

## Bicycles

Up to twenty bicycles can be taken on each crossing. A bicycle ticket costs 7 dollars, and a tandem counts as two.

## Dogs

Dogs stay on the open deck and on a lead. A dog travels free of charge.
"""
TICKETS = """# Post

## A-1 from Noor
My umbrella was on board. Where is luggage kept that was left on board?

## A-2 from Henk
The wind cancelled our crossing and we want our money back. When is a cancelled crossing refunded?

## A-3 from Lot
We cycle. What does a bicycle ticket cost?
"""

Ended = subprocess.CompletedProcess[str]


class Guarded:
    """A folder to run in, every provider's key, and a guard in each process that refuses and records connections."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "t"
        self.temporary.mkdir()
        self.somebody_elses = folder / "somebody-elses.db"
        self._guard = SocketGuard(folder, loopback=False)
        self.environment = self._guard.environment()
        self.environment |= {"TMPDIR": str(self.temporary), "HEADGATE_DB": str(self.somebody_elses)}

    def python(self, *arguments: str) -> Ended:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.temporary,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS_MAX,
        )

    def demo(self, *arguments: str) -> Ended:
        return self.python("-m", "headgate", "demo", "--fast", *arguments)

    def connections(self) -> list[str]:
        return self._guard.outside()

    def processes(self) -> set[int]:
        return self._guard.processes()


class Told:
    """What a demo printed, and the database that it left."""

    def __init__(self, ended: Ended, folder: Path, seconds: float) -> None:
        self.ended = ended
        self.text = ended.stdout
        self.folder = folder
        self.seconds = seconds
        self.database = folder / ".headgate" / "headgate.db"

    def section(self, number: int) -> str:
        return self.text.split(f"\n{number}. ", 1)[1].split(f"\n{number + 1}. ", 1)[0]

    def flat(self, number: int) -> str:
        """Return a section with each of its folded lines in one again."""
        return " ".join(self.section(number).split())

    def rows(self) -> list[list[str]]:
        """Return the rows of the table of replies."""
        table = self.section(3).split("ticket  ", 1)[1]
        return [re.split(r"  +", line.strip()) for line in table.splitlines()[1:] if line.strip()]

    # The database is read here with nothing of the demo's own.

    def runs(self) -> list[RunView]:
        """Return the runs, the oldest first, with their contents."""

        async def read(reader: Reader, _: SqliteLog) -> list[RunView]:
            return [await reader.show(run.id) for run in reversed(await reader.runs())]

        return self._read(read)

    def events(self, run: str) -> list[EventView]:
        return self._read(lambda reader, _: reader.events(run, limit=10_000, contents=False))

    def costs(self, run: str) -> dict[str, SpendTotal]:
        async def read(_: Reader, log: SqliteLog) -> dict[str, SpendTotal]:
            totals = await log.spend_totals("activity", SpendWanted((run,), None, None, "", {}))
            return {total.name: total for total in totals}

        return self._read(read)

    def _read(self, ask: Any) -> Any:
        async def read() -> Any:
            log = SqliteLog(self.database, read_only=True)
            try:
                return await ask(Reader(log, lambda: 0), log)
            finally:
                await log.close()

        return asyncio.run(read())


def place_of(view: RunView, key: str) -> PlaceView:
    return next(place for place in view.activities if place.key == key)


def contents_of(view: RunView, key: str) -> list[str]:
    return [output["content"] for output in place_of(view, key).output]
