"""Who waits for room in which budget above the runs, first come first served across all runs of this process."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Lines", "Waiter"]

Waiter = tuple[str, str]
"""Run and call."""


class Lines:
    """A line for each budget. A call stands in one line at most; who joins another leaves the first."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[Waiter, None]] = {}
        self._line_of: dict[Waiter, str] = {}

    def join(self, budget: str, waiter: Waiter) -> str:
        """Put the call at the end of the line, if it is not in it; return the line that it leaves for that."""
        if self._line_of.get(waiter) == budget:
            return ""
        left = self.leave(waiter)
        self._line_of[waiter] = budget
        self._lines.setdefault(budget, {})[waiter] = None
        return left

    def leave(self, waiter: Waiter) -> str:
        """Take the call out of its line; return which it was, or nothing."""
        budget = self._line_of.pop(waiter, "")
        if budget:
            line = self._lines[budget]
            del line[waiter]
            if not line:
                del self._lines[budget]
        return budget

    def leave_all(self, run_id: str) -> set[str]:
        """Take out all calls of a run; return their lines."""
        return {self.leave(waiter) for waiter in [waiter for waiter in self._line_of if waiter[0] == run_id]}

    def first(self, budget: str) -> Waiter | None:
        return next(iter(self._lines.get(budget, ())), None)

    def of(self, budget: str) -> list[Waiter]:
        return list(self._lines.get(budget, ()))

    def budgets(self) -> list[str]:
        return list(self._lines)

    def length(self, budget: str) -> int:
        return len(self._lines.get(budget, ()))

    def matching(self, is_meant: Callable[[str], bool]) -> list[str]:
        return [budget for budget in self._lines if is_meant(budget)]
