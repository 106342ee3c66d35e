"""`ports.Outgoing` over the checked HTTP client and the way of a mail that activities use.

A receiver's address is somebody else's text, so it is connected to like that of an `http_request`: only after its
address has been checked, and no redirect is followed: it would lead on to what nobody has checked or signed for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from headgate.activities.http_request import HttpSettings
from headgate.activities.mail import Mail, send_mail
from headgate.ports import Attempt, Clock, Letter, Undelivered

__all__ = ["CheckedOutgoing"]

POST_SECONDS_MAX = 10.0
MAIL_SECONDS_MAX = 20.0
GONE = 410


class CheckedOutgoing:
    """One per app; `settings` say which private addresses may be reached."""

    def __init__(self, settings: HttpSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        import httpx2

        from headgate.activities.private_addresses import AddressRefused, client_of_this_loop

        client = client_of_this_loop(self._settings.private_addresses)
        try:
            async with asyncio.timeout(POST_SECONDS_MAX):
                request = client.build_request(
                    "POST", url, content=body, headers={"content-type": "application/json", **headers}
                )
                response = await client.send(request, stream=True)
                await response.aclose()  # the status is the whole answer
        except TimeoutError:
            raise Undelivered(f"it was not answered within {POST_SECONDS_MAX:g} s") from None
        except AddressRefused as error:
            raise Undelivered(str(error), hopeless=True) from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise Undelivered("its address is no http or https URL", hopeless=True) from None
        except httpx2.HTTPError as error:
            raise Undelivered(f"the connection failed ({type(error).__name__})") from None
        return _accepted(response.status_code)

    async def mail(self, smtp_url: str, letter: Letter) -> None:
        mail = Mail(smtp_url, letter.sender, list(letter.to), letter.subject, letter.text)
        try:
            async with asyncio.timeout(MAIL_SECONDS_MAX):
                await send_mail(
                    mail, message_id=letter.message_id, now=self._clock.now(), begin=_nothing, timeout_seconds=10.0
                )
        except Attempt as error:
            raise Undelivered(str(error), hopeless=not error.failure.retryable) from None
        except TimeoutError:
            raise Undelivered(f"the mail server did not answer within {MAIL_SECONDS_MAX:g} s") from None


def _accepted(status: int) -> int:
    if 200 <= status < 300:
        return status
    if 300 <= status < 400:
        raise Undelivered(f"it answered {status}, and redirects are not followed", status=status)
    raise Undelivered(f"it answered {status}", status=status, hopeless=status == GONE)


async def _nothing(what: str) -> None:
    """No attempt of a run has to be told."""
