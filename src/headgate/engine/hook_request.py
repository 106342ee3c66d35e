"""A request to a hook as a value: whether it is who it says, what it carries, and what the hook's templates make of it.

Nothing here does anything: no store is asked, no run is started.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from headgate.core.errors import Invalid
from headgate.core.expression import Expression, Template, compile_condition, compile_value
from headgate.core.signatures import is_signed_by, secret_bytes
from headgate.ports import Hook

__all__ = ["TOKEN_HEADER", "CompiledHook", "Wanted", "compiled_hook", "is_authentic", "wanted"]

TOKEN_HEADER = "x-webhook-token"  # noqa: S105 - where a secret stands, not one
FORM = "application/x-www-form-urlencoded"
FORM_FIELDS_MAX = 500
KEY_CHARACTERS_MAX = 500
NAMES = frozenset({"BODY", "HEADERS"})
PRIVATE = frozenset({"authorization", "cookie", "proxy-authorization"})
DELIVERY_HEADERS = {"standard": "webhook-id", "github": "x-github-delivery", "token": "idempotency-key"}


class CompiledHook(msgspec.Struct, frozen=True):
    """What a hook has templates and a condition for."""

    filter: Expression | None
    input: Template | None
    data: Template | None
    unique_key: Template
    delivery_id: Template | None


class Wanted(msgspec.Struct, frozen=True):
    """What a request comes to. `delivery`: what its repeats have in common; empty: nothing is known of that."""

    input: Any
    data: Any
    unique_key: str
    delivery: str


def compiled_hook(hook: Hook) -> CompiledHook:
    """Return the hook's templates. Raises `Invalid` for one that cannot be read, or reads what no request has."""
    condition = compile_condition(hook.filter, where="filter") if hook.filter else None
    made = CompiledHook(
        filter=condition,
        input=None if hook.input is None else compile_value(hook.input, where="input"),
        data=None if hook.data is None else compile_value(hook.data, where="data"),
        unique_key=compile_value(hook.unique_key, where="unique_key"),
        delivery_id=compile_value(hook.delivery_id, where="delivery_id") if hook.delivery_id else None,
    )
    parts = {name: part for name in made.__struct_fields__ if (part := getattr(made, name)) is not None}
    for name, part in parts.items():
        unknown = sorted(part.roots - NAMES)
        if unknown:
            raise Invalid(f"{name}: there is no {unknown[0]!r} here; a hook's templates read BODY and HEADERS.")
    return made


def is_authentic(hook: Hook, headers: Mapping[str, str], body: bytes, *, at_seconds: int) -> bool:
    """Whether the request comes from somebody who knows the hook's secret. Names of `headers` are in lower case."""
    match hook.scheme:
        case "standard":
            return is_signed_by(secret_bytes(hook.secret), body, headers, at_seconds=at_seconds)
        case "github":
            right = f"sha256={hmac.new(hook.secret.encode(), body, hashlib.sha256).hexdigest()}"
            return _equal(right, headers.get("x-hub-signature-256", ""))
        case "token":
            given = headers.get(_token_header(hook), "")
            return _equal(hook.secret, given.removeprefix("Bearer "))


def _token_header(hook: Hook) -> str:
    return hook.header.lower() or TOKEN_HEADER


def _equal(right: str, given: str) -> bool:
    return hmac.compare_digest(right.encode(), given.encode())


def wanted(hook: Hook, compiled: CompiledHook, headers: Mapping[str, str], body: bytes) -> Wanted | None:
    """Return what a request comes to; None: the filter does not want it. Raises `Invalid`."""
    value = _value(headers.get("content-type", ""), body)
    hidden = PRIVATE | {_token_header(hook)}
    scope = {"BODY": value, "HEADERS": {name: text for name, text in headers.items() if name not in hidden}}
    if compiled.filter is not None and not compiled.filter.truth(scope):
        return None
    header = DELIVERY_HEADERS[hook.scheme]
    template = compiled.delivery_id
    return Wanted(
        input=value if compiled.input is None else compiled.input.render(scope),
        data=value if compiled.data is None else compiled.data.render(scope),
        unique_key=_text(compiled.unique_key, scope, "unique_key"),
        delivery=headers.get(header, "") if template is None else _text(template, scope, "delivery_id"),
    )


def _value(content_type: str, body: bytes) -> Any:
    """Return the body as a JSON value: JSON, or the fields of a form."""
    try:
        if content_type.partition(";")[0].strip().lower() == FORM:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
        return msgspec.json.decode(body) if body.strip() else None
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Invalid(
            "expected the body to be JSON, or a form with content-type application/x-www-form-urlencoded"
        ) from None


def _text(template: Template, scope: Mapping[str, object], name: str) -> str:
    value = template.render(scope)
    text = value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()
    if len(text) > KEY_CHARACTERS_MAX:
        raise Invalid(f"expected {name} to be at most {KEY_CHARACTERS_MAX} characters, got {len(text)}")
    return text
