"""Results in memory: the contents that runs under way have read or written, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

__all__ = ["ContentCache"]

BYTES_MAX = 64_000_000
OVERHEAD_BYTES = 200


class _Kept:
    """One run's contents and their sizes, oldest first."""

    __slots__ = ("fileless", "size", "sizes", "values")

    def __init__(self) -> None:
        self.values: dict[int, object] = {}
        self.fileless: set[int] = set()
        """Of these it is known that no file is in them: a list of many items is looked through once, not by each."""
        self.sizes: dict[int, int] = {}
        self.size = 0


class ContentCache:
    """Goes by runs: a run that has ended is forgotten at once, else the one used longest ago goes first. What it holds
    is shared: nobody may change a value that came from here."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._runs: OrderedDict[int, _Kept] = OrderedDict()

    def missing(self, run: int, versions: set[int]) -> set[int]:
        """Return those of `versions` that are not here."""
        kept = self._runs.get(run)
        return versions if kept is None else versions - kept.values.keys()

    def values(self, run: int, versions: Iterable[int]) -> dict[int, object]:
        """Return those of `versions` that are here."""
        kept = self._runs.get(run)
        if kept is None:
            return {}
        self._runs.move_to_end(run)
        return {version: kept.values[version] for version in versions if version in kept.values}

    def size(self, run: int) -> int:
        """Return how many bytes of the run's contents are here."""
        kept = self._runs.get(run)
        return 0 if kept is None else kept.size

    def keep(self, run: int, version: int, value: object, size: int) -> None:
        kept = self._runs.get(run)
        if kept is None:
            kept = self._runs[run] = _Kept()
        elif version in kept.values:
            return
        size += OVERHEAD_BYTES
        kept.values[version] = value
        kept.sizes[version] = size
        kept.size += size
        self._bytes += size
        if self._bytes > self._bytes_max:
            self._make_room(run, kept)

    def _make_room(self, run: int, kept: _Kept) -> None:
        """Let other runs go, then this run's own oldest contents, but never its newest."""
        self._runs.move_to_end(run)
        while self._bytes > self._bytes_max and len(self._runs) > 1:
            _, other = self._runs.popitem(last=False)
            self._bytes -= other.size
        while self._bytes > self._bytes_max and len(kept.values) > 1:
            self.forget(run, next(iter(kept.values)))

    def fileless(self, run: int) -> set[int]:
        """Return the versions that are known to hold no file value; whoever looks at another one adds it."""
        kept = self._runs.get(run)
        return set() if kept is None else kept.fileless

    def forget(self, run: int, version: int) -> None:
        """Forget a content that did not get into the log after all."""
        kept = self._runs.get(run)
        if kept is not None and version in kept.values:
            del kept.values[version]
            kept.fileless.discard(version)
            size = kept.sizes.pop(version)
            kept.size -= size
            self._bytes -= size

    def forget_run(self, run: int) -> None:
        """Forget all contents of a run: it has ended."""
        kept = self._runs.pop(run, None)
        if kept is not None:
            self._bytes -= kept.size
