"""What Google's models take, read off their names. No I/O here.

`gemini-2.5-flash` is of generation 2.5; a name without one (`gemini-flash-latest`) is of the newest. Gemma is of none.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

__all__ = ["Gemini", "gemini_of"]

GENERATION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
BUDGETS = {"minimal": 128, "low": 2_048, "medium": 8_192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
"""Tokens to think with, for models that are told so many."""
LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH"}
NEWEST = (99, 0)


class Gemini(msgspec.Struct, frozen=True):
    """A model by its name and its generation."""

    name: str
    generation: tuple[int, int]

    @property
    def thinks(self) -> bool:
        return self.generation >= (2, 5) and "2.5-flash-image" not in self.name

    @property
    def takes_schema_beside_tools(self) -> bool:
        return self.generation >= (3, 0)

    @property
    def checks_calls(self) -> bool:
        """Say whether it can be held to the schemas of tools that it may call or not."""
        return self.thinks and "image" not in self.name

    def thinking(self, effort: str) -> dict[str, Any]:
        """Return the settings that ask for this effort, and for what can be shown of the thinking."""
        if self.generation < (3, 0):
            return {"includeThoughts": True, "thinkingBudget": BUDGETS[effort]}
        level = LEVELS[effort]
        if level == "MINIMAL" and not self._thinks_little:
            level = "LOW"
        if level == "MEDIUM" and self.name.startswith("gemini-3-pro"):
            level = "LOW"
        return {"includeThoughts": True, "thinkingLevel": level}

    @property
    def _thinks_little(self) -> bool:
        return "flash" in self.name and self.generation < (3, 7)


def gemini_of(model: str) -> Gemini:
    """Return what is known of a model by its name."""
    found = GENERATION.search(model)
    if found is not None:
        return Gemini(model, (int(found[1]), int(found[2] or 0)))
    return Gemini(model, (0, 0) if "gemma" in model or model == "gemini-pro" else NEWEST)
