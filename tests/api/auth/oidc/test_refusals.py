"""Logins through an issuer that are refused."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from tests.api.auth.oidc.fake_issuer import CLIENT_ID, KEY, NOON, FakeIssuer, come_back, settings_of

from headgate.api.auth.oidc import LOGIN_SECONDS
from headgate.api.caller import TooMany, Unauthorized
from headgate.core.errors import Unavailable

OTHER_KEY = generate_private_key(65_537, 2_048)


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
