"""How a refused or broken model call is named: one vocabulary for all providers, so that the gate can choose.

The codes: `rate_limited`, `quota_exhausted`, `context_too_long`, `authentication`, `not_found`,
`invalid_request`, `provider_unavailable`, `timed_out`, `connection_failed`, `malformed_response`,
`missing_key`, `missing_address`, `not_built`, `misconfigured`, `unscripted_call`.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

from headgate.ports import ProviderError

__all__ = ["RETRYABLE", "code_of_status", "malformed", "refused_here", "retry_after_seconds"]

RETRYABLE = frozenset({"rate_limited", "provider_unavailable", "timed_out", "connection_failed", "malformed_response"})
"""Codes of what may go well when it is asked again."""
RETRY_AFTER_SECONDS_MAX = 86_400.0
_CODES = {
    401: "authentication",
    403: "authentication",
    404: "not_found",
    408: "timed_out",
    429: "rate_limited",
}
_CONTEXT_CODES = frozenset({"context_length_exceeded", "string_above_max_length"})
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
    if status == 429 and vendor_code == "insufficient_quota":
        return "quota_exhausted"
    if status < 400:  # a redirect: the base URL is not the address of an API
        return "misconfigured"
    if status >= 500:
        return "provider_unavailable"
    return _CODES.get(status, "invalid_request")


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
