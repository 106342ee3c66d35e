"""When tokens are over: at their time, revoked, logged out, with their secret."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.auth.issued import _count

from headgate.api.auth import identification
from headgate.api.auth.auth import TOKEN_SECONDS
from headgate.api.auth.clients import KEEP_SECONDS_MAX
from headgate.api.caller import Unauthorized
from headgate.core.errors import Invalid, Refused, Unavailable


def test_a_remembered_token_is_over_at_its_time(play: Any):
    async def scene(house: Any) -> None:
        token = await house.token()
        await house.asks(token)

        house.clock.pass_by(TOKEN_SECONDS - 1)
        await house.asks(token)
        house.clock.pass_by(1)

        with pytest.raises(Unauthorized):
            await house.asks(token)

    play(scene)


def test_a_revoked_client_has_no_token_here_at_once_and_elsewhere_within_a_second(play: Any):
    async def scene(house: Any) -> None:
        token, elsewhere = await house.token(), house.node()
        await house.asks(token)
        await house.asks(token, elsewhere)

        await house.auth.clients.revoke("default", "billing", by="test")

        with pytest.raises(Unauthorized):
            await house.asks(token)
        house.clock.pass_by(1)
        with pytest.raises(Unauthorized):
            await house.asks(token, elsewhere)

    play(scene)


def test_a_revoked_client_gets_no_token_and_its_name_is_not_given_again(play: Any):
    async def scene(house: Any) -> None:
        secret = await house.client()
        await house.auth.clients.revoke("default", "billing", by="test")

        with pytest.raises(Unauthorized):
            await house.auth.token_for_client("billing", secret)
        with pytest.raises(Refused, match="already"):
            await house.client()
        with pytest.raises(Refused, match="for good"):
            await house.auth.clients.rotate("default", "billing", by="test")

    play(scene)


def test_what_is_open_may_go_on_when_its_token_is_over_and_not_when_it_was_revoked(play: Any):
    async def scene(house: Any) -> None:
        token, ticket_run = await house.token(), "a-run"
        caller = await house.asks(token)
        ticket = await house.auth.issue_ticket(caller, ticket_run)
        house.clock.pass_by(TOKEN_SECONDS + 1)

        assert await house.auth.still_may(token)
        assert await house.auth.still_may(ticket)
        with pytest.raises(Unauthorized):
            await house.asks(token)

        other = house.node()
        assert await other.still_may(token)
        await house.auth.clients.revoke("default", "billing", by="test")
        house.clock.pass_by(1)

        assert not await house.auth.still_may(token)
        assert not await other.still_may(token)
        assert not await other.still_may(ticket)
        assert not await other.still_may("forged")

    play(scene)


def test_a_new_secret_ends_the_old_one_and_its_tokens(play: Any):
    async def scene(house: Any) -> None:
        old = await house.client()
        token = (await house.auth.token_for_client("billing", old)).access_token

        new = (await house.auth.clients.rotate("default", "billing", by="test")).secret

        with pytest.raises(Unauthorized):
            await house.asks(token)
        with pytest.raises(Unauthorized):
            await house.auth.token_for_client("billing", old)
        fresh = (await house.auth.token_for_client("billing", new)).access_token
        assert (await house.asks(fresh)).actor == "client:billing"

    play(scene)


def test_the_old_secret_can_be_kept_for_a_while(play: Any):
    async def scene(house: Any) -> None:
        old = await house.client()
        token = (await house.auth.token_for_client("billing", old)).access_token
        await house.auth.clients.rotate("default", "billing", by="test", keep_seconds=60)

        await house.asks(token)
        await house.auth.token_for_client("billing", old)
        house.clock.pass_by(60)
        await house.client("other")  # any change: what is remembered is asked anew

        with pytest.raises(Unauthorized):
            await house.asks(token)
        with pytest.raises(Unauthorized):
            await house.auth.token_for_client("billing", old)
        with pytest.raises(Invalid, match="0 to"):
            await house.auth.clients.rotate("default", "billing", by="test", keep_seconds=KEEP_SECONDS_MAX + 1)

    play(scene)


def test_a_token_that_was_logged_out_is_refused_on_every_node(play: Any):
    async def scene(house: Any) -> None:
        token, other = await house.token(), await house.token("other")
        elsewhere = house.node()
        await house.asks(token, elsewhere)

        await house.auth.log_out(token)
        await house.auth.log_out("no token at all")

        with pytest.raises(Unauthorized):
            await house.asks(token)
        house.clock.pass_by(1)
        with pytest.raises(Unauthorized):
            await house.asks(token, elsewhere)
        assert (await house.asks(other, elsewhere)).actor == "client:other"

    play(scene)


def test_what_is_remembered_of_revoked_tokens_goes_when_they_would_be_over(play: Any):
    async def scene(house: Any) -> None:
        await house.auth.log_out(await house.token())
        house.clock.pass_by(TOKEN_SECONDS + 1)

        await house.auth.log_out(await house.token("other"))

        assert len(await house.documents.list("revoked_token")) == 1

    play(scene)


def test_what_was_found_out_while_something_changed_is_not_remembered(play: Any):
    async def scene(house: Any) -> None:
        token = await house.token()
        look = house.auth.clients.get

        async def look_and_be_overtaken(tenant: str, name: str) -> Any:
            found = await look(tenant, name)
            house.auth.clients.get = look
            await house.auth.clients.revoke(tenant, name, by="test")
            return found

        house.auth.clients.get = look_and_be_overtaken
        await house.asks(token)  # asked before it was revoked, answered after

        with pytest.raises(Unauthorized):
            await house.asks(token)

    play(scene)


def test_only_so_many_verdicts_are_remembered(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(identification, "VERDICTS_MAX", 2)

    async def scene(house: Any) -> None:
        secret = await house.client()
        tokens = [(await house.auth.token_for_client("billing", secret)).access_token for _ in range(5)]
        for token in tokens:
            await house.asks(token)

        assert len(house.auth.identification._verdicts) == 2
        assert (await house.asks(tokens[0])).actor == "client:billing", "it is read again"

    play(scene)


def test_a_token_is_read_once_and_the_store_asked_once_a_second(play: Any):
    async def scene(house: Any) -> None:
        token = await house.token()
        house.clock.pass_by(1)
        await house.asks(token)
        asked: list[str] = []
        for name in ("get", "list", "revision"):
            _count(house.documents, name, asked)

        for _ in range(5):
            await house.asks(token)
        assert asked == []
        house.clock.pass_by(1)
        for _ in range(5):
            await house.asks(token)

        assert set(asked) == {"revision"}
        assert len(asked) == 4, "once for each kind of document"

    play(scene)


def test_while_nobody_can_say_what_was_revoked_nobody_is_let_in(play: Any):
    async def scene(house: Any) -> None:
        token = await house.token()
        await house.asks(token)
        house.clock.pass_by(1)
        revision = house.documents.revision

        async def away(kind: str) -> int:
            raise Unavailable("The database is away.")

        house.documents.revision = away
        for _ in range(2):
            with pytest.raises(Unavailable):
                await house.asks(token)

        house.documents.revision = revision
        assert (await house.asks(token)).actor == "client:billing"

    play(scene)
