"""When a model of a list is passed over and the next one is asked: for what it is known not to do, or how it failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from headgate.activities.targets import Target
from headgate.ports import EmbeddingAnswer, ModelAnswer, ModelRequest, ProviderError

__all__ = ["another_may_help", "is_filtered", "who_cannot"]

ELSEWHERE = frozenset(
    {
        "rate_limited",
        "quota_exhausted",
        "provider_unavailable",
        "timed_out",
        "connection_failed",
        "malformed_response",
        "context_too_long",
        "content_filter",
        "missing_capability",
        "demo_cannot",
        "missing_address",
        "missing_key",
    }
)
"""Codes of failures that say nothing against asking the next model."""


def who_cannot(targets: Sequence[Target], request: object) -> dict[str, str]:
    """Return which models are known not to be able to take the request, by name, and why; if none could, they say so
    themselves."""
    if len(targets) == 1:
        return {}
    cannot = {target.name: why for target in targets if (why := _cannot(target, request))}
    return cannot if len(cannot) < len(targets) else {}


def _cannot(target: Target, request: object) -> str:
    """Return why the model is known not to be able to take the request, or nothing."""
    cannot: Callable[[ModelRequest], str] | None = getattr(target.provider, "cannot", None)  # `ports.Foresees`
    if cannot is None or not isinstance(request, ModelRequest):
        return ""
    return cannot(msgspec.structs.replace(request, model=target.model))


def another_may_help(error: ProviderError) -> bool:
    """Return whether another model may answer what this one has failed to."""
    return error.kind in ELSEWHERE or error.status == 429 or error.status >= 500


def is_filtered(answer: ModelAnswer | EmbeddingAnswer) -> bool:
    """Say whether a content filter left nothing of the answer."""
    return (
        isinstance(answer, ModelAnswer)
        and answer.finish_reason == "ContentFilter"
        and not answer.content.strip()
        and not answer.tool_calls
    )
