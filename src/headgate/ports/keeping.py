"""What is deleted, erased and kept of a log, and the records of that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

__all__ = ["Collected", "Deletion", "Erased", "Erasure", "Keeping", "KeptLog"]


class Deletion(msgspec.Struct, frozen=True):
    """A run that is not there any more: how long it was, what its head's hash was (hex), when, why and by whom."""

    run_id: str
    workflow: str
    version: int
    hash: str
    at: int
    why: str
    actor: str
    tenant: str = "default"


class Erasure(msgspec.Struct, frozen=True):
    """A run whose contents were erased, at which version, when and by whom."""

    run_id: str
    version: int
    at: int
    actor: str


class Collected(msgspec.Struct, frozen=True, omit_defaults=True):
    """What retention deleted, or would delete. `more`: it stopped at its bound, with some left."""

    runs: int = 0
    events: int = 0
    spend: int = 0
    cached: int = 0
    files: int = 0
    more: bool = False

    def __add__(self, other: Collected) -> Collected:
        return Collected(
            self.runs + other.runs,
            self.events + other.events,
            self.spend + other.spend,
            self.cached + other.cached,
            self.files + other.files,
            self.more or other.more,
        )


class Erased(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an erasure came to. `texts`: events that hold words of people or programs beside their content, by type:
    they stay. `wal_left`: somebody was reading, so old pages stand in the WAL until the next checkpoint."""

    runs: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    """Runs that had been erased before; nothing was changed of them."""
    contents: int = 0
    files: int = 0
    texts: dict[str, int] = {}
    wal_left: bool = False


class Keeping(Protocol):
    """What a log offers to whoever deletes and erases; tested by tests/conformance/test_keeping.py.

    Each call is bounded, and safe to repeat after a crash.
    """

    async def expired(self, before: int, limit: int) -> list[str]:
        """Return runs that ended before `before` (microseconds) and that nothing needs, oldest first."""
        ...

    async def count_expired(self, before: int) -> Collected: ...

    async def delete(self, runs: Sequence[str], *, before: int, at: int, why: str, actor: str) -> Collected:
        """Delete those of `runs` that are still expired, then of what is deleted a bounded part: `more` says that
        events are left to the next call, which may name no runs."""
        ...

    async def trim(self, *, spend_before: int, cache_before: int, deletions_before: int) -> Collected:
        """Delete a bounded part of old spend rows, expired results and old records of deletions."""
        ...

    async def sweep_files(self, before: int, only: Sequence[str] | None = None) -> int:
        """Remove files last written before `before` that no kept run names (`only` these, by digest); return how many.
        Bounded."""
        ...

    async def labelled(self, name: str, value: str) -> list[str]: ...

    async def below(self, run_id: str) -> list[str]:
        """Return the run and all runs below it, itself first."""
        ...

    async def erase(self, run_id: str, *, at: int, actor: str) -> Erased:
        """Erase all contents of a finished run and destroy its key. Raises `Refused` for one that has not ended."""
        ...

    async def go_on_erasing(self) -> int:
        """Finish erasures that were interrupted; return how many."""
        ...

    async def files_of(self, run_id: str) -> list[str]:
        """Return the digests of kept files that the run's contents name."""
        ...

    async def clean(self) -> bool:
        """Have nothing of what was erased left in a file of ours, as far as that is ours to say: fold the WAL into the
        file and empty it. False: a reader was in the way."""
        ...

    async def deletion(self, run_id: str) -> Deletion | None: ...

    async def deletions(self, limit: int) -> list[Deletion]: ...

    async def erasure(self, run_id: str) -> Erasure | None: ...

    async def gaps(self) -> list[tuple[int, str]]:
        """Return what no run's own chain can show: events of no run, and positions that no deletion explains."""
        ...


@runtime_checkable
class KeptLog(Protocol):
    """A log that outlives its process, and so has something to keep and to delete."""

    def keeping(self, folder: Path) -> Keeping:
        """Return the door to it; `folder` is where activities keep their files."""
        ...
