"""Routes of a login through an OIDC issuer: out to it, and back."""

from __future__ import annotations

import msgspec

from headgate.api.auth.oidc import LOGIN_SECONDS
from headgate.api.caller import Unauthorized
from headgate.api.http.login import session_cookie
from headgate.api.http.route import Answer, Call, Route

__all__ = ["ROUTES"]

COOKIE = "headgate_login"
BACK = "/login/oidc/callback"

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Headgate</title>
<meta http-equiv="refresh" content="0;url=%s"></head><body><a href="%s">Go on</a></body></html>"""
"""A redirect would still be the issuer's doing, and a strict cookie not be sent along; from a page of ours it is."""


class Then(msgspec.Struct, frozen=True):
    """The page of this server to come to in the end."""

    then: str = "/"


class Returned(msgspec.Struct, frozen=True):
    """What the issuer has the browser bring back."""

    state: str = ""
    code: str = ""
    error: str = ""
    iss: str = ""


async def begin_issuer_login(call: Call[Then, None]) -> Answer:
    """Send a browser to the issuer, to log in there"""
    begun = await call.doors.auth.issuer_login().begin(call.query.then)
    cookie = _cookie(begun.cookie, LOGIN_SECONDS, secure=call.secure)
    return Answer(data=b"", status=303, headers=(("location", begun.url), cookie, ("cache-control", "no-store")))


async def finish_issuer_login(call: Call[Returned, None]) -> Answer:
    """Take a browser back from the issuer, and keep its session in a cookie"""
    from html import escape

    query = call.query
    if query.error:
        raise Unauthorized(f"The issuer has not let you in: {query.error[:100]!r}.")
    granted, then = await call.doors.auth.log_in_by_issuer(
        _kept(call), state=query.state, code=query.code, issuer=query.iss, address=call.address
    )
    page = PAGE % (escape(then), escape(then))
    return Answer(
        data=page.encode(),
        content_type="text/html; charset=utf-8",
        headers=(
            session_cookie(granted, secure=call.secure),
            _cookie("", 0, secure=call.secure),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
        ),
    )


def _kept(call: Call[Returned, None]) -> str:
    for part in call.headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _cookie(value: str, seconds: int, *, secure: bool) -> tuple[str, str]:
    # Lax, for it is the issuer's page that sends the browser back here.
    text = f"{COOKIE}={value}; Path=/api/v1{BACK}; Max-Age={seconds}; HttpOnly; SameSite=Lax"
    return "set-cookie", f"{text}; Secure" if secure else text


ROUTES = (
    Route(
        method="GET",
        path="/login/oidc",
        function=begin_issuer_login,
        query=Then,
        answer=str,
        status=303,
        scope="",
        refusals=(404,),
    ),
    Route(
        method="GET",
        path=BACK,
        function=finish_issuer_login,
        query=Returned,
        answer=str,
        scope="",
        refusals=(404, 409),
        takes_any_query=True,
    ),
)
