"""Results in memory: the contents that were read or written last, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["ContentCache"]

BYTES_MAX = 64_000_000
OVERHEAD_BYTES = 200


class ContentCache:
    """Least recently used first out. What it holds is shared: nobody may change a value that came from here."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[tuple[int, int], tuple[object, int]] = OrderedDict()

    def __contains__(self, key: tuple[int, int]) -> bool:
        return key in self._kept

    def __getitem__(self, key: tuple[int, int]) -> object:
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def keep(self, run: int, version: int, value: object, size: int) -> None:
        key = (run, version)
        if key in self._kept:
            return
        size += OVERHEAD_BYTES
        self._kept[key] = (value, size)
        self._bytes += size
        while self._bytes > self._bytes_max and len(self._kept) > 1:
            _, (_, freed) = self._kept.popitem(last=False)
            self._bytes -= freed

    def forget(self, run: int, version: int) -> None:
        """Forget a content that did not get into the log after all."""
        _, size = self._kept.pop((run, version), (None, 0))
        self._bytes -= size
