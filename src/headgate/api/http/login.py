"""Routes that let somebody in and out: a client's token, a user's session, and who one is.

`/oauth/token` is there twice. Under `/api/v1` it refuses as everything there does; at the root it refuses as RFC 6749
(5.2) has it, for the OAuth libraries of others.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import unquote_plus

import msgspec

from headgate.api.auth.auth import TOKEN_SECONDS, Granted, InvalidClient, InvalidScope
from headgate.api.auth.identification import SESSION_COOKIE, refuse_other_sites, token_in
from headgate.api.caller import EVERYTHING, Forbidden, TooMany
from headgate.api.http.errors import BadRequest, Refusal, TooLarge, Wording, refusal_of
from headgate.api.http.route import Answer, Call, NoQuery, Route
from headgate.core.errors import HeadgateError, Invalid, Unavailable

__all__ = ["ROUTES", "UnsupportedGrant", "session_cookie"]

Text = Annotated[str, msgspec.Meta(max_length=4_096)]

NO_STORE = (("cache-control", "no-store"),)
ANYBODYS = Granted("anybody", "Bearer", TOKEN_SECONDS, " ".join(sorted(EVERYTHING)))
"""What there is to be had where there is no login: programs that cannot do without a token work there as well."""


NOT_DESCRIBED = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
"""Characters that RFC 6749 leaves no room for in a description."""


class UnsupportedGrant(BadRequest):
    """A way of getting a token that there is not."""

    code = "unsupported_grant_type"


class TokenBody(msgspec.Struct, frozen=True):
    """`client_id` and `client_secret` may come as HTTP Basic instead. `scope`: divided by spaces; empty: all it has."""

    grant_type: Text = ""
    client_id: Text = ""
    client_secret: Text = ""
    scope: Text = ""


class TokenRefused(msgspec.Struct, frozen=True):
    """As RFC 6749 has it."""

    error: str
    error_description: str


class RevokeBody(msgspec.Struct, frozen=True):
    token: Text


class LoginBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`cookie`: the token is not in the answer but in a cookie that no script can read: for pages of this server."""

    name: Text
    password: Text
    cookie: bool = False


class LoggedIn(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    tenant: str
    role: str
    token_type: str
    expires_in: int
    scope: str
    access_token: str = ""


class LoggedOut(msgspec.Struct, frozen=True):
    revoked: bool


class Me(msgspec.Struct, frozen=True):
    actor: str
    tenant: str
    scopes: list[str]


async def get_token(call: Call[NoQuery, TokenBody]) -> Answer:
    """Give a client a token for its secret (OAuth2 client credentials)"""
    body = call.body
    if body.grant_type != "client_credentials":
        raise UnsupportedGrant(f"expected grant_type to be client_credentials, got {body.grant_type!r}")
    if call.doors.mode == "dev":
        return Answer(ANYBODYS, headers=NO_STORE)
    client_id, secret = _basic(call.headers) or (body.client_id, body.client_secret)
    auth = call.doors.auth
    granted = await auth.token_for_client(client_id, secret, body.scope, address=call.address)
    return Answer(granted, headers=NO_STORE)


def _basic(headers: Mapping[str, str]) -> tuple[str, str] | None:
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = name = secret = ""
    if not colon:
        raise BadRequest("Authorization: Basic is not base64 of id:secret.")
    return unquote_plus(name), unquote_plus(secret)


async def get_oauth_token(call: Call[NoQuery, TokenBody]) -> Answer:
    """Give a client a token for its secret, refusing as RFC 6749 has it"""
    return await get_token(call)


def by_standard(error: HeadgateError) -> Refusal:
    """Return a refusal in the words of RFC 6749: those of a token's request (5.2), and where they have none, those of
    a person's (4.1.2.1)."""
    status, _, headers = refusal_of(error)
    match error:
        case InvalidClient():
            word, headers = error.code, (("www-authenticate", 'Basic realm="headgate"'),)
        case InvalidScope() | UnsupportedGrant():
            word, status = error.code, 400
        case TooLarge():
            word = "invalid_request"
        case Invalid():
            word, status = "invalid_request", 400
        case Forbidden():
            word = "access_denied"
        case TooMany() | Unavailable():
            word = "temporarily_unavailable"
        case _:
            word = "server_error"
    return Refusal(status, TokenRefused(word, NOT_DESCRIBED.sub("?", error.message)), (*NO_STORE, *headers))


async def revoke_token(call: Call[NoQuery, RevokeBody]) -> LoggedOut:
    """Revoke a token (RFC 7009): whoever has it may; one that is not good is answered alike"""
    await call.doors.auth.log_out(call.body.token)
    return LoggedOut(revoked=True)


async def log_in(call: Call[NoQuery, LoginBody]) -> Answer:
    """Let a user in, by name and password"""
    if call.body.cookie:
        refuse_other_sites(call.headers, call.doors.auth.identification.origins)
    user, granted = await call.doors.auth.log_in(call.body.name, call.body.password, address=call.address)
    answer = LoggedIn(user.id, user.tenant, user.role, granted.token_type, granted.expires_in, granted.scope)
    if call.body.cookie:
        return Answer(answer, headers=(*NO_STORE, session_cookie(granted, secure=call.secure)))
    return Answer(msgspec.structs.replace(answer, access_token=granted.access_token), headers=NO_STORE)


def session_cookie(granted: Granted | None, *, secure: bool) -> tuple[str, str]:
    """Return the header that keeps a session in a browser; None ends it."""
    value, seconds = (granted.access_token, granted.expires_in) if granted else ("", 0)
    text = f"{SESSION_COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict"
    return "set-cookie", f"{text}; Secure" if secure else text


async def log_out(call: Call[NoQuery, None]) -> Answer:
    """Revoke the token that this is asked with, and end the cookie"""
    token, _ = token_in(call.headers)
    await call.doors.auth.log_out(token)
    return Answer(LoggedOut(revoked=True), headers=(session_cookie(None, secure=call.secure),))


async def get_me(call: Call[NoQuery, None]) -> Me:
    """Say who asks, and what they may do"""
    caller = call.caller
    return Me(caller.actor, caller.tenant, sorted(caller.scopes))


ROUTES = (
    Route(
        method="POST",
        path="/oauth/token",
        function=get_token,
        body=TokenBody,
        answer=Granted,
        scope="",
        takes_form=True,
    ),
    Route(
        method="POST",
        path="/oauth/token",
        base="",
        function=get_oauth_token,
        body=TokenBody,
        answer=Granted,
        words=Wording(by_standard, TokenRefused, (400, 401, 403, 413, 429, 500, 503)),
        scope="",
        takes_form=True,
    ),
    Route(
        method="POST",
        path="/oauth/revoke",
        function=revoke_token,
        body=RevokeBody,
        answer=LoggedOut,
        scope="",
        takes_form=True,
    ),
    Route(method="POST", path="/login", function=log_in, body=LoginBody, answer=LoggedIn, scope=""),
    Route(method="POST", path="/logout", function=log_out, answer=LoggedOut),
    Route(method="GET", path="/me", function=get_me, answer=Me),
)
