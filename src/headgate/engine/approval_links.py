"""Links by which somebody decides one approval without a login: whoever has the link may, until it expires.

A link's token says which approval it is for (run, place, and since when it has been asked), in whose name it decides
and until when, and carries an HMAC of that under a key of the installation. It can be used once because an approval can
be decided once: afterwards the same link tells what was decided.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from headgate.core.commands import DecideApproval
from headgate.core.errors import Refused
from headgate.engine.approvals import Answered, OpenApproval, answer_to, check_answer, open_approvals
from headgate.engine.engine import Engine
from headgate.engine.sealing import Sealer
from headgate.ports import Documents, RunRow

__all__ = ["LINK_KEY", "LINK_SECONDS", "ApprovalLinks", "BadLink", "Link"]

LINK_KEY = "link_key"
"""The kind of the document that holds the key; it is made once, by whoever needs it first."""
KEY_BYTES = 32
KEY_CONTEXT = "key of approval links"
LINK_SECONDS = 7 * 86_400
TOKEN_CHARACTERS_MAX = 1_000


class BadLink(Refused):
    """The link was not made here, was changed, or has expired."""

    code = "bad_link"


class Link(msgspec.Struct, frozen=True, array_like=True):
    """What a token says. `since`: when the approval was asked for (microseconds); `until` in seconds."""

    run: str
    place: str
    since: int
    by: str
    until: int


class ApprovalLinks:
    """One per engine."""

    def __init__(self, engine: Engine, documents: Documents, sealer: Callable[[], Sealer]) -> None:
        self._engine = engine
        self._documents = documents
        self._sealer = sealer
        self._known_key = b""

    async def token(self, run: str, place: str, since: int, *, by: str = "", seconds: int = LINK_SECONDS) -> str:
        """Return the token of a link that decides this approval, as `by`, for so long."""
        until = self._engine.clock.now() // 1_000_000 + seconds
        said = msgspec.msgpack.encode(Link(run, place, since, by, until))
        return f"{_text(said)}.{_text(_seal(await self._key(), said))}"

    async def opened(self, token: str) -> Link:
        """Return what a token says. Raises `BadLink`."""
        said, _, seal = token.partition(".")
        try:
            data, given = _bytes(said), _bytes(seal)
        except (binascii.Error, ValueError):
            raise BadLink("This link is not whole.") from None
        if len(token) > TOKEN_CHARACTERS_MAX or not hmac.compare_digest(_seal(await self._key(), data), given):
            raise BadLink("This link was not made here, or was changed.")
        link = msgspec.msgpack.decode(data, type=Link)
        if link.until < self._engine.clock.now() // 1_000_000:
            raise BadLink("This link has expired; ask for a new one, or decide where you are logged in.")
        return link

    async def asked(self, link: Link) -> OpenApproval | Answered:
        """Return the approval of a link, or how it ended. Raises `BadLink` where its run is gone."""
        row = await self._row(link)
        for approval in await open_approvals(self._engine, row):
            if (approval.key, approval.since) == (link.place, link.since):
                return approval
        return await answer_to(self._engine, row, link.place, link.since)

    async def decide(
        self, link: Link, approval: OpenApproval, *, approved: bool, by: str, comment: str, data: Any
    ) -> None:
        """Decide, in the name that the link gives, or in the one that is given where it gives none. Raises `Invalid`
        for answers that do not fit the form, `Refused` for who may not, or where somebody was faster."""
        who = link.by or by
        check_answer([approval], approval.key, approved=approved, by=who, data=data)
        command = DecideApproval(
            at=self._engine.clock.now(),
            actor=f"user:{who}" if who else "client",
            key=approval.key,
            approved=approved,
            by=who,
            comment=comment,
            data=data,
        )
        await self._engine.submit(link.run, command)

    async def _row(self, link: Link) -> RunRow:
        row = await self._engine.log.run(link.run)
        if row is None:
            raise BadLink("The run that this link is about has been deleted.")
        return row

    async def _key(self) -> bytes:
        """Return the key, making it if there is none: of several processes that do, one's becomes everybody's. What an
        older key has sealed is sealed anew, for nobody sets this one anew."""
        if self._known_key:
            return self._known_key
        document = await self._documents.get(LINK_KEY, "", "links")
        if document is None:
            sealed = self._sealer().seal(secrets.token_bytes(KEY_BYTES), KEY_CONTEXT)
            await self._documents.put(LINK_KEY, "", "links", sealed, at=self._engine.clock.now(), expected=0)
            document = await self._documents.get(LINK_KEY, "", "links")
            assert document is not None
        sealer, now = self._sealer(), self._engine.clock.now()
        self._known_key = sealer.open(document.body, KEY_CONTEXT)
        if not sealer.is_current(document.body):
            anew = sealer.seal(self._known_key, KEY_CONTEXT)
            await self._documents.put(LINK_KEY, "", "links", anew, at=now, expected=document.revision)
        return self._known_key


def _seal(key: bytes, said: bytes) -> bytes:
    return hmac.new(key, said, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> Any:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
