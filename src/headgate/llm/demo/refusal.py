"""What the demo models cannot do, said so that the reader knows what to set instead."""

from __future__ import annotations

from headgate.ports import ProviderError

__all__ = ["cannot"]


def cannot(what: str) -> ProviderError:
    """Return the refusal of a request. `what` finishes the sentence "The demo models cannot …"."""
    return ProviderError(
        f"The demo models cannot {what}. They are small offline algorithms that summarise a text, "
        f"answer from a text "
        "by quoting it, classify over given labels, extract fields and keywords, and choose tools. For "
        "anything else "
        "set a real model: `model: openai/…` with OPENAI_API_KEY, or a local one as `model: ollama/…`.",
        status=422,
        code="demo_cannot",
        retryable=False,
    )
