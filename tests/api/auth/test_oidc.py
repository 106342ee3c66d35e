"""People log in through an issuer: a small one of ours, which signs, or lies, as a test wants it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from headgate.api.auth.oidc import LOGIN_SECONDS
from headgate.api.auth.oidc_settings import oidc_settings
from headgate.api.caller import TooMany, Unauthorized
from headgate.api.http import HttpApplication, HttpServer
from headgate.api.http.table import ROUTES
from headgate.app import App
from headgate.core.errors import Invalid, Refused, Unavailable
from headgate.stores.memory import MemoryLog

NOON = 1_800_000_000
KEY = generate_private_key(65_537, 2_048)
OTHER_KEY = generate_private_key(65_537, 2_048)
CLIENT_ID, CLIENT_SECRET = "headgate", "s3cret"


class FakeIssuer:
    """`authorize` is its login page, where everybody is let in who comes; the rest is asked for over HTTP."""

    def __init__(self) -> None:
        self.url = ""
        self.key: RSAPrivateKey = KEY
        self.key_id = "k1"
        self.now = NOON
        self.claims: dict[str, Any] = {"sub": "u-1", "preferred_username": "Ann", "groups": ["staff", "hg-ops"]}
        self.lies: dict[str, Any] = {}
        self.algorithm = "RS256"
        self.asked: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}

    def authorize(self, url: str) -> dict[str, str]:
        """Let a browser in; return what it brings back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return {"code": code, "state": asked["state"]}

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
        path = first.split()[1]
        self.asked.append(path)
        status, answer = self._answer(path, body, headers)
        text = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} x\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + text)
        await writer.drain()
        writer.close()

    def _answer(self, path: str, body: str, headers: dict[str, str]) -> tuple[int, Any]:
        match path:
            case "/.well-known/openid-configuration":
                ends = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/jwks"}
                return 200, {"issuer": self.url, **{name: self.url + end for name, end in ends.items()}} | self.lies
            case "/jwks":
                jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
                useless = {"kty": "oct", "k": "AAAA", "kid": "shared"}
                return 200, {"keys": [useless, {"kty": "no"}, {**jwk, "kid": self.key_id, "use": "sig"}]}
            case _:
                return self._trade({name: values[0] for name, values in parse_qs(body).items()}, headers)

    def _trade(self, form: dict[str, str], headers: dict[str, str]) -> tuple[int, Any]:
        asked = self.codes.pop(form.get("code", ""), None)
        pair = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        right = asked is not None and (
            headers.get("authorization") == f"Basic {pair}"
            and asked["code_challenge"] == challenge.decode()
            and asked["redirect_uri"] == form["redirect_uri"]
        )
        if asked is None or not right:
            return 400, {"error": "invalid_grant"}
        said = {"iss": self.url, "aud": CLIENT_ID, "iat": self.now, "exp": self.now + 300, "nonce": asked["nonce"]}
        said = {name: value for name, value in (said | self.claims).items() if value is not None}
        key: Any = CLIENT_SECRET * 8 if self.algorithm == "HS256" else self.key
        return 200, {"id_token": jwt.encode(said, key, algorithm=self.algorithm, headers={"kid": self.key_id})}


Scene = Callable[[Any, FakeIssuer], Awaitable[None]]


def settings_of(issuer: FakeIssuer, **more: str) -> Any:
    given = {
        "HEADGATE_PUBLIC_URL": "https://headgate.example",
        "HEADGATE_OIDC_ISSUER": issuer.url,
        "HEADGATE_OIDC_CLIENT_ID": CLIENT_ID,
        "HEADGATE_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "HEADGATE_OIDC_ROLE_CLAIM": "groups",
        "HEADGATE_OIDC_ROLES": "hg-ops=operator,hg-admins=admin,staff=viewer",
    }
    return oidc_settings(given | more)


