"""The activity `email_send`: one mail, handed to an SMTP server, and never twice without being said so.

What may be repeated: until the server has been given the mail's content, any failure may be tried again, and what the
server refuses for now (4xx) may too. Before the content is sent, the log is told; an attempt that is lost from there on
(the process dies, the connection breaks before the server answers) ends as `outcome_unknown`. All attempts of one place
carry the same `Message-ID`, by which a mail that did arrive twice can be told.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from headgate.activities.mail import Mail, invalid_mail, send_mail
from headgate.core.values import Assignment
from headgate.ports import ActivityContext, Clock

__all__ = ["EmailSend"]


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
        message_id = _message_id(ctx.task, mail)
        sent = await send_mail(mail, message_id=message_id, now=self._clock.now(), begin=ctx.begin_effect)
        return {"success": True, "message_id": message_id, **sent}


def _parsed(parameters: dict[str, Any]) -> Mail:
    try:
        mail = msgspec.convert(parameters, Mail)
    except msgspec.ValidationError as error:
        raise invalid_mail(str(error)) from None
    if mail.text_body is None and mail.html_body is None:
        raise invalid_mail("expected text_body or html_body, got neither")
    return mail


def _message_id(task: Assignment, mail: Mail) -> str:
    """Return the same id for all attempts of a place."""
    domain = mail.sender.rpartition("@")[2].strip("> ") or "headgate.invalid"
    place = hashlib.sha256(f"{task.workflow_id}/{task.place}".encode()).hexdigest()[:32]
    return f"<{place}@{domain}>"
