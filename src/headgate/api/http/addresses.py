"""What is found at an address by a method: one pattern for all routes, so that the hundredth takes no longer to find
than the first."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

__all__ = ["Addresses"]

End = TypeVar("End")

PARAMETER = re.compile(r"\{(\w+)\}")


class Addresses(Generic[End]):
    """Made of (method, address, what is there); `{name}` in an address is one segment of it, not an empty one. Of
    several that fit, the first that was given is meant. Whoever takes GET takes HEAD."""

    def __init__(self, ends: Iterable[tuple[str, str, End]]) -> None:
        self._methods: set[str] = set()
        self._ends: dict[int, tuple[End, tuple[tuple[str, int], ...]]] = {}
        """By the empty group behind its alternative: what is there, and the groups of its parameters."""
        alternatives: list[str] = []
        last = 0
        for method, address, end in ends:
            methods = ("GET", "HEAD") if method == "GET" else (method,)
            self._methods.update(methods)
            names = PARAMETER.findall(address)
            self._ends[last + len(names) + 1] = end, tuple((name, last + at) for at, name in enumerate(names, 1))
            last += len(names) + 1
            alternatives.append(f"(?:{'|'.join(methods)}) {_pattern(address)}()")
        self._match = re.compile("|".join(alternatives)).fullmatch

    def find(self, method: str, path: str) -> tuple[End, dict[str, str]] | None:
        """Return what is there, and the parameters in the path; None where there is nothing."""
        match = self._match(f"{method} {path}")
        if match is None or match.lastindex is None:
            return None
        end, parameters = self._ends[match.lastindex]
        return end, {name: match[group] for name, group in parameters}

    def methods(self, path: str) -> set[str]:
        """Return the methods by which something is there."""
        return {method for method in self._methods if self.find(method, path) is not None}


def _pattern(address: str) -> str:
    words = PARAMETER.split(address)[::2]
    return "([^/]+)".join(map(re.escape, words))
