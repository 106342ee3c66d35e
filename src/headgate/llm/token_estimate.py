"""How many tokens a request has at most, guessed from its texts: what a reservation is made of.

The texts are weighed (`token_weights`) by the vocabularies that a model of that name may have; no vocabulary is
downloaded. `factor` is 1.0 for vendors whose vocabularies were measured (OpenAI) and 1.3 for others; what the answers
of a model teach beyond that is `token_factors`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from headgate.llm.token_weights import count_upper, vocabulary_of
from headgate.ports import ModelRequest, ToolCall

__all__ = [
    "ANSWER_TOKENS",
    "FACTOR_MEASURED",
    "FACTOR_UNKNOWN",
    "MESSAGE_TOKENS",
    "estimate_inputs",
    "estimate_output",
    "estimate_request",
    "estimate_text",
]

FACTOR_MEASURED = 1.0
FACTOR_UNKNOWN = 1.3
MESSAGE_TOKENS = 4
"""Counted for each message beside its text: role and borders."""
IMAGE_TOKENS = 4_000
IMAGE_TOKENS_OF_4O_MINI = 49_000
"""What an image counts at most among OpenAI's models; gpt-4o-mini counts the same image as many more tokens."""
ANSWER_TOKENS = 3
"""What opens the answer."""


def estimate_request(request: ModelRequest, *, factor: float) -> int:
    """Return an upper estimate of the input tokens of `request`: messages, tools, schema and extras."""
    texts = [message.content for message in request.messages]
    texts += [_json(part) for message in request.messages for part in (message.tool_calls, message.thoughts) if part]
    texts += [_json(part) for part in (request.tools, request.response_schema, request.extra) if part]
    borders = MESSAGE_TOKENS * len(request.messages) + ANSWER_TOKENS
    images = sum(len(message.images) for message in request.messages)
    borders += images * (IMAGE_TOKENS_OF_4O_MINI if "gpt-4o-mini" in request.model else IMAGE_TOKENS)
    return borders + sum(estimate_text(text, factor=factor, model=request.model) for text in texts)


def estimate_inputs(inputs: Sequence[str], *, factor: float, model: str = "") -> int:
    """Return an upper estimate of the tokens of texts that are to be embedded."""
    return sum(MESSAGE_TOKENS + estimate_text(text, factor=factor, model=model) for text in inputs)


def estimate_output(
    content: str, tool_calls: Sequence[ToolCall], most: int | None, *, factor: float, model: str = ""
) -> int:
    """Return an upper estimate of an answer's tokens, which are never more than `most` (its max_tokens)."""
    calls = estimate_text(_json(tool_calls), factor=factor, model=model) if tool_calls else 0
    total = estimate_text(content, factor=factor, model=model) + calls
    return total if most is None else min(total, most)


def estimate_text(text: str, *, factor: float, model: str = "") -> int:
    """Return an upper estimate of the tokens of `text`; of a `model` without a name, by any vocabulary."""
    return math.ceil(count_upper(text, vocabulary_of(model)) * factor)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
