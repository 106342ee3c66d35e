"""Tokens as text: JWTs signed with Ed25519, what is in them, and what makes one good.

Whether a token is good here says nothing of whether it was revoked since: that is `identification.py`'s. A bad one is
refused with the same sentence whatever is wrong with it, so nobody learns how near a forgery came; the log says why.
"""

from __future__ import annotations

import logging
import secrets
from typing import Literal

import msgspec

from headgate.api.auth.signed_text import key_of, sign, verify
from headgate.api.auth.signing_keys import LIFETIME_SECONDS_MAX, SigningKeys
from headgate.api.caller import Unauthorized
from headgate.ports import Clock

__all__ = ["TOKEN_CHARACTERS_MAX", "Audience", "Claims", "Tokens", "refused"]

ISSUER = "headgate"
TOKEN_CHARACTERS_MAX = 4_096
CLOCK_SECONDS = 10
"""Nodes may differ by so much in what time it is: a token may begin so far ahead. None lasts longer for it."""

Audience = Literal["api", "ticket"]

logger = logging.getLogger("headgate.auth")


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token says. `sub` is the actor, `client:NAME` or `user:NAME`; `gen` the number of the secret, or the
    user's generation, that it was come by with; `run` the one that a ticket is for."""

    iss: str
    sub: str
    aud: Audience
    tenant: str
    scope: str
    jti: str
    iat: int
    nbf: int
    exp: int
    gen: int = 0
    run: str = ""


_claims = msgspec.json.Decoder(Claims)


class Tokens:
    """`issue` and `read`."""

    def __init__(self, keys: SigningKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    async def issue(
        self,
        actor: str,
        *,
        tenant: str,
        scopes: frozenset[str],
        seconds: int,
        generation: int = 0,
        audience: Audience = "api",
        run: str = "",
    ) -> str:
        """Return a token that is good from now on, for `seconds`."""
        assert 0 < seconds <= LIFETIME_SECONDS_MAX
        now = self._clock.now() // 1_000_000
        claims = Claims(
            iss=ISSUER,
            sub=actor,
            aud=audience,
            tenant=tenant,
            scope=" ".join(sorted(scopes)),
            jti=secrets.token_hex(12),
            iat=now,
            nbf=now,
            exp=now + seconds,
            gen=generation,
            run=run,
        )
        key_id, key = await self._keys.current()
        return sign(claims, key_id, key)

    async def read(self, text: str, *, over: bool = False) -> Claims:
        """Return what a token says that one of our keys has signed, and whose time it is, or, with `over`, was.
        Raises `Unauthorized`."""
        if len(text) > TOKEN_CHARACTERS_MAX:
            raise refused("it is too long")
        try:
            key = await self._keys.verifying(key_of(text))
            if key is None:
                raise refused("no key of ours has that name")
            claims = verify(text, key, _claims)
        except ValueError as error:
            raise refused(str(error)) from None
        if claims.iss != ISSUER:
            raise refused("it is of another issuer")
        now = self._clock.now() // 1_000_000
        if now >= claims.exp and not over:
            raise refused("it is over")
        if now + CLOCK_SECONDS < claims.nbf:
            raise refused("it has not begun")
        if (claims.aud == "ticket") != bool(claims.run):
            raise refused("a ticket is for a run, and nothing else is")
        if claims.exp - claims.iat > LIFETIME_SECONDS_MAX:
            raise refused("it would last too long")
        return claims


def refused(why: str) -> Unauthorized:
    """Return the one refusal of tokens; `why` is for the log only."""
    logger.info("a token was refused", extra={"fields": {"why": why}})
    return Unauthorized("The token is not good (any more): get a new one.")
