"""Requests as they go to vendors."""

from __future__ import annotations

from typing import Any

from headgate.llm.anthropic import Anthropic
from headgate.llm.bedrock import Bedrock
from headgate.llm.google import Google
from headgate.llm.provider_settings import read_settings
from headgate.ports import Message, ModelRequest

VENDORS: dict[str, Any] = {
    "anthropic": Anthropic(read_settings("anthropic", {})),
    "google": Google(read_settings("google", {})),
    "bedrock": Bedrock(read_settings("bedrock", {}), {"AWS_REGION": "eu-central-1"}),
}
CLAUDES = ("claude-haiku-4-5", "claude-3-5-haiku-latest", "claude-opus-4-5", "claude-sonnet-4-6", "claude-opus-5-5")
MODELS = {
    "anthropic": CLAUDES,
    "google": (
        "gemini-2.5-flash",
        "gemini-2.0-flash",
        "gemini-3-pro-preview",
        "gemini-3.1-flash-lite",
        "gemma-3-27b-it",
    ),
    "bedrock": (
        *(f"anthropic.{name}-v1:0" for name in CLAUDES),
        *("amazon.nova-pro-v1:0", "meta.llama3-3-70b-instruct-v1:0", "writer.palmyra-x5-v1:0", "qwen.qwen3-32b-v1:0"),
        *("openai.gpt-oss-120b-1:0", "zai.glm-5", "xai.grok-4.6", "an-id-of-nobody"),
    ),
}
HELLO = (Message("user", "Hello"),)


def body(name: str, model: str, **fields: Any) -> dict[str, Any]:
    whole = {"messages": HELLO, "max_tokens": 9_000, **fields}
    return VENDORS[name].ask(ModelRequest(model=model, **whole), streamed=False).body
