"""The vendors, each imported when it is first called: an SDK takes a second or two, and most processes use none."""

from __future__ import annotations

from collections.abc import Callable

from headgate.llm.direct.provider import Vendor

__all__ = ["LOADS"]


def _anthropic() -> Vendor:
    from headgate.llm.direct.anthropic import AnthropicVendor

    return AnthropicVendor()


def _google() -> Vendor:
    from headgate.llm.direct.google import GoogleVendor

    return GoogleVendor()


def _bedrock() -> Vendor:
    from headgate.llm.direct.bedrock import BedrockVendor

    return BedrockVendor()


LOADS: dict[str, Callable[[], Vendor]] = {"anthropic": _anthropic, "google": _google, "bedrock": _bedrock}
