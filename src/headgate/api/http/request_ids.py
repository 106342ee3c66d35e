"""What a request is called: by who sends it (`X-Request-Id`, `X-Trace-Id`), or else by us. Every answer says so."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["RequestIds", "request_ids"]

ID_CHARACTERS_MAX = 128

_names = random.Random()  # noqa: S311 - ids, not secrets; its own, whatever an activity does with `random.seed`


class RequestIds(NamedTuple):
    """Of one request."""

    request: str
    trace: str

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Those of its answer."""
        return ("x-request-id", self.request), ("x-trace-id", self.trace)


def request_ids(headers: Mapping[str, str]) -> RequestIds:
    """Return the ids of a request with these headers (names in lower case), new ones where it has none."""
    fresh = f"{_names.getrandbits(192):048x}"
    return RequestIds(
        _safe_id(headers.get("x-request-id", "")) or fresh[:16],
        _safe_id(headers.get("x-trace-id", "")) or fresh[16:],
    )


def _safe_id(text: str) -> str:
    """Return an id that somebody else gave, if it can stand in a header and a log line."""
    usable = 0 < len(text) <= ID_CHARACTERS_MAX and all(char.isalnum() or char in "-_.:" for char in text)
    return text if usable else ""
