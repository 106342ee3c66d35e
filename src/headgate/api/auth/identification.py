"""Says who asks, by the token that they bring: read once, remembered until it is over or anything is revoked.

A token is good when one of our keys has signed it, its time is now, it was not revoked, and whoever got it (a client's
secret, a user's session) still stands. To find that out takes a signature and two questions to the store, so the
verdict is kept by the token's digest. All verdicts are forgotten together when a client, a user, a key or a revoked
token has changed, here at once and after `freshness.ASK_SECONDS` on other nodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from urllib.parse import urlsplit

from headgate.api.auth import clients as of_clients
from headgate.api.auth import revoked_tokens, signing_keys
from headgate.api.auth import users as of_users
from headgate.api.auth.clients import Clients
from headgate.api.auth.revoked_tokens import RevokedTokens
from headgate.api.auth.signing_keys import SigningKeys
from headgate.api.auth.tokens import Claims, Tokens, refused
from headgate.api.auth.users import Users
from headgate.api.caller import Caller, Forbidden, Unauthorized
from headgate.engine.freshness import Freshness
from headgate.ports import Clock, Documents

__all__ = ["SESSION_COOKIE", "VERDICTS_MAX", "Identification", "refuse_other_sites", "token_in"]

SESSION_COOKIE = "headgate_session"
VERDICTS_MAX = 10_000
"""At it, the one that was reached longest ago is forgotten, and its token read again."""
KINDS = (of_clients.KIND, of_users.KIND, signing_keys.KIND, revoked_tokens.KIND)


class Identification:
    """`identify` is a `caller.Identify`; `identify_token` the same for a token by itself.

    `origins`: whose pages may ask with a user's cookie, beside those of this server's own address.
    """

    def __init__(
        self,
        documents: Documents,
        clock: Clock,
        *,
        tokens: Tokens,
        keys: SigningKeys,
        clients: Clients,
        users: Users,
        revoked: RevokedTokens,
    ) -> None:
        self._clock = clock
        self._tokens = tokens
        self._keys = keys
        self._clients = clients
        self._users = users
        self._revoked = revoked
        self.origins: frozenset[str] = frozenset()
        self._fresh = Freshness(documents, clock, KINDS)
        self._verdicts: dict[bytes, tuple[Caller, int]] = {}
        """By digest: who it is, and when the token is over."""
        self._age = 0
        """Counts how often all was forgotten: what was asked before is not kept after."""

    async def identify(self, headers: Mapping[str, str]) -> Caller:
        """Return who asks, by a request's token or cookie. Raises `Unauthorized`, `Forbidden` (of another site)."""
        text, from_cookie = token_in(headers)
        if not text:
            raise Unauthorized("This needs a token: `Authorization: Bearer …`; `/oauth/token` gives one.")
        if from_cookie:
            refuse_other_sites(headers, self.origins)
        return await self.identify_token(text)

    async def identify_token(self, text: str) -> Caller:
        """Return whose token this is, of a request or a ticket (`Caller.run`). Raises `Unauthorized`."""
        known = await self._known(text)
        if known is None:
            return await self._judge(text)
        caller, until = known
        if self._clock.now() >= until:
            raise refused("it is over")
        return caller

    async def still_may(self, text: str) -> bool:
        """A `caller.StillMay`: whether the token was not revoked, and whoever got it still stands. That it is over by
        now does not matter. Raises `Unavailable`."""
        if await self._known(text) is not None:
            return True
        try:
            await self._judge(text, over=True)
        except Unauthorized:
            return False
        return True

    async def claims(self, text: str, *, over: bool = False) -> Claims:
        """Return what a good token says, or, with `over`, one that was good until its time had come. Raises
        `Unauthorized`."""
        claims = await self._tokens.read(text, over=over)
        if await self._revoked.holds(claims):
            raise refused("it was revoked")
        if not await self._stands(claims):
            raise refused("whoever got it is gone, or has another secret by now")
        return claims

    async def refresh(self) -> None:
        """Forget every verdict, and read the keys again, where anything has changed. Raises `Unavailable`."""
        if await self._fresh.changed():
            self.forget()
            await self._keys.reload()

    def forget(self) -> None:
        """Forget every verdict."""
        self._age += 1
        self._verdicts.clear()

    async def _known(self, text: str) -> tuple[Caller, int] | None:
        """Return what was found out of the token, where nothing has changed since."""
        if self._clock.now() >= self._fresh.due:
            await self.refresh()
        return self._verdicts.get(_digest(text))

    async def _judge(self, text: str, *, over: bool = False) -> Caller:
        age = self._age
        claims = await self.claims(text, over=over)
        caller = Caller(claims.tenant, claims.sub, frozenset(claims.scope.split()), claims.run)
        if age == self._age:
            if len(self._verdicts) >= VERDICTS_MAX:
                del self._verdicts[next(iter(self._verdicts))]
            self._verdicts[_digest(text)] = caller, claims.exp * 1_000_000
        return caller

    async def _stands(self, claims: Claims) -> bool:
        """Whether the client or user still is what it was when it got the token."""
        kind, _, name = claims.sub.partition(":")
        if not name:
            return claims.aud == "ticket"  # of a server without a login, where everybody is the same
        if kind == "client":
            client = await self._clients.get(claims.tenant, name)
            return client is not None and client.has_secret(claims.gen, self._clock.now())
        user = await self._users.get(claims.tenant, name) if kind == "user" else None
        return user is not None and not user.disabled_at and user.generation == claims.gen


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def token_in(headers: Mapping[str, str]) -> tuple[str, bool]:
    """Return the token of a request, and whether it came as a cookie; "": there is none."""
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if scheme:
        return (text.strip(), False) if scheme.lower() == "bearer" else ("", False)
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == SESSION_COOKIE:
            return value, True
    return "", False


def refuse_other_sites(headers: Mapping[str, str], origins: frozenset[str] = frozenset()) -> None:
    """Raise `Forbidden` for what a page of another site has a browser ask, which sends a user's cookie by itself.

    Browsers say where a page is from: `Origin` with all that is no plain GET, `Sec-Fetch-Site` with everything where
    there is TLS. A program that says neither has no cookie but one that it was given. The cookie is `SameSite=Strict`
    as well; this holds also between the sites of one domain.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    if origin is None and site in ("none", "same-origin"):
        return
    if origin is not None and (origin in origins or urlsplit(origin).netloc == headers.get("host", "")):
        return
    raise Forbidden(f"A page of {origin or 'another site'} may not ask here in a user's name.")
