"""The keys that sign tokens, and the secrets that tokens are given for."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from tests.api.auth.issued import _count, opened, signed

from headgate.api.auth.signing_keys import LIFETIME_SECONDS_MAX
from headgate.api.caller import Unauthorized
from headgate.core.errors import Invalid, NotFound

# --- Keys -------------------------------------------------------------------------------------------------------------


def test_after_a_change_of_keys_tokens_of_the_old_one_are_good_until_they_are_over(play: Any):
    async def scene(house: Any) -> None:
        old = await house.token()
        elsewhere = house.node()
        await house.asks(old, elsewhere)

        await house.auth.keys.rotate()
        new = await house.token("other")
        house.clock.pass_by(0.2)

        assert opened(old)[0]["kid"] != opened(new)[0]["kid"]
        for node in (house.auth, elsewhere):
            assert (await house.asks(old, node)).actor == "client:billing"
            assert (await house.asks(new, node)).actor == "client:other", "its key is looked for when it is met"

    play(scene)


def test_a_retired_key_goes_when_it_has_nothing_left_to_verify(play: Any):
    async def scene(house: Any) -> None:
        first = opened(await house.token())[0]["kid"]
        await house.auth.keys.rotate()
        house.clock.pass_by(LIFETIME_SECONDS_MAX + 1)

        assert await house.auth.keys.verifying(first) is None
        await house.auth.keys.rotate()

        assert first not in {key.id for key in await house.auth.keys.list()}
        assert len(await house.auth.keys.list()) == 2

    play(scene)


def test_keys_that_are_forgotten_take_their_tokens_with_them_on_every_node(play: Any):
    async def scene(house: Any) -> None:
        token, elsewhere = await house.token(), house.node()
        await house.asks(token, elsewhere)

        await house.node().keys.rotate(forget=True)
        house.clock.pass_by(1)

        for node in (house.auth, elsewhere):
            with pytest.raises(Unauthorized):
                await house.asks(token, node)
        assert (await house.asks(await house.token("other"), elsewhere)).actor == "client:other"

    play(scene)


def test_unknown_keys_do_not_make_a_node_look_again_and_again(play: Any):
    async def scene(house: Any) -> None:
        token = await house.token()
        forged = [await signed(house, token, head={"kid": f"{n:016x}"}) for n in range(20)]
        await house.asks(token)
        asked: list[str] = []
        _count(house.documents, "list", asked)
        house.clock.pass_by(0.5)

        for one in forged:
            with pytest.raises(Unauthorized):
                await house.asks(one)

        assert len(asked) == 1

    play(scene)


def test_the_private_part_of_a_key_is_nowhere_in_the_database(play: Any):
    async def scene(house: Any) -> None:
        _, key = await house.auth.keys.current()

        (document,) = await house.documents.list("signing_key")

        assert key.public_key().public_bytes_raw() in document.body
        assert key.private_bytes_raw() not in document.body

    play(scene)


# --- Secrets ----------------------------------------------------------------------------------------------------------


def test_a_secret_is_kept_as_a_digest_only(play: Any):
    async def scene(house: Any) -> None:
        secret = await house.client()

        (document,) = await house.documents.list("client")

        assert len(secret) > 43
        assert secret.encode() not in document.body
        assert hashlib.sha256(secret.encode()).digest() in document.body

    play(scene)


@pytest.mark.parametrize(("client_id", "secret"), [("billing", "wrong"), ("nobody", "x"), ("a/b/c", ""), ("", "")])
def test_a_wrong_secret_gives_no_token(client_id: str, secret: str, play: Any):
    async def scene(house: Any) -> None:
        await house.client()

        with pytest.raises(Unauthorized, match=r"^No client has this id and this secret\.$"):
            await house.auth.token_for_client(client_id, secret)

    play(scene)


def test_a_client_of_one_tenant_is_nobody_in_another(play: Any):
    async def scene(house: Any) -> None:
        secret = await house.client(tenant="acme")

        with pytest.raises(Unauthorized):
            await house.auth.token_for_client("billing", secret)
        with pytest.raises(NotFound):
            await house.auth.clients.revoke("default", "billing", by="test")
        assert [one.id for one in await house.auth.clients.list()] == ["acme/billing"]
        assert await house.auth.clients.list("default") == []

    play(scene)


@pytest.mark.parametrize(
    ("tenant", "name", "scopes"),
    [
        ("default", "Bad Name", ("runs:read",)),
        ("default", "a/b", ("runs:read",)),
        ("", "a", ("runs:read",)),
        ("default", "a", ()),
        ("default", "a", ("runs:all",)),
    ],
)
def test_what_cannot_be_a_client_is_refused(tenant: str, name: str, scopes: tuple[str, ...], play: Any):
    async def scene(house: Any) -> None:
        with pytest.raises(Invalid):
            await house.auth.clients.create(tenant, name, scopes, by="test")
        assert await house.documents.list("admin_act") == []

    play(scene)
