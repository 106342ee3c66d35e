"""Logins through an issuer: who is let in, as whom, in a browser; and what sets it up."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from tests.api.auth.oidc.fake_issuer import FakeIssuer, come_back, settings_of

from headgate.api.auth.oidc_settings import oidc_settings
from headgate.api.caller import Unauthorized
from headgate.api.http import HttpApplication, HttpServer
from headgate.api.http.table import ROUTES
from headgate.app import App
from headgate.core.errors import Invalid, Refused
from headgate.stores.memory import MemoryLog


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


# --- A browser --------------------------------------------------------------------------------------------------------


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


# --- Settings ---------------------------------------------------------------------------------------------------------


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
