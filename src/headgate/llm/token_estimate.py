"""How many tokens a request has at most, guessed from its bytes: what a reservation is made of.

A byte count needs no vocabulary to be downloaded and errs upwards: three bytes a token is rarely too few for
any script, where four characters are up to three times too few outside the Latin ones. `factor` is 1.0 for
the vocabularies this was measured on (OpenAI's) and 1.3 for unknown ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from headgate.ports import ModelRequest, ToolCall

__all__ = [
    "FACTOR_MEASURED",
    "FACTOR_UNKNOWN",
    "estimate_inputs",
    "estimate_output",
    "estimate_request",
    "estimate_text",
]

FACTOR_MEASURED = 1.0
FACTOR_UNKNOWN = 1.3
BYTES_PER_TOKEN = 3
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
    texts += [_json(message.tool_calls) for message in request.messages if message.tool_calls]
    texts += [_json(part) for part in (request.tools, request.response_schema, request.extra) if part]
    borders = MESSAGE_TOKENS * len(request.messages) + ANSWER_TOKENS
    images = sum(len(message.images) for message in request.messages)
    borders += images * (IMAGE_TOKENS_OF_4O_MINI if "gpt-4o-mini" in request.model else IMAGE_TOKENS)
    return borders + sum(estimate_text(text, factor=factor) for text in texts)


def estimate_inputs(inputs: Sequence[str], *, factor: float) -> int:
    """Return an upper estimate of the tokens of texts that are to be embedded."""
    return sum(MESSAGE_TOKENS + estimate_text(text, factor=factor) for text in inputs)


def estimate_output(content: str, tool_calls: Sequence[ToolCall], most: int | None, *, factor: float) -> int:
    """Return an upper estimate of an answer's tokens, which are never more than `most` (its max_tokens)."""
    calls = estimate_text(_json(tool_calls), factor=factor) if tool_calls else 0
    total = estimate_text(content, factor=factor) + calls
    return total if most is None else min(total, most)


def estimate_text(text: str, *, factor: float) -> int:
    """Return the tokens of `text`, rounded up."""
    # A lone surrogate is no UTF-8; a message with one is refused where it is sent, not where it is counted.
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN * factor)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
