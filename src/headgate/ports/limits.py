"""What the gate knows of providers beyond a single call, shared by all who call them: cells, and the swapping of them.

A cell is a short text under a name. What is in it (a rate's bucket, a circuit, a pause that a provider asked for) is
decided by pure functions of the engine (`engine.rate`, `engine.breaker`); the store only sees to it that of two who
change a cell at once one is told to look again. So rates and circuits hold over every process that shares the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

__all__ = ["Cell", "LimitStore", "RateLimit", "Swap"]


class RateLimit(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How much may be asked of a provider ("openai") or of one of its models ("openai/gpt-5") in `seconds`: so many
    requests, tokens (input and output), nano-dollars. Each of a provider's keys has the rates to itself."""

    scope: str
    requests: int | None = None
    tokens: int | None = None
    money: int | None = None
    seconds: int = 60


class Cell(NamedTuple):
    """A cell that holds something."""

    name: str
    body: str


class Swap(NamedTuple):
    """One cell's change: `before` is what it must hold for it, None: nothing; `after` None empties it."""

    name: str
    before: str | None
    after: str | None


class LimitStore(Protocol):
    """What every store keeps true, tested by tests/conformance/test_limits.py:

    1. A swap changes all of its cells or none; it changes none when one of them holds something else than it says.
    2. What was swapped is read, by everybody who shares the store.
    3. What a restart leaves is what was swapped, but for what came in the last second before a crash.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes write to it, too."""
        ...

    @property
    def idle(self) -> bool:
        """Whether no cell holds anything, so that nobody need look. Where others write too: when last looked at."""
        ...

    async def look(self) -> None:
        """See what others have written meanwhile."""
        ...

    def now(self) -> int:
        """Return the time that all who share the store go by (microseconds)."""
        ...

    async def read(self, names: Sequence[str]) -> list[str | None]: ...

    async def swap(self, changes: Sequence[Swap]) -> bool:
        """Make all changes at once; False: somebody was faster, nothing was changed."""
        ...

    async def cells(self, prefix: str) -> list[Cell]:
        """Return the cells whose names begin with `prefix`, by name."""
        ...

    async def close(self) -> None:
        """Write what is not written yet."""
        ...
