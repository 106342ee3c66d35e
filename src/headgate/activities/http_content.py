"""The content of HTTP messages: of a request, from an activity's parameters; of a response, as a JSON value.

Bytes that are not text travel through a workflow as `{"$base64": "…"}`; what a response gave out so, `raw`
and `multipart` take in again.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import msgspec

from headgate.activities.parameters import wrong_parameters
from headgate.ports import Attempt

if TYPE_CHECKING:
    import httpx2

__all__ = ["HttpParameters", "as_pairs", "as_text", "invalid_parameters", "request_content", "response_body"]

BYTES_MARK = "$base64"
JSON = re.compile(r"application/([\w.+-]+\+)?json$|text/json$")
TEXTUAL = re.compile(
    r"text/|[\w-]+/([\w.+-]+\+)?xml$|application/(yaml|javascript|ecmascript|graphql|x-www-form-urlencoded)$"
)


class HttpParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of `http_request`. Of the four kinds of body at most one is given."""

    url: str
    method: str = "GET"
    headers: dict[str, str | int | float | bool | None] | None = None
    query: dict[str, Any] | None = None
    body: Any = None
    form: dict[str, Any] | None = None
    raw: Any = None
    multipart: dict[str, Any] | None = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    include_body: bool = True
    download_to_file: Any = None
    fail_on: list[str | int] | str | int = "default"


def invalid_parameters(message: str) -> Attempt:
    """Return the failure for parameters that no further attempt makes right."""
    return wrong_parameters("http_request", message)


def as_pairs(fields: dict[str, Any], where: str) -> list[tuple[str, str]]:
    """Return a map as name-value pairs: lists repeat the name, null leaves it out."""
    pairs: list[tuple[str, str]] = []
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, (dict, list)):
                raise invalid_parameters(
                    f"expected {where}.{name} to be text, a number, true or false, or a list of these"
                )
            if one is not None:
                pairs.append((name, as_text(one)))
    return pairs


def as_text(value: Any) -> str:
    """Return a scalar as it stands in a URL, a form or a header."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def request_content(asked: HttpParameters) -> dict[str, Any]:
    """Return the request's body as arguments for httpx, its content type among the `headers`."""
    if asked.multipart is not None:
        return {"files": _parts(asked.multipart)}
    if asked.form is not None:
        content, kind = urlencode(as_pairs(asked.form, "form")).encode(), "application/x-www-form-urlencoded"
    elif asked.raw is not None:
        content = _bytes(asked.raw, "raw")
        kind = "text/plain; charset=utf-8" if isinstance(asked.raw, str) else "application/octet-stream"
    elif isinstance(asked.body, str):
        # Text stays as it is: most often a template has made JSON of it already.
        content = asked.body.encode()
        kind = "application/json" if _is_json(content) else "text/plain; charset=utf-8"
    elif asked.body is not None:
        content, kind = msgspec.json.encode(asked.body), "application/json"
    else:
        return {}
    return {"content": content, "headers": {"content-type": kind}}


def _is_json(content: bytes) -> bool:
    try:
        msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _bytes(value: Any, where: str) -> bytes:
    """Return the bytes of text, or of what `http_request` gives out for a body that is not text."""
    if isinstance(value, str):
        return value.encode()
    try:
        return base64.b64decode(value[BYTES_MARK], validate=True)
    except (TypeError, KeyError, binascii.Error):
        raise invalid_parameters(f'expected {where} to be text or {{"{BYTES_MARK}": "…"}}') from None


def _parts(fields: dict[str, Any]) -> list[tuple[str, tuple[Any, ...]]]:
    """Return the parts of a multipart body: plain fields, and files `{filename, content, content_type}`."""
    parts: list[tuple[str, tuple[Any, ...]]] = []
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and "content" in one:
                content = _bytes(one["content"], f"multipart.{name}.content")
                kind = one.get("content_type") or "application/octet-stream"
                parts.append((name, (one.get("filename"), content, kind)))
            elif isinstance(one, dict):
                parts.append((name, (None, _bytes(one, f"multipart.{name}"))))
            elif one is not None:
                parts.append((name, (None, as_text(one).encode())))
    return parts


def response_body(response: httpx2.Response, content: bytes) -> Any:
    """Return JSON as its value and text as text, by the content type; anything else as marked base64."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not content:
        return None if not kind or JSON.match(kind) else ""
    if JSON.match(kind):
        try:
            return msgspec.json.decode(content)
        except (msgspec.DecodeError, RecursionError):
            return content.decode("utf-8", "replace")
    if TEXTUAL.match(kind) or response.charset_encoding:
        return _decoded(content, response.charset_encoding or "utf-8")
    if not kind:
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return {BYTES_MARK: base64.b64encode(content).decode("ascii")}


def _decoded(content: bytes, charset: str) -> str:
    try:
        return content.decode(charset, "replace")
    except LookupError:  # a charset that Python does not know, or that is none
        return content.decode("utf-8", "replace")
