"""The activity `email_send`: one mail, handed to an SMTP server, and never twice without being said so.

What may be repeated: until the server has been given the mail's content, any failure may be tried again, and what the
server refuses for now (4xx) may too. Before the content is sent, the log is told; an attempt that is lost from there on
(the process dies, the connection breaks before the server answers) ends as `outcome_unknown`. All attempts of one place
carry the same `Message-ID`, by which a mail that did arrive twice can be told.
"""

from __future__ import annotations

import hashlib
import re
import socket
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, getaddresses
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import msgspec

from headgate.core.values import Assignment
from headgate.ports import ActivityContext, Attempt, Clock

if TYPE_CHECKING:
    from aiosmtplib import SMTP

__all__ = ["EmailSend"]

NAME = "email_send"
RECIPIENTS_MAX = 1_000
MESSAGE_BYTES_MAX = 25 * 1024 * 1024
TIMEOUT_SECONDS = 60.0

Addresses = str | list[str] | None


class _Mail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    smtp_url: str
    sender: str
    to: str | list[str]
    subject: str
    text_body: str | None = None
    html_body: str | None = None
    cc: Addresses = None
    bcc: Addresses = None
    reply_to: Addresses = None


class _Server(msgspec.Struct, frozen=True):
    """What `smtp_url` says: `smtp://` (STARTTLS where it is offered; `?tls=required`, `?tls=none`), `smtps://`."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: Literal["implicit", "required", "offered", "none"]


class EmailSend:
    """The activity; the clock gives the mail its date."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def __call__(self, parameters: dict[str, Any], ctx: ActivityContext) -> Any:
        """Send a mail; return `success`, `message_id`, `accepted` and `refused` (addresses, the latter with the
        server's reasons: a mail that some recipients were refused is sent to the others).

        Raises `Attempt`: `invalid_parameters`, `mail_refused` (5xx: no; 4xx: tried again), `mail_unavailable` (tried
        again: nothing was sent), `outcome_unknown` (not tried again).
        """
        mail = _parsed(parameters)
        server = _server(mail.smtp_url)
        message_id = _message_id(ctx.task, mail)
        message = _message(mail, message_id, self._clock.now())
        recipients = _recipients(mail)
        sent = await _Delivery(server, ctx, recipients).send(mail.sender, message)
        return {"success": True, "message_id": message_id, **sent}


def _parsed(parameters: dict[str, Any]) -> _Mail:
    try:
        mail = msgspec.convert(parameters, _Mail)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    if mail.text_body is None and mail.html_body is None:
        raise _invalid("expected text_body or html_body, got neither")
    return mail


def _invalid(what: str) -> Attempt:
    return Attempt.failed("invalid_parameters", f"{NAME}: {what}.", retryable=False)


def _server(url: str) -> _Server:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _invalid("smtp_url cannot be read; write smtp://name:password@host:587") from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise _invalid("expected smtp_url to be smtp://… or smtps://… with a host")
    tls = "implicit" if parts.scheme == "smtps" else _tls(parts)
    return _Server(
        parts.hostname,
        port or {"implicit": 465, "none": 25}.get(tls, 587),
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        tls,
    )


def _tls(parts: SplitResult) -> Literal["required", "offered", "none"]:
    match parse_qs(parts.query).get("tls", ["offered"])[-1]:
        case "required":
            return "required"
        case "none":
            return "none"
        case "offered":
            return "offered"
        case other:
            raise _invalid(f"expected tls in smtp_url to be required, offered or none, got {other!r}")


# --- The message -------------------------------------------------------------------------------------------------


def _message(mail: _Mail, message_id: str, now: int) -> bytes:
    message = EmailMessage(policy=SMTP_POLICY)
    try:
        message["From"] = mail.sender
        message["To"] = ", ".join(_listed(mail.to))
        for name, addresses in (("Cc", mail.cc), ("Reply-To", mail.reply_to)):
            if addresses:
                message[name] = ", ".join(_listed(addresses))
        message["Subject"] = mail.subject
    except (ValueError, MessageError) as error:  # a line break in a header: somebody tries to add one of his own
        raise _invalid(f"a header cannot be written: {error}") from None
    message["Message-ID"] = message_id
    message["Date"] = format_datetime(_utc(now))
    if mail.text_body is not None:
        message.set_content(mail.text_body)
    if mail.html_body is not None and mail.text_body is not None:
        message.add_alternative(mail.html_body, subtype="html")
    elif mail.html_body is not None:
        message.set_content(mail.html_body, subtype="html")
    data = message.as_bytes()
    if len(data) > MESSAGE_BYTES_MAX:
        raise _invalid(f"the mail has {len(data)} bytes, more than {MESSAGE_BYTES_MAX}")
    return data


