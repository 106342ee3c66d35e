"""What a failed call is named: from what happened on the wire first, and from an SDK's own words only after that.

SDKs wrap what breaks into errors of theirs, each in its way. So the status, the text of a refusal and the error of the
transport are taken from the `Call`; what is left to the SDK is an error inside a stream, and what it could not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

import msgspec

from headgate.llm.direct.wire import Call
from headgate.llm.exchange import SAID_CHARACTERS_MAX, trouble_of
from headgate.llm.provider_errors import (
    RETRYABLE,
    code_of_status,
    malformed,
    refusal_text,
    refused_here,
    told,
    wait_seconds,
)
from headgate.ports import ProviderError

__all__ = ["failure_of"]

CODES = {
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
    "credit balance is too low": "quota_exhausted",
    "exceeds the maximum number of tokens": "context_too_long",
    "input is too long": "context_too_long",
    "prompt is too long": "context_too_long",
    "model identifier is invalid": "not_found",
    "api key not valid": "authentication",
    "content filtering policy": "content_filter",
}
LACKING = frozenset({"UserError", "UnsupportedSettingWarning", "NotImplementedError"})
"""What `pydantic_ai` raises for what a model does not take."""
DAILY = ("perday", "per_day")


def failure_of(call: Call, error: BaseException, *, begun: bool = False) -> ProviderError:
    """Return what to raise for `error`. `begun`: the model had said something, so nobody knows what was billed."""
    if isinstance(error, ProviderError):
        return error
    if isinstance(error, TimeoutError):
        return _broken(call, "timed_out", f"did not answer in full within {call.seconds:g} s")
    if isinstance(call.trouble, ProviderError):
        return call.trouble
    if call.trouble is not None and (known := trouble_of(call.trouble)) is not None:
        code, what = known
        if code == "misconfigured":
            return refused_here(code, f"{call.who} {what}.")
        return malformed(f"{call.who} {what}.") if code == "malformed_response" else _broken(call, code, what)
    if call.status and not 200 <= call.status < 300:
        return _refusal(call, call.status, _decoded(bytes(call.said)), call.headers)
    status = getattr(error, "status_code", None)
    if getattr(error, "in_stream", False):
        said = _said_in_stream(error)
        inside = _refusal(call, status if isinstance(status, int) and status >= 400 else 500, said, {})
        inside.status = 0 if begun else inside.status
        return inside
    if not call.left:
        lacking = type(error).__name__ in LACKING
        return refused_here(
            "missing_capability" if lacking else "invalid_request",
            f"{call.who} was not asked: {_shown(call, str(error))}",
        )
    return malformed(f"{call.who} answered with something that cannot be read ({_shown(call, str(error))}).")


def _broken(call: Call, code: str, what: str) -> ProviderError:
    asked = "" if call.left else " The request was not sent."
    return ProviderError(f"{call.who} {what}.{asked}", code=code, retryable=code in RETRYABLE, sent=call.left)


def _refusal(call: Call, status: int, said: object, headers: Mapping[str, str]) -> ProviderError:
    text, vendor_code = told(said)
    own = _names(said, headers)
    code = next((CODES[name] for name in own if name in CODES), "") or _by_phrase(status, text)
    code = code or code_of_status(status, text, vendor_code)
    if code == "rate_limited" and _is_daily(said):
        code = "quota_exhausted"
    return ProviderError(
        refusal_text(call.who, status, _shown(call, text)),
        status=status,
        code=code,
        retryable=code in RETRYABLE,
        retry_after_seconds=_first(wait_seconds(headers), _retry_delay(said)),
    )


def _by_phrase(status: int, text: str) -> str:
    if not 400 <= status < 500:
        return ""
    return next((code for phrase, code in PHRASES.items() if phrase in text.lower()), "")


def _first(*seconds: float | None) -> float | None:
    return next((one for one in seconds if one is not None), None)


def _shown(call: Call, text: str) -> str:
    """Return a text of others, shortened, in one line, and without what is secret."""
    text = " ".join(text.split())
    for secret in call.secrets:
        text = text.replace(secret, "[secret]")
    return text if len(text) <= SAID_CHARACTERS_MAX else f"{text[:SAID_CHARACTERS_MAX]}…"


# --- What vendors say with a refusal ---------------------------------------------------------------------------


def _decoded(data: bytes) -> Any:
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(data)
    return data.decode("utf-8", "replace")


def _said_in_stream(error: BaseException) -> Any:
    body = getattr(error, "body", None)
    fields: dict[str, Any] = dict(cast("dict[str, Any]", body)) if isinstance(body, dict) else {"message": str(error)}
    if isinstance(inner := fields.get("Error"), dict):  # as boto tells it
        told_by_boto = cast("dict[str, Any]", inner)
        code = str(told_by_boto.get("Code") or "")
        return {"message": told_by_boto.get("Message"), "type": code[:1].upper() + code[1:]}
    return fields


def _inner(said: object) -> dict[str, Any]:
    fields = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    inner = fields.get("error")
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else fields


def _names(said: object, headers: Mapping[str, str]) -> list[str]:
    """Return what the error calls itself: AWS says it in a header, Google in its details."""
    fields = _inner(said)
    reasons = [detail.get("reason") for detail in _details(said)]
    header = headers.get("x-amzn-errortype", "").partition(":")[0]
    return [
        str(name) for name in (header, fields.get("type"), fields.get("__type"), *reasons, fields.get("status")) if name
    ]


def _details(said: object) -> list[dict[str, Any]]:
    details = _inner(said).get("details")
    listed = cast("list[object]", details) if isinstance(details, list) else []
    return [cast("dict[str, Any]", one) for one in listed if isinstance(one, dict)]


def _retry_delay(said: object) -> float | None:
    """Return the seconds of Google's `RetryInfo` ("13s"), or None."""
    for detail in _details(said):
        delay = detail.get("retryDelay")
        if isinstance(delay, str):
            return wait_seconds({"retry-after": delay.removesuffix("s")})
    return None


def _is_daily(said: object) -> bool:
    """Google tells a limit per day from one per minute only in the name of the quota."""
    text = msgspec.json.encode(_details(said)).decode().lower()
    return any(word in text for word in DAILY)
