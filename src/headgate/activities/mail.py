"""A mail and its way to an SMTP server: what the activity `email_send` and notices to people have in common.

Until the server has been given the content, any failure may be tried again, and what the server refuses for now (4xx)
may too. What breaks after that has an unknown outcome, and says so.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import format_datetime, getaddresses
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import msgspec

from headgate.activities.parameters import wrong_parameters
from headgate.ports import Attempt

if TYPE_CHECKING:
    from aiosmtplib import SMTP

__all__ = ["NAME", "Mail", "invalid_mail", "send_mail"]

NAME = "email_send"
RECIPIENTS_MAX = 1_000
MESSAGE_BYTES_MAX = 25 * 1024 * 1024
TIMEOUT_SECONDS = 60.0

Addresses = str | list[str] | None


class Mail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}):
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


async def send_mail(
    mail: Mail,
    *,
    message_id: str,
    now: int,
    begin: Callable[[str], Awaitable[None]],
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> dict[str, Any]:
    """Hand a mail to its server; return the addresses that it `accepted` and `refused` (with its reasons).

    `begin` is told what is about to happen right before the content is sent. Raises `Attempt`: `invalid_parameters`,
    `mail_refused`, `mail_unavailable`, `outcome_unknown`.
    """
    server = _server(mail.smtp_url)
    message = _message(mail, message_id, now)
    return await _Delivery(server, begin, _recipients(mail), timeout_seconds).send(mail.sender, message)


def invalid_mail(what: str) -> Attempt:
    """Return the failure for a mail that cannot be sent as it is asked for."""
    return wrong_parameters(NAME, what)


def _server(url: str) -> _Server:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise invalid_mail("smtp_url cannot be read; write smtp://name:password@host:587") from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise invalid_mail("expected smtp_url to be smtp://… or smtps://… with a host")
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
            raise invalid_mail(f"expected tls in smtp_url to be required, offered or none, got {other!r}")


# --- The message -------------------------------------------------------------------------------------------------


def _message(mail: Mail, message_id: str, now: int) -> bytes:
    from email.policy import SMTP  # how headers are written takes a megabyte

    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = mail.sender
        message["To"] = ", ".join(_listed(mail.to))
        for name, addresses in (("Cc", mail.cc), ("Reply-To", mail.reply_to)):
            if addresses:
                message[name] = ", ".join(_listed(addresses))
        message["Subject"] = mail.subject
    except (ValueError, MessageError) as error:  # a line break in a header: somebody tries to add one of his own
        raise invalid_mail(f"a header cannot be written: {error}") from None
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
        raise invalid_mail(f"the mail has {len(data)} bytes, more than {MESSAGE_BYTES_MAX}")
    return data


def _utc(microseconds: int) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)


def _listed(addresses: Addresses) -> list[str]:
    return [addresses] if isinstance(addresses, str) else list(addresses or ())


def _recipients(mail: Mail) -> list[str]:
    """Return the addresses of everybody who gets the mail, each once."""
    from email.headerregistry import Address

    named = [*_listed(mail.to), *_listed(mail.cc), *_listed(mail.bcc)]
    found = list(dict.fromkeys(address for _, address in getaddresses(named) if address))
    for address in [*found, *(address for _, address in getaddresses([mail.sender]))]:
        try:
            Address(addr_spec=address)
        except (ValueError, IndexError, MessageError):
            raise invalid_mail(f"{address!r} is not a mail address") from None
    if not found or len(found) > RECIPIENTS_MAX:
        raise invalid_mail(f"expected 1 to {RECIPIENTS_MAX} recipients, got {len(found)}")
    return found


# --- The delivery ------------------------------------------------------------------------------------------------


class _Delivery:
    """One attempt. `left` is true once the server may have the mail."""

    def __init__(
        self,
        server: _Server,
        begin: Callable[[str], Awaitable[None]],
        recipients: list[str],
        timeout_seconds: float,
    ) -> None:
        self.server = server
        self.begin = begin
        self.recipients = recipients
        self.timeout_seconds = timeout_seconds
        self.refused: dict[str, str] = {}
        self.left = False

    async def send(self, sender: str, message: bytes) -> dict[str, Any]:
        import aiosmtplib

        address = getaddresses([sender])[0][1]
        try:
            async with self._connection() as smtp:
                await smtp.mail(address)
                accepted = await self._offer(smtp)
                await self.begin(f"a mail to {', '.join(accepted[:3])}{' …' if len(accepted) > 3 else ''}")
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
            timeout=self.timeout_seconds,
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