def _utc(microseconds: int) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)


def _listed(addresses: Addresses) -> list[str]:
    return [addresses] if isinstance(addresses, str) else list(addresses or ())


def _recipients(mail: _Mail) -> list[str]:
    """Return the addresses of everybody who gets the mail, each once."""
    named = [*_listed(mail.to), *_listed(mail.cc), *_listed(mail.bcc)]
    found = list(dict.fromkeys(address for _, address in getaddresses(named) if address))
    for address in [*found, *(address for _, address in getaddresses([mail.sender]))]:
        try:
            Address(addr_spec=address)
        except (ValueError, IndexError, MessageError):
            raise _invalid(f"{address!r} is not a mail address") from None
    if not found or len(found) > RECIPIENTS_MAX:
        raise _invalid(f"expected 1 to {RECIPIENTS_MAX} recipients, got {len(found)}")
    return found


def _message_id(task: Assignment, mail: _Mail) -> str:
    """Return the same id for all attempts of a place."""
    domain = mail.sender.rpartition("@")[2].strip("> ") or "headgate.invalid"
    place = hashlib.sha256(f"{task.workflow_id}/{task.place}".encode()).hexdigest()[:32]
    return f"<{place}@{domain}>"


# --- The delivery ------------------------------------------------------------------------------------------------


class _Delivery:
    """One attempt. `left` is true once the server may have the mail."""

    def __init__(self, server: _Server, ctx: ActivityContext, recipients: list[str]) -> None:
        self.server = server
        self.ctx = ctx
        self.recipients = recipients
        self.refused: dict[str, str] = {}
        self.left = False

    async def send(self, sender: str, message: bytes) -> dict[str, Any]:
        import aiosmtplib

        address = getaddresses([sender])[0][1]
        try:
            async with self._connection() as smtp:
                await smtp.mail(address)
                accepted = await self._offer(smtp)
                await self.ctx.begin_effect(f"a mail to {', '.join(accepted[:3])}{' …' if len(accepted) > 3 else ''}")
                self.left = True
                await smtp.data(message)
                self.left = False  # answered: nothing is unknown any more
        except aiosmtplib.SMTPResponseException as error:
            raise self._refusal(error.code, error.message) from None
        except aiosmtplib.SMTPNotSupported as error:
            raise self._refusal(500, str(error)) from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise self._broken(error) from None
        return {"accepted": accepted, "refused": self.refused}

    def _connection(self) -> SMTP:
        import aiosmtplib

        server = self.server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.tls == "implicit",
            start_tls={"required": True, "offered": None}.get(server.tls, False),
            timeout=TIMEOUT_SECONDS,
            local_hostname=_own_name(),
        )

    async def _offer(self, smtp: SMTP) -> list[str]:
        """Name the recipients to the server; return those that it takes. Raises when it takes none."""
        import aiosmtplib

        accepted: list[str] = []
        last: aiosmtplib.SMTPResponseException | None = None
        for address in self.recipients:
            try:
                await smtp.rcpt(address)
                accepted.append(address)
            except aiosmtplib.SMTPResponseException as error:
                self.refused[address] = f"{error.code} {error.message}"
                last = error
        if not accepted and last is not None:
            raise last
        return accepted

    def _refusal(self, code: int, message: str) -> Attempt:
        """The server said no, so it does not have the mail."""
        text = f"{NAME}: {self.server.host} refused the mail: {code} {message}"
        return Attempt.failed("mail_refused", text, retryable=400 <= code < 500)

    def _broken(self, error: BaseException) -> Attempt:
        why = str(error) or type(error).__name__
        if self.left:
            text = (
                f"{NAME}: the connection to {self.server.host} broke after the mail had left ({why}): whether it was "
                "taken is not known. Look there before you send it again."
            )
            return Attempt.failed("outcome_unknown", text, retryable=False)
        return Attempt.failed(
            "mail_unavailable", f"{NAME}: {self.server.host}:{self.server.port} cannot be used: {why}"
        )


def _own_name() -> str:
    """Return what this machine calls itself to the server, without asking anybody: the library would look its own name
    up, outside, and with the loop standing still."""
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", name) else "[127.0.0.1]"
