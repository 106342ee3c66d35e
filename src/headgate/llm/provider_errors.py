"""How a model call that failed is named: one vocabulary for all providers, so that the gate can choose; and what the
headers of an answer say of the provider's rates. Which name a refusal gets is in `refusals`.

The codes: `rate_limited`, `quota_exhausted`, `context_too_long`, `content_filter`, `authentication`, `not_found`,
`invalid_request`, `missing_capability`, `provider_unavailable`, `timed_out`, `connection_failed`, `malformed_response`,
`missing_key`, `missing_address`, `misconfigured`, `unscripted_call`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime

from headgate.core.values import RateReport
from headgate.ports import ProviderError

__all__ = [
    "RETRYABLE",
    "malformed",
    "rate_report",
    "refused_here",
    "retry_after_seconds",
    "wait_seconds",
]

RETRYABLE = frozenset({"rate_limited", "provider_unavailable", "timed_out", "connection_failed", "malformed_response"})
"""Codes of what may go well when it is asked again."""
RETRY_AFTER_SECONDS_MAX = 86_400.0
_RESET = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_LEFT = re.compile(
    r"(?P<before>x-ratelimit-|anthropic-ratelimit-)"
    r"(?P<rest>remaining-(?:requests|tokens)|(?:requests|tokens|input-tokens|output-tokens)-remaining)"
)


def wait_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait that a refusal's headers ask for (their names in lower case), or None.

    `retry-after-ms` and `retry-after` say it outright; else the limit that is used up says when it is not any more.
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    if milliseconds.replace(".", "", 1).isdecimal():
        return min(float(milliseconds) / 1_000, RETRY_AFTER_SECONDS_MAX)
    if (seconds := retry_after_seconds(headers.get("retry-after", ""))) is not None:
        return seconds
    waits = [
        _reset_seconds(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}", "").strip() == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def rate_report(headers: Mapping[str, str]) -> RateReport | None:
    """Return what an answer's headers (their names in lower case) say of the provider's rates; None: nothing.

    OpenAI and most say `x-ratelimit-remaining-requests` and in how long that is reset (`6m0s`, `120ms`); Anthropic has
    its own prefix, and times of day. Of several kinds of tokens the scarcest counts.
    """
    found: dict[str, tuple[int, float | None]] = {}
    for name, value in headers.items():
        match = _LEFT.fullmatch(name)
        if match is None or not value.strip().isdecimal():
            continue
        what, left = ("requests" if "requests" in match["rest"] else "tokens"), int(value.strip())
        reset = _moment_seconds(headers.get(match["before"] + match["rest"].replace("remaining", "reset"), ""))
        if what not in found or (left, -(reset or 0.0)) < (found[what][0], -(found[what][1] or 0.0)):
            found[what] = (left, reset)
    if not found:
        return None
    requests, tokens = found.get("requests", (None, None)), found.get("tokens", (None, None))
    return RateReport(*requests, *tokens)


def _moment_seconds(text: str) -> float | None:
    """Return the seconds until a reset, which is a span, or a time of day in RFC 3339."""
    if (seconds := _reset_seconds(text)) is not None:
        return seconds
    with suppress(ValueError):
        until = datetime.fromisoformat(text.strip()).timestamp() - time.time()
        return min(max(until, 0.0), RETRY_AFTER_SECONDS_MAX)
    return None


def _reset_seconds(text: str) -> float | None:
    """Return the seconds of `6m0s`, `120ms` or `1.5s`, or None."""
    found = _RESET.fullmatch(text.strip())
    if found is None or not found[0]:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return min(hours * 3_600 + minutes * 60 + seconds + milliseconds / 1_000, RETRY_AFTER_SECONDS_MAX)


def retry_after_seconds(text: str) -> float | None:
    """Return the seconds that a Retry-After header asks for (seconds, or an HTTP date), or None."""
    text = text.strip()
    try:
        if text.replace(".", "", 1).isdecimal():
            seconds = float(text)
        else:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)


def malformed(message: str) -> ProviderError:
    """Return the error for an answer that came, and cannot be read. What it cost is not known."""
    return ProviderError(message, status=200, code="malformed_response", retryable=True)


def refused_here(code: str, message: str) -> ProviderError:
    """Return the error for a call that was stopped before anything was sent, and would be stopped again."""
    return ProviderError(message, code=code, retryable=False, sent=False)