@pytest.fixture
def with_issuer(play: Any) -> Callable[..., None]:
    """Return a function that plays a scene with `Auth` and an issuer that answers."""

    def run(scene: Scene, **more: str) -> None:
        async def whole(house: Any) -> None:
            issuer = FakeIssuer()
            async with issuer.listening():
                house.auth.use_issuer(settings_of(issuer, **more))
                await scene(house, issuer)

        play(whole)

    return run


async def come_back(house: Any, by: FakeIssuer, then: str = "/", address: str = "", **changed: str) -> Any:
    begun = await house.auth.issuer_login().begin(then)
    back = by.authorize(begun.url) | changed
    return await house.auth.log_in_by_issuer(back.pop("cookie", begun.cookie), **back, address=address)


def test_whom_the_issuer_knows_is_a_user_here_with_the_mightiest_role(with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        granted, then = await come_back(house, issuer, "/dashboard?tab=1")

        caller = await house.asks(granted.access_token)
        assert (caller.actor, caller.tenant, then) == ("user:ann", "default", "/dashboard?tab=1")
        assert caller.may("definitions:write")
        assert not caller.may("admin")
        (user,) = await house.auth.users.list()
        assert (user.subject, user.password) == (f"{issuer.url}|u-1", "")

    with_issuer(scene)


def test_somebody_comes_again_as_the_same_user_with_the_role_of_now(with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        before, _ = await come_back(house, issuer)
        issuer.claims["groups"] = ["hg-admins"]

        after, _ = await come_back(house, issuer)

        assert (await house.asks(after.access_token)).may("admin")
        with pytest.raises(Unauthorized):
            await house.asks(before.access_token)
        assert len(await house.auth.users.list()) == 1

    with_issuer(scene)


def test_the_tenant_comes_from_a_claim_where_one_is_set(with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        issuer.claims["org"] = "acme"

        granted, _ = await come_back(house, issuer)

        assert (await house.asks(granted.access_token)).tenant == "acme"
        del issuer.claims["org"]
        with pytest.raises(Unauthorized):
            await come_back(house, issuer)

    with_issuer(scene, HEADGATE_OIDC_TENANT_CLAIM="org")


def test_everybody_else_has_the_role_that_is_set_for_them(with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        issuer.claims["groups"] = "nothing of ours"

        granted, _ = await come_back(house, issuer)

        assert granted.scope == "approvals runs:read"

    with_issuer(scene, HEADGATE_OIDC_DEFAULT_ROLE="approver")


def test_a_disabled_user_and_one_whose_name_is_another_s_do_not_get_in(with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        await come_back(house, issuer)
        issuer.claims["sub"] = "u-2"
        with pytest.raises(Refused, match="another user 'ann'"):
            await come_back(house, issuer)
        issuer.claims["sub"] = "u-1"
        await house.auth.users.disable("default", "ann", by="test")

        with pytest.raises(Unauthorized):
            await come_back(house, issuer)

    with_issuer(scene)


def test_a_local_user_is_not_taken_over_by_an_issuer_s_of_the_same_name(with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        await house.auth.users.create("default", "ann", "viewer", "correct horse battery", by="test")

        with pytest.raises(Refused, match="another user 'ann'"):
            await come_back(house, issuer)

    with_issuer(scene)


# --- What is not good ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://elsewhere.example"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": None},
        {"aud": [CLIENT_ID, "x"], "azp": "x"},
        {"exp": NOON - 61},
        {"exp": None},
        {"iat": NOON + 61},
        {"nbf": NOON + 61},
        {"iat": None},
        {"nonce": "of another login"},
        {"nonce": None},
        {"sub": None},
        {"sub": ""},
        {"preferred_username": None},
        {"preferred_username": "../../etc"},
        {"groups": ["none of ours"]},
        {"groups": None},
    ],
    ids=str,
)
def test_a_token_that_says_what_it_should_not_lets_nobody_in(claims: dict[str, Any], with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        issuer.claims |= claims

        with pytest.raises(Unauthorized, match=r"^The login through the issuer has failed; begin it anew\."):
            await come_back(house, issuer)

        assert await house.auth.users.list() == []

    with_issuer(scene)


def test_a_token_that_the_issuer_s_key_has_not_signed_lets_nobody_in(with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        await come_back(house, issuer)
        issuer.key = OTHER_KEY  # under the name that is known
        with pytest.raises(Unauthorized):
            await come_back(house, issuer)
        issuer.key, issuer.algorithm = KEY, "HS256"
        with pytest.raises(Unauthorized):
            await come_back(house, issuer)
        issuer.key_id = "shared"
        with pytest.raises(Unauthorized):
            await come_back(house, issuer)

    with_issuer(scene)


def test_the_log_has_the_reason_of_a_login_that_failed_also_where_only_warnings_are_shown(
    with_issuer: Any, caplog: pytest.LogCaptureFixture
):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        with pytest.raises(Unauthorized, match="The server's log has the reason"):
            await come_back(house, issuer, state="another")

    with_issuer(scene)

    (line,) = [record for record in caplog.records if record.name == "headgate.auth"]
    assert (line.levelname, line.fields) == ("WARNING", {"why": "the state is another one"})


def test_a_new_key_of_the_issuer_is_found_and_unknown_ones_are_not_asked_for_again_and_again(with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        await come_back(house, issuer)
        issuer.key, issuer.key_id = OTHER_KEY, "k2"
        for n in range(3):
            with pytest.raises(Unauthorized):
                await come_back(house, issuer, address=str(n))
        assert issuer.asked.count("/jwks") == 1

        house.clock.pass_by(61)
        issuer.now += 61

        assert (await come_back(house, issuer))[0].scope
        assert issuer.asked.count("/jwks") == 2
        assert issuer.asked.count("/.well-known/openid-configuration") == 1

    with_issuer(scene)


@pytest.mark.parametrize(
    "changed",
    [{"state": "of another"}, {"state": ""}, {"code": "guessed"}, {"cookie": ""}, {"cookie": "AAAA"}, {"issuer": "x"}],
    ids=str,
)
def test_what_comes_back_must_be_what_was_sent_out(changed: dict[str, str], with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        with pytest.raises(Unauthorized):
            await come_back(house, issuer, **changed)

    with_issuer(scene)


def test_a_code_of_somebody_else_s_login_does_not_fit(with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        theirs = issuer.authorize((await house.auth.issuer_login().begin("/")).url)

        with pytest.raises(Unauthorized):
            await come_back(house, issuer, code=theirs["code"])

    with_issuer(scene)


def test_a_login_that_took_too_long_begins_anew(with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        begun = await house.auth.issuer_login().begin("/")
        house.clock.pass_by(LOGIN_SECONDS)
        issuer.now += LOGIN_SECONDS

        with pytest.raises(Unauthorized):
            await house.auth.log_in_by_issuer(begun.cookie, **issuer.authorize(begun.url))

    with_issuer(scene)


def test_too_many_that_fail_have_to_wait_and_do_not_reach_the_issuer(with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        for _ in range(5):
            with pytest.raises(Unauthorized):
                await come_back(house, issuer, code="guessed", address="10.0.0.1")
        asked = len(issuer.asked)

        with pytest.raises(TooMany):
            await come_back(house, issuer, code="guessed", address="10.0.0.1")

        assert len(issuer.asked) == asked

    with_issuer(scene)


@pytest.mark.parametrize("then", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "/a\r\nb", ""])
def test_nobody_is_sent_away_from_here(then: str, with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        assert (await come_back(house, issuer, then))[1] == "/"

    with_issuer(scene)


@pytest.mark.parametrize(
    "lies", [{"issuer": "https://elsewhere.example"}, {"jwks_uri": None}, {"token_endpoint": "ftp://x/"}], ids=str
)
def test_an_issuer_that_does_not_answer_as_it_should_is_told_apart(lies: dict[str, Any], with_issuer: Any):
    async def scene(house: Any, issuer: FakeIssuer) -> None:
        issuer.lies = lies

        with pytest.raises(Unavailable, match="HEADGATE_OIDC_ISSUER right"):
            await house.auth.issuer_login().begin("/")

    with_issuer(scene)


def test_an_issuer_that_does_not_answer_at_all_is_unavailable(play: Any):
    async def scene(house: Any) -> None:
        issuer = FakeIssuer()
        issuer.url = "http://127.0.0.1:1"
        house.auth.use_issuer(settings_of(issuer))

        with pytest.raises(Unavailable, match="does not answer"):
            await house.auth.issuer_login().begin("/")

    play(scene)


# --- A browser -----------------------------------------------------------------------------------------------------


def test_a_browser_goes_to_the_issuer_and_comes_back_with_a_session():
    async def scene() -> None:
        issuer = FakeIssuer()
        async with App(MemoryLog(), environment={}, work=False) as app:
            issuer.now = app.clock.now() // 1_000_000
            door = HttpApplication(ROUTES, app.doors, identify=app.auth.identify)
            async with (
                issuer.listening(),
                HttpServer(door, "127.0.0.1", 0) as ours,
                httpx2.AsyncClient(base_url=f"{ours.url}/api/v1", timeout=30) as browser,
            ):
                assert (await browser.get("/login/oidc")).status_code == 404
                app.auth.use_issuer(settings_of(issuer))

                out = await browser.get("/login/oidc?then=/dashboard")
                back = issuer.authorize(out.headers["location"])
                first_try = await browser.get("/login/oidc/callback?error=access_denied&state=x")
                come = await browser.get("/login/oidc/callback", params=back | {"session_state": "theirs"})
                me = await browser.get("/me")
                again = await browser.get("/login/oidc/callback", params=back)

        assert out.status_code == 303
        assert out.headers["set-cookie"].endswith("; HttpOnly; SameSite=Lax")
        assert first_try.status_code == 401
        assert (come.status_code, 'content="0;url=/dashboard"' in come.text) == (200, True)
        assert me.json()["actor"] == "user:ann"
        assert again.status_code == 401, "once"

    asyncio.run(scene())


# --- Settings ------------------------------------------------------------------------------------------------------


def test_without_an_issuer_there_is_none():
    assert oidc_settings({"HEADGATE_PUBLIC_URL": "https://x.example"}) is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"HEADGATE_PUBLIC_URL": ""}, "needs HEADGATE_PUBLIC_URL"),
        ({"HEADGATE_OIDC_CLIENT_ID": ""}, "needs HEADGATE_OIDC_CLIENT_ID"),
        ({"HEADGATE_OIDC_ISSUER": "http://issuer.example"}, "expected an https address"),
        ({"HEADGATE_OIDC_ROLES": "admins"}, "expected VALUE=ROLE"),
        ({"HEADGATE_OIDC_ROLES": "admins=boss"}, "There is no role 'boss'"),
        ({"HEADGATE_OIDC_ROLES": ""}, "Nobody would be let in"),
        ({"HEADGATE_OIDC_DEFAULT_ROLE": "boss"}, "There is no role 'boss'"),
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, str], says: str):
    issuer = FakeIssuer()
    issuer.url = "https://issuer.example"

    with pytest.raises(Invalid, match=says):
        settings_of(issuer, **given)


@pytest.mark.parametrize(("verified", "let_in"), [(True, True), (False, False), ("true", False), (None, False)])
def test_an_address_names_somebody_only_where_it_is_verified(verified: Any, let_in: bool):
    issuer = FakeIssuer()
    issuer.url = "https://issuer.example"
    settings = settings_of(issuer, HEADGATE_OIDC_NAME_CLAIM="email")

    found = settings.vouched({"email": "Ann@acme.example", "email_verified": verified, "groups": ["staff"]})

    assert (not isinstance(found, str)) is let_in
