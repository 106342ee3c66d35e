"""Logins through an OIDC issuer: the authorization code flow with PKCE.

A browser is sent to the issuer (`begin`) with a sealed cookie that holds what must come back: the state, the nonce of
the token, PKCE's verifier. When it returns (`finish`), the code is traded for an ID token, whose signature, issuer,
audience, time and nonce are checked, and whose claims say who that is here. Nothing is kept between the two, so any
node can finish what another began.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus, urlencode

import msgspec

from headgate.api.auth.issuer import Issuer
from headgate.api.auth.oidc_settings import OidcSettings
from headgate.api.auth.users import User, Users
from headgate.api.caller import Unauthorized
from headgate.core.errors import HeadgateError
from headgate.engine.sealing import Sealer
from headgate.ports import Clock

__all__ = ["LOGIN_SECONDS", "Begun", "Oidc"]

LOGIN_SECONDS = 600
"""From the first page of the issuer to the way back."""
CLOCK_SECONDS = 60
"""The issuer's clock may differ by so much."""
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
"""Signatures by a key pair only: with HMAC the client's own secret would sign."""
_CONTEXT = "oidc login"

logger = logging.getLogger("headgate.auth")


class _Expected(msgspec.Struct, frozen=True):
    """What the cookie holds."""

    state: str
    nonce: str
    verifier: str
    until: int
    then: str


class Begun(msgspec.Struct, frozen=True):
    """Where the browser goes, and the cookie that it takes along."""

    url: str
    cookie: str


class Oidc:
    """`begin` and `finish`."""

    def __init__(self, settings: OidcSettings, users: Users, clock: Clock, sealer: Callable[[], Sealer]) -> None:
        self._settings = settings
        self._users = users
        self._clock = clock
        self._sealer = sealer
        self._issuer = Issuer(settings.issuer, clock)

    async def begin(self, then: str) -> Begun:
        """Return where to send a browser that shall come to our page `then` in the end. Raises `Unavailable`."""
        endpoints = await self._issuer.endpoints()
        now = self._clock.now() // 1_000_000
        expected = _Expected(
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            until=now + LOGIN_SECONDS,
            then=_local(then),
        )
        challenge = hashlib.sha256(expected.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._settings.redirect_url,
            "scope": " ".join(self._settings.scopes),
            "state": expected.state,
            "nonce": expected.nonce,
            "code_challenge": _base64url(challenge),
            "code_challenge_method": "S256",
        }
        sealed = self._sealer().seal(msgspec.msgpack.encode(expected), _CONTEXT)
        join = "&" if "?" in endpoints.authorization_endpoint else "?"
        return Begun(f"{endpoints.authorization_endpoint}{join}{urlencode(asked)}", _base64url(sealed))

    async def finish(self, cookie: str, *, state: str, code: str, issuer: str = "") -> tuple[User, str]:
        """Return who came back, and the page they go on to. Raises `Unauthorized`, `Refused`, `Unavailable`."""
        expected = self._expected(cookie)
        if not hmac.compare_digest(expected.state.encode(), state.encode("utf-8", "surrogatepass")):
            raise _failed("the state is another one")
        if issuer and issuer.rstrip("/") != self._settings.issuer:
            raise _failed(f"it is {issuer!r} that answers")
        claims = await self._claims(await self._traded(code, expected.verifier), expected.nonce)
        vouched = self._settings.vouched(claims)
        if isinstance(vouched, str):
            raise _failed(vouched)
        subject = f"{self._settings.issuer}|{claims['sub']}"
        user = await self._users.vouched(vouched.tenant, vouched.name, vouched.role, subject=subject)
        if user is None:
            raise _failed(f"{vouched.name} is disabled")
        return user, expected.then

    def _expected(self, cookie: str) -> _Expected:
        try:
            sealed = base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4))
            expected = msgspec.msgpack.decode(self._sealer().open(sealed, _CONTEXT), type=_Expected)
        except (ValueError, HeadgateError, msgspec.MsgspecError) as error:
            raise _failed(f"the cookie of the login is missing or not ours: {error}") from None
        if self._clock.now() // 1_000_000 >= expected.until:
            raise _failed("the login took too long")
        return expected

    async def _traded(self, code: str, verifier: str) -> str:
        settings, headers = self._settings, dict[str, str]()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": settings.redirect_url,
            "code_verifier": verifier,
        }
        if settings.client_secret:
            pair = f"{quote_plus(settings.client_id)}:{quote_plus(settings.client_secret)}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = settings.client_id
        status, answer = await self._issuer.post((await self._issuer.endpoints()).token_endpoint, form, headers)
        token = answer.get("id_token")
        if status != 200 or not isinstance(token, str):
            raise _failed(f"the issuer gave no token for the code: {status} {answer.get('error', '')}")
        return token

    async def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        import jwt

        try:
            key = await self._issuer.key(str(jwt.get_unverified_header(token).get("kid", "")))
            if key is None:
                raise _failed("no key of the issuer has signed the token")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._settings.client_id,
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_iss": False},
            )
        except (jwt.InvalidTokenError, ValueError, TypeError) as error:
            raise _failed(f"the token is not good: {error}") from None
        if why := self._wrong(claims, nonce):
            raise _failed(f"the token is not good: {why}")
        return claims

    def _wrong(self, claims: dict[str, Any], nonce: str) -> str:
        now = self._clock.now() // 1_000_000
        begins, ends = claims.get("nbf", claims.get("iat")), claims.get("exp")
        if str(claims.get("iss", "")).rstrip("/") != self._settings.issuer:
            return f"it is of the issuer {claims.get('iss')!r}"
        if not isinstance(begins, int | float) or not isinstance(ends, int | float):
            return "it has no time"
        if not begins - CLOCK_SECONDS <= now < ends + CLOCK_SECONDS:
            return "it is not its time"
        if claims.get("azp", self._settings.client_id) != self._settings.client_id:
            return "it is for another client"
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            return "it was made for another login"
        return "" if isinstance(claims.get("sub"), str) and claims["sub"] else "it names nobody"


def _failed(why: str) -> Unauthorized:
    logger.warning("a login through the issuer failed", extra={"fields": {"why": why}})
    return Unauthorized("The login through the issuer has failed; begin it anew. The server's log has the reason.")


def _local(path: str) -> str:
    """Return the page if it is one of ours, else the first one: nobody is sent away from here."""
    local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and path.isascii()
    return path if local else "/"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
