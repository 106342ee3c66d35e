"""The activity `http_request`: one request, its redirects, and the answer as data.

What may be repeated is decided here, for only this file knows whether the request left. The sender's trace tells when
the first byte of a request goes out; until then any failure may be tried again. Afterwards a GET, HEAD or OPTIONS may,
and anything else ends as `outcome_unknown`, also when the process dies on the way (the log is told before that byte
goes out): a person has to look, rather than an invoice be sent twice. Every attempt of a place carries the same
`Idempotency-Key`, for servers that know what to do with it. Errors name method, host and path; query, headers and
bodies may hold secrets and are never in them.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from headgate.activities.http_content import (
    HttpParameters,
    as_pairs,
    as_text,
    invalid_parameters,
    request_content,
    response_body,
)
from headgate.core.taint import METHODS_WITHOUT_EFFECT
from headgate.core.values import Failure
from headgate.ports import ActivityContext, ActivityFunction, Attempt

if TYPE_CHECKING:
    import httpx2

__all__ = ["HttpSettings", "close_connections", "http_request"]

TURNED_AWAY = frozenset({408, 425, 429, 503})
"""Statuses by which a server says that it has not begun."""
RETRY_AFTER_SECONDS_MAX = 86_400.0
STATUS_CLASS = re.compile(r"[1-5]xx")
KEPT_ACROSS_ORIGINS = frozenset(
    {"host", "accept", "accept-encoding", "accept-language", "connection", "content-type", "content-length"}
    | {"transfer-encoding", "user-agent", "idempotency-key", "traceparent", "x-trace-id"}
)
"""What goes along to a stranger. Any other header that the author set may be a key not meant for him."""


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What requests may do on this server, whatever a workflow asks for.

    `private_addresses`: "all", "none", or networks (CIDR), addresses and host names that may be reached
    beside the public internet. `timeout_seconds_max` bounds `timeout_seconds`, silently.
    """

    private_addresses: Literal["all", "none"] | tuple[str, ...] = "none"
    response_bytes_max: int = 10 * 1024 * 1024
    redirects_max: int = 5
    timeout_seconds_max: float = 3600.0


def http_request(
    settings: HttpSettings, *, resolve: Callable[[str, int], Awaitable[list[str]]] | None = None
) -> ActivityFunction:
    """Return the activity under these settings. `resolve` (host, port → addresses) replaces the system's.

    Its connections are shared by all requests of the running loop; `close_connections` closes them.
    """

    async def request(parameters: dict[str, Any], ctx: ActivityContext) -> dict[str, Any]:
        # httpx2 takes a tenth of a second to import, and most commands never send a request.
        from headgate.activities.private_addresses import client_of_this_loop

        asked = _parsed(parameters)
        client = client_of_this_loop(settings.private_addresses, resolve)
        return await _Exchange(asked, settings, ctx, client).answer()

    return request


async def close_connections() -> None:
    """Close what the running loop's requests have opened. Harmless when repeated, and when there was no request."""
    # Asked of sys.modules, since importing it to find nothing to close would bring httpx2 into every process.
    if opened := sys.modules.get("headgate.activities.private_addresses"):
        await opened.close_clients()


# --- What is asked -------------------------------------------------------------------------------------


def _parsed(parameters: dict[str, Any]) -> HttpParameters:
    try:
        asked = msgspec.convert(parameters, HttpParameters, strict=False)
    except msgspec.ValidationError as error:
        raise invalid_parameters(str(error)) from None
    method = asked.method.upper()
    if not method.isascii() or not method.isalpha() or method == "CONNECT":
        raise invalid_parameters("expected method to be GET, POST or another method of HTTP (not CONNECT)")
    if asked.download_to_file:
        raise invalid_parameters("download_to_file is not built yet; leave it out and read the body")
    bodies = [name for name in ("body", "form", "raw", "multipart") if getattr(asked, name) is not None]
    if len(bodies) > 1:
        raise invalid_parameters(f"expected at most one of body, form, raw and multipart, got {' and '.join(bodies)}")
    for entry in asked.fail_on if isinstance(asked.fail_on, list) else [asked.fail_on]:
        if entry not in ("default", "never") and not _is_status(str(entry)):
            raise invalid_parameters(
                f'expected fail_on to hold statuses like 404 or "5xx", "default" or "never", got {entry!r}'
            )
    return msgspec.structs.replace(asked, method=method)


def _is_status(text: str) -> bool:
    return bool(STATUS_CLASS.fullmatch(text)) or (text.isdecimal() and 100 <= int(text) <= 599)


# --- The exchange --------------------------------------------------------------------------------------


