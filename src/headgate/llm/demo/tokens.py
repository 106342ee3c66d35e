"""The demo models' tokens: up to six letters, or three digits, or one other sign, with the space before it.

English prose comes out near four characters a token, as with the vocabularies of real models. Every text
is the concatenation of its tokens, so that the first n of them are a prefix.
"""

from __future__ import annotations

import re

import msgspec

from headgate.ports import ModelRequest

__all__ = ["HAN", "MESSAGE_TOKENS", "count_request", "count_text", "first_tokens", "pieces"]

MESSAGE_TOKENS = 4
"""Counted for each message beside its text: role and borders."""

HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_TOKEN = rf"\s*(?:[{HAN}]|(?:(?![{HAN}])[^\W\d_]){{1,6}}|\d{{1,3}}|\S)|\s+"


def count_text(text: str) -> int:
    """Return the number of tokens in `text`."""
    return sum(1 for _ in re.finditer(_TOKEN, text))


def count_request(request: ModelRequest) -> int:
    """Return the input tokens of `request`: its messages, tools and response schema."""
    total = sum(MESSAGE_TOKENS + count_text(message.content) for message in request.messages)
    for message in request.messages:
        total += sum(_count_value([call.name, call.arguments]) for call in message.tool_calls)
    total += sum(_count_value(tool) for tool in request.tools)
    return total + (_count_value(request.response_schema) if request.response_schema is not None else 0)


def _count_value(value: object) -> int:
    return count_text(msgspec.json.encode(value, order="sorted").decode())


def first_tokens(text: str, count: int) -> str:
    """Return the first `count` tokens of `text`, or all of it."""
    end = 0
    for number, match in enumerate(re.finditer(_TOKEN, text)):
        if number == count:
            return text[:end]
        end = match.end()
    return text


def pieces(text: str) -> list[str]:
    """Return `text` cut into words, each with the space after it; joined, they are `text`."""
    return re.findall(r"\s*\S+\s*", text) or ([text] if text else [])
