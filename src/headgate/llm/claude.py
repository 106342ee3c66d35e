"""What Claude models take, read off their names: Anthropic and AWS serve the same models. No I/O here.

A name has a generation (`claude-haiku-4-5` is 4.5, `claude-3-7-sonnet` is 3.7), and what a generation takes, later ones
take too; so a model that is not known yet is treated like the newest.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from headgate.llm.asking import Dropping
from headgate.llm.request_parts import Choice
from headgate.ports import ModelRequest

__all__ = ["Claude", "claude_of", "drop_forced", "thinking_fields"]

GENERATION = re.compile(r"claude-(?:[a-z]+-)*?v?(\d+)(?:[-.](\d{1,2})(?!\d))?")
BUDGET_TOKENS_MIN = 1_024
ANSWER_TOKENS_MIN = 1_024
"""What is left of `max_tokens` for the answer, after a model has thought."""
BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 10_000, "high": 16_384, "xhigh": 32_768, "max": 32_768}
"""Tokens to think with, for models that are told so many."""
NEWEST = (99, 0)
UNKNOWN = (0, 0)


class Claude(msgspec.Struct, frozen=True):
    """A model by its name and its generation."""

    name: str
    generation: tuple[int, int]

    @property
    def takes_schema(self) -> bool:
        return self.generation >= (4, 5) or self._is("opus-4-1")

    @property
    def takes_sampling(self) -> bool:
        """Say whether `temperature` and `top_p` are for it."""
        return self.generation < (4, 7)

    @property
    def thinks(self) -> bool:
        return self.generation >= (3, 7)

    @property
    def thinks_as_needed(self) -> bool:
        """Say whether it finds out itself how much to think, and is told an effort at most."""
        return self.generation >= (4, 6)

    @property
    def takes_effort(self) -> bool:
        return self.thinks_as_needed or self._is("opus-4-5")

    @property
    def can_be_forced(self) -> bool:
        """Say whether tools can be demanded of it."""
        if self._is("haiku"):
            return True
        return self.generation < ((5, 5) if self._is("opus") or self._is("sonnet") else (5, 1))

    @property
    def output_tokens_max(self) -> int:
        """The most that an answer can have."""
        return 128_000 if self.generation >= (4, 6) else 64_000 if self.generation >= (4, 5) else 4_096

    def effort(self, effort: str) -> str:
        """Return the effort in the model's own words."""
        if effort in ("minimal", "low"):
            return "low"
        if effort == "xhigh" and self.generation < (4, 7):
            effort = "max"
        return "high" if effort == "max" and not self.thinks_as_needed else effort

    def _is(self, family: str) -> bool:
        return f"claude-{family}" in self.name


def claude_of(model: str) -> Claude:
    """Return what is known of a model by its name."""
    found = GENERATION.search(model)
    if found is not None:
        return Claude(model, (int(found[1]), int(found[2] or 0)))
    return Claude(model, NEWEST if "claude" in model else UNKNOWN)


def drop_forced(claude: Claude, choice: Choice, dropping: Dropping, *, budgeted: bool) -> Choice:
    """Return the choice, which is `auto` where the model cannot be forced; `budgeted`: it thinks by a budget."""
    if not choice.forced or (claude.can_be_forced and not budgeted):
        return choice
    dropping.drop("tool_choice", "it cannot be forced" + (" while it thinks" if budgeted else ""))
    return Choice()


def thinking_fields(claude: Claude, request: ModelRequest, dropping: Dropping) -> dict[str, Any]:
    """Return the fields `thinking` and `output_config` that ask for the effort. Raises `ProviderError` for a word that
    is none, and for effort where the model does not think, or has no room to (unless it may be dropped)."""
    effort = dropping.effort()
    if not effort:
        return {}
    if not claude.thinks:
        dropping.drop("reasoning")
        return {}
    told = {"output_config": {"effort": claude.effort(effort)}} if claude.takes_effort else {}
    if claude.thinks_as_needed:
        return {"thinking": {"type": "adaptive"}, **told}
    budget = BUDGETS[effort]
    if request.max_tokens is not None:  # which the thinking is part of
        budget = min(budget, request.max_tokens - ANSWER_TOKENS_MIN)
    if budget < BUDGET_TOKENS_MIN:
        dropping.drop("reasoning", f"it takes max_tokens of at least {BUDGET_TOKENS_MIN + ANSWER_TOKENS_MIN:,}")
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget}, **told}
