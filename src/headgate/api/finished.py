"""Answers about runs that have ended, kept as they were sent: such a run changes only by being retried or erased."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from typing import NamedTuple

from headgate.ports import RunRow

__all__ = ["FinishedAnswers"]

BYTES_MAX = 64_000_000
ANSWER_BYTES_MAX = 1_000_000
"""Larger ones are made anew each time."""

FORMS = ("whole", "short")
QUICKLY = 1
"""A quarter of the bytes for a few microseconds: so many more runs are at hand."""

_Key = tuple[str, str]


class _Stamp(NamedTuple):
    """What an answer was made of: it is good as long as the run's row says the same."""

    version: int
    erased: bool
    tenant: str


class FinishedAnswers:
    """Bytes by run and form, packed; beyond the maximum, those used longest ago go first.

    `sole`: no other process changes runs, and whoever does so here says it (`forget`), so that an answer is known to be
    good without a look into the log.
    """

    def __init__(self, *, sole: bool = False) -> None:
        self._sole = sole
        self._kept: OrderedDict[_Key, tuple[_Stamp, bytes]] = OrderedDict()
        self._bytes = 0

    def known(self, tenant: str, run: str, form: str) -> bytes | None:
        """Return the answer about a tenant's run, if it is sure to be that of the run as it is now."""
        kept = self._kept.get((run, form)) if self._sole else None
        if kept is None or kept[0].tenant != tenant:
            return None
        self._kept.move_to_end((run, form))
        return zlib.decompress(kept[1])

    def forget(self, run: str) -> None:
        """A run has changed, or is gone."""
        for form in FORMS:
            before = self._kept.pop((run, form), None)
            self._bytes -= 0 if before is None else len(before[1])

    def find(self, row: RunRow, form: str) -> bytes | None:
        """Return the answer that was kept of the run as it is now, or None."""
        kept = self._kept.get((row.id, form))
        if kept is None or kept[0] != _stamp(row):
            return None
        self._kept.move_to_end((row.id, form))
        return zlib.decompress(kept[1])

    def keep(self, row: RunRow, form: str, data: bytes) -> None:
        """Keep the answer about a run that has ended; of any other run nothing is kept."""
        if row.head.finished_at is None or len(data) > ANSWER_BYTES_MAX:
            return
        data = zlib.compress(data, QUICKLY)
        before = self._kept.pop((row.id, form), None)
        self._bytes += len(data) - (0 if before is None else len(before[1]))
        self._kept[row.id, form] = (_stamp(row), data)
        while self._bytes > BYTES_MAX:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._bytes -= len(oldest)


def _stamp(row: RunRow) -> _Stamp:
    return _Stamp(row.head.version, row.erased, row.tenant)
