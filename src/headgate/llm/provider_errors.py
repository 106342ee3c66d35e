"""How a refused or broken model call is named: one vocabulary for all providers, so that the gate can choose.

The codes: `rate_limited`, `quota_exhausted`, `context_too_long`, `content_filter`, `authentication`, `not_found`,
`invalid_request`, `missing_capability`, `provider_unavailable`, `timed_out`, `connection_failed`, `malformed_response`,
`missing_key`, `missing_address`, `missing_extra`, `misconfigured`, `unscripted_call`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import cast

import msgspec

from headgate.core.values import RateReport
from headgate.ports import ProviderError

__all__ = [
    "RETRYABLE",
    "code_of_status",
    "malformed",
    "rate_report",
    "refusal_text",
    "refused_here",
    "retry_after_seconds",
    "told",
    "wait_seconds",
]

RETRYABLE = frozenset({"rate_limited", "provider_unavailable", "timed_out", "connection_failed", "malformed_response"})
"""Codes of what may go well when it is asked again."""
RETRY_AFTER_SECONDS_MAX = 86_400.0
_CODES = {
    401: "authentication",
    402: "quota_exhausted",
    403: "authentication",
    404: "not_found",
    408: "timed_out",
    429: "rate_limited",
}
_CONTEXT_CODES = frozenset({"context_length_exceeded", "string_above_max_length"})
_FILTER_CODES = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})
_RESET = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_LEFT = re.compile(
    r"(?P<before>x-ratelimit-|anthropic-ratelimit-)"
    r"(?P<rest>remaining-(?:requests|tokens)|(?:requests|tokens|input-tokens|output-tokens)-remaining)"
)
_CONTEXT_PHRASES = (
    "maximum context length",
    "context length exceeded",
    "exceeds the context",
    "context window",
    "prompt is too long",
    "too large for model",
)


def code_of_status(status: int, message: str = "", vendor_code: str = "") -> str:
    """Return our code for a provider's refusal, from its status, its text and the code it gave itself."""
    if status == 413 or vendor_code in _CONTEXT_CODES:
        return "context_too_long"
    if 400 <= status < 500 and any(phrase in message.lower() for phrase in _CONTEXT_PHRASES):
        return "context_too_long"
    if vendor_code in _FILTER_CODES and status < 500:
        return "content_filter"
    if status == 429 and vendor_code == "insufficient_quota":
        return "quota_exhausted"
    if status < 400:  # a redirect: the base URL is not the address of an API
        return "misconfigured"
    if status >= 500:
        return "provider_unavailable"
    return _CODES.get(status, "invalid_request")


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


def refusal_text(who: str, status: int, shown: str) -> str:
    """Return what to say of a refusal with which the provider said `shown`."""
    if 300 <= status < 400:
        return f"{who} answered {status}: it leads elsewhere, and redirects are not followed. Is its base URL right?"
    return f"{who} answered {status}: {shown}" if shown else f"{who} answered {status}."


def told(said: object) -> tuple[str, str]:
    """Return the text and the code of an error body, in the forms that vendors give them."""
    if not isinstance(said, dict):
        return " ".join(str(said or "").split()), ""
    fields = cast("dict[str, object]", said)
    inner = fields.get("error")
    if isinstance(inner, dict):
        fields = cast("dict[str, object]", inner)
    text = fields.get("message") or fields.get("detail") or (inner if isinstance(inner, str) else "") or said
    if not isinstance(text, str):
        text = msgspec.json.encode(text).decode()
    return " ".join(text.split()), _code_in(fields)


def _code_in(fields: dict[str, object]) -> str:
    """Return the code that an error gives itself; Azure has the one that says more a floor below."""
    inner = fields.get("innererror")
    own = cast("dict[str, object]", inner).get("code") if isinstance(inner, dict) else None
    return str(fields.get("code") or own or "")
