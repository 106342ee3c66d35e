"""What a provider's refusal is named, from its status, its headers and what it says of itself.

Vendors word the same thing differently, so one table has all of their words: a word that only one of them uses harms no
other. What an error calls itself wins over its text, and that over its status.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import msgspec

from headgate.llm.provider_errors import retry_after_seconds

__all__ = ["code_of", "code_of_status", "refusal_text", "retry_delay", "told"]

STATUSES = {
    401: "authentication",
    402: "quota_exhausted",
    403: "authentication",
    404: "not_found",
    408: "timed_out",
    429: "rate_limited",
}
NAMES = {
    # OpenAI, and most that imitate it
    "context_length_exceeded": "context_too_long",
    "string_above_max_length": "context_too_long",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "ResponsibleAIPolicyViolation": "content_filter",
    "insufficient_quota": "quota_exhausted",
    # Anthropic
    "billing_error": "quota_exhausted",
    "overloaded_error": "provider_unavailable",
    "timeout_error": "timed_out",
    # Google
    "API_KEY_INVALID": "authentication",
    "DEADLINE_EXCEEDED": "provider_unavailable",
    # AWS
    "ThrottlingException": "rate_limited",
    "ModelNotReadyException": "provider_unavailable",
    "ModelTimeoutException": "provider_unavailable",
    "ModelErrorException": "provider_unavailable",
    "ModelStreamErrorException": "provider_unavailable",
    "ServiceUnavailableException": "provider_unavailable",
    "InternalServerException": "provider_unavailable",
    "ServiceQuotaExceededException": "quota_exhausted",
    "AccessDeniedException": "authentication",
    "UnrecognizedClientException": "authentication",
    "ExpiredTokenException": "authentication",
    "InvalidSignatureException": "authentication",
    "ResourceNotFoundException": "not_found",
}
"""What vendors call their errors, where the status does not say as much."""
PHRASES = {
    "maximum context length": "context_too_long",
    "context length exceeded": "context_too_long",
    "exceeds the context": "context_too_long",
    "context window": "context_too_long",
    "prompt is too long": "context_too_long",
    "too large for model": "context_too_long",
    "exceeds the maximum number of tokens": "context_too_long",
    "input is too long": "context_too_long",
    "credit balance is too low": "quota_exhausted",
    "model identifier is invalid": "not_found",
    "api key not valid": "authentication",
    "content filtering policy": "content_filter",
}
OF_REQUESTS = frozenset({"context_too_long", "content_filter", "quota_exhausted"})
"""Names that only a refusal of the request has: beside a status of 500 and above they are no more than words."""
DAILY = ("perday", "per_day")


def code_of(status: int, said: object, headers: Mapping[str, str]) -> str:
    """Return our code for a refusal with which the provider `said` this (a body, or text)."""
    code = code_of_status(status, told(said), *_names(said, headers))
    return "quota_exhausted" if code == "rate_limited" and _is_daily(said) else code


def code_of_status(status: int, message: str = "", *names: str) -> str:
    """Return our code for a refusal, from its status, its text and the names that it gives itself."""
    if status == 413:
        return "context_too_long"
    for name in names:
        if name in NAMES and (status < 500 or NAMES[name] not in OF_REQUESTS):
            return NAMES[name]
    if 400 <= status < 500:
        text = message.lower()
        found = next((code for phrase, code in PHRASES.items() if phrase in text), "")
        return found or STATUSES.get(status, "invalid_request")
    if status < 400:  # a redirect: the base URL is not the address of an API
        return "misconfigured"
    return "provider_unavailable"


def refusal_text(who: str, status: int, shown: str) -> str:
    """Return what to say of a refusal with which the provider said `shown`."""
    if 300 <= status < 400:
        return f"{who} answered {status}: it leads elsewhere, and redirects are not followed. Is its base URL right?"
    return f"{who} answered {status}: {shown}" if shown else f"{who} answered {status}."


def told(said: object) -> str:
    """Return the text of an error body in one line, in the forms that vendors give them."""
    if not isinstance(said, dict):
        return " ".join(str(said or "").split())
    fields = cast("dict[str, object]", said)
    inner = fields.get("error")
    fields = _inner(said)
    names = ("message", "Message", "detail")
    text = next((value for name in names if (value := fields.get(name))), inner if isinstance(inner, str) else "")
    text = text or said
    return " ".join((text if isinstance(text, str) else msgspec.json.encode(text).decode()).split())


def retry_delay(said: object) -> float | None:
    """Return the seconds of Google's `RetryInfo` ("13s"), or None."""
    for detail in _details(said):
        delay = detail.get("retryDelay")
        if isinstance(delay, str):
            return retry_after_seconds(delay.removesuffix("s"))
    return None


def _inner(said: object) -> dict[str, object]:
    fields = cast("dict[str, object]", said) if isinstance(said, dict) else {}
    inner = fields.get("error")
    return cast("dict[str, object]", inner) if isinstance(inner, dict) else fields


def _names(said: object, headers: Mapping[str, str]) -> Iterator[str]:
    """Yield what the error calls itself: AWS in a header, Google in its details, Azure a floor below."""
    fields = _inner(said)
    below = fields.get("innererror")
    yield headers.get("x-amzn-errortype", "").partition(":")[0]
    yield str(fields.get("__type") or "").rpartition("#")[2]
    for name in (fields.get("code"), fields.get("type"), *(detail.get("reason") for detail in _details(said))):
        yield str(name or "")
    yield str(fields.get("status") or "")
    yield str(cast("dict[str, object]", below).get("code") or "") if isinstance(below, dict) else ""


def _details(said: object) -> list[dict[str, object]]:
    details = _inner(said).get("details")
    listed = cast("list[object]", details) if isinstance(details, list) else []
    return [cast("dict[str, object]", one) for one in listed if isinstance(one, dict)]


def _is_daily(said: object) -> bool:
    """Google tells a limit per day from one per minute only in the name of the quota."""
    text = msgspec.json.encode(_details(said)).decode().lower()
    return any(word in text for word in DAILY)