class _Exchange:
    """One attempt. `left` is true once a request that must not be repeated may have reached its server."""

    def __init__(
        self, asked: HttpParameters, settings: HttpSettings, ctx: ActivityContext, client: httpx2.AsyncClient
    ) -> None:
        self.asked = asked
        self.settings = settings
        self.ctx = ctx
        self.task = ctx.task
        self.client = client
        self.repeatable = asked.method in METHODS_WITHOUT_EFFECT
        self.left = False
        self.redirects = 0
        self.where = asked.method

    async def answer(self) -> dict[str, Any]:
        import httpx2

        from headgate.activities.private_addresses import AddressRefused

        seconds = min(self.asked.timeout_seconds, self.settings.timeout_seconds_max)
        try:
            async with asyncio.timeout(seconds):
                return await self._outcome(await self._follow(self._first()))
        except TimeoutError:
            raise self._broken("timed_out", f"was not answered in full within {seconds:g} s") from None
        except AddressRefused as error:
            raise Attempt.failed(error.code, f"{self.where} was not sent: {error}", retryable=False) from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise invalid_parameters(f"expected {self.where} to lead to an absolute http or https URL") from None
        except httpx2.LocalProtocolError:
            raise invalid_parameters(f"{self.where} has a header or a method that HTTP does not allow") from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise self._broken("connection_failed", f"could not connect ({error})") from None
        except httpx2.HTTPError as error:
            # Its own text may quote the server's headers.
            what = f"broke off before the answer was complete ({type(error).__name__})"
            raise self._broken("connection_failed", what) from None

    def _first(self) -> httpx2.Request:
        import httpx2

        url = httpx2.URL(self.asked.url)
        if not url.host:
            raise httpx2.UnsupportedProtocol("no host")
        if self.asked.query:
            url = url.copy_with(params=[*url.params.multi_items(), *as_pairs(self.asked.query, "query")])
        body = request_content(self.asked)
        theirs = {name: as_text(value) for name, value in (self.asked.headers or {}).items() if value is not None}
        merged = {name.lower(): value for name, value in {**body.pop("headers", {}), **self._marks(), **theirs}.items()}
        headers = httpx2.Headers(merged, encoding="utf-8")
        return self.client.build_request(
            self.asked.method, url, headers=headers, extensions={"trace": self._notice}, **body
        )

    def _marks(self) -> dict[str, str]:
        """Return the headers by which servers know the place (not the attempt) and the trace."""
        task = self.task
        marks = {"idempotency-key": _digest(f"{task.workflow_id}\0{task.place}", 32)}
        if task.trace_id:
            marks["x-trace-id"] = task.trace_id
            trace = task.trace_id.replace("-", "").lower()
            if re.fullmatch("[0-9a-f]{32}", trace):
                marks["traceparent"] = f"00-{trace}-{_digest(task.activity_id, 16)}-01"
        return marks

    async def _notice(self, event: str, _info: object) -> None:
        """Called between the connection and the first byte: from here on nobody else may send it again."""
        if event.endswith("send_request_headers.started") and not self.repeatable:
            if not self.left:
                await self.ctx.begin_effect(self.where)
            self.left = True

    async def _follow(self, request: httpx2.Request) -> httpx2.Response:
        """Send, and go where the answers point to; each hop's connection is checked like the first's."""
        while True:
            path = request.url.raw_path.partition(b"?")[0].decode("ascii")
            self.where = f"{request.method} {request.url.netloc.decode('ascii').rpartition('@')[2]}{path}"
            response = await self.client.send(request, stream=True)
            following = response.next_request
            if following is None:
                return response
            await response.aclose()
            self.redirects += 1
            if self.redirects > self.settings.redirects_max:
                message = f"{self.where} redirects again, after {self.settings.redirects_max} redirects."
                raise Attempt.failed("too_many_redirects", message, retryable=False)
            if following.url.origin != request.url.origin:
                for name in set(following.headers) - KEPT_ACROSS_ORIGINS:
                    del following.headers[name]
            request = following

    async def _outcome(self, response: httpx2.Response) -> dict[str, Any]:
        try:
            if _fails(response.status_code, self.asked.fail_on):
                raise self._refusal(response)
            body = response_body(response, await self._read(response)) if self.asked.include_body else None
        finally:
            await response.aclose()
        return {
            "status": response.status_code,
            "success": response.is_success,
            "body": body,
            "headers": {name.lower(): value for name, value in response.headers.items()},
        }

    async def _read(self, response: httpx2.Response) -> bytes:
        most = self.settings.response_bytes_max
        content = bytearray()
        declared = response.headers.get("content-length", "")
        too_large = self.asked.method != "HEAD" and declared.isdecimal() and int(declared) > most
        if not too_large:
            async for chunk in response.aiter_bytes():
                content += chunk
                if too_large := len(content) > most:
                    break
        if too_large:
            message = (
                f"{self.where} answered {response.status_code} with a body of more than {most} bytes; "
                "reading was stopped. Ask for less, set include_body: false, or raise response_bytes_max in "
                "the settings."
            )
            raise Attempt.failed("response_too_large", message, retryable=False)
        return bytes(content)

    def _refusal(self, response: httpx2.Response) -> Attempt:
        """Return the failure for a status that the author counts as one."""
        status = response.status_code
        asked_for = "retry" in self.task.settings
        if status in TURNED_AWAY:
            retryable = self.repeatable or not self.redirects or asked_for
        else:
            retryable = asked_for or (status >= 500 and self.repeatable)
        message = f"{self.where} answered {status}."
        if status >= 500 and not retryable:
            message += " It is not repeated, for it may have been carried out; a retry block allows that."
        wait = _retry_after_seconds(response.headers.get("retry-after", "")) if retryable else None
        return Attempt(Failure(f"http_{status}", message, retryable, wait, {"status": status}))

    def _broken(self, code: str, what: str) -> Attempt:
        """Return the failure for an exchange that did not come to its end."""
        if self.left:
            message = (
                f"{self.where} {what}, after the request had left: whether it was carried out is not known. "
                "Look there before you run it again."
            )
            return Attempt.failed("outcome_unknown", message, retryable=False)
        return Attempt.failed(code, f"{self.where} {what}.")


# --- The answer ----------------------------------------------------------------------------------------


def _fails(status: int, fail_on: list[str | int] | str | int) -> bool:
    for entry in fail_on if isinstance(fail_on, list) else [fail_on]:
        if entry == "default" and (status == 429 or status >= 500):
            return True
        if str(entry) in (str(status), f"{status // 100}xx"):
            return True
    return False


def _retry_after_seconds(text: str) -> float | None:
    """Return the seconds that a Retry-After header asks for, in either of its forms, or None."""
    try:
        seconds = float(text) if text.strip().isdecimal() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
