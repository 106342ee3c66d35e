"""What leaves for people and programs outside, in nobody's attempt: webhooks, and notices by mail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from headgate.core.errors import Unavailable

__all__ = ["Letter", "Outgoing", "Undelivered"]


class Undelivered(Unavailable):
    """It did not arrive, or nobody knows whether it did. `status`: what the receiver answered, 0 for nothing.

    `hopeless`: trying again would not help (the address cannot be right, the receiver says that it is gone).
    """

    code = "undelivered"

    def __init__(self, message: str, *, status: int = 0, hopeless: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.hopeless = hopeless


class Letter(msgspec.Struct, frozen=True):
    """A mail in plain text. `message_id` is the same for every repeat."""

    sender: str
    to: tuple[str, ...]
    subject: str
    text: str
    message_id: str


class Outgoing(Protocol):
    """Sends, once. Both raise `Undelivered`; neither takes longer than some seconds."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Post JSON; return the status, which is a success. Redirects are not followed, private addresses not asked."""
        ...

    async def mail(self, smtp_url: str, letter: Letter) -> None: ...
