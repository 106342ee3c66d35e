"""Answers about runs that have ended, kept as they were sent: such a run changes only by being retried or erased."""

from __future__ import annotations

from collections import OrderedDict

from headgate.ports import RunRow

__all__ = ["FinishedAnswers"]

BYTES_MAX = 64_000_000
ANSWER_BYTES_MAX = 1_000_000
"""Larger ones are made anew each time."""

_Key = tuple[str, str]
_Stamp = tuple[int, bool]


class FinishedAnswers:
    """Bytes by run and form; beyond the maximum, those used longest ago go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, tuple[_Stamp, bytes]] = OrderedDict()
        self._bytes = 0

    def find(self, row: RunRow, form: str) -> bytes | None:
        """Return the answer that was kept of the run as it is now, or None."""
        kept = self._kept.get((row.id, form))
        if kept is None or kept[0] != _stamp(row):
            return None
        self._kept.move_to_end((row.id, form))
        return kept[1]

    def keep(self, row: RunRow, form: str, data: bytes) -> None:
        """Keep the answer about a run that has ended; of any other run nothing is kept."""
        if row.head.finished_at is None or len(data) > ANSWER_BYTES_MAX:
            return
        before = self._kept.pop((row.id, form), None)
        self._bytes += len(data) - (0 if before is None else len(before[1]))
        self._kept[row.id, form] = (_stamp(row), data)
        while self._bytes > BYTES_MAX:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._bytes -= len(oldest)


def _stamp(row: RunRow) -> _Stamp:
    return row.head.version, row.erased
