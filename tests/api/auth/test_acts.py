"""What those who may do all have done is written down before it is done, and kept for a while."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.api.auth import acts
from headgate.core.errors import Unavailable


def test_every_act_about_clients_and_users_is_recorded_newest_first_without_secrets(play: Any):
    async def scene(house: Any) -> None:
        auth = house.auth
        secret = (await auth.clients.create("default", "billing", ["runs:read"], by="user:ann")).secret
        for act in (
            lambda: auth.clients.rotate("default", "billing", by="user:ann"),
            lambda: auth.clients.revoke("default", "billing", by="user:ann"),
            lambda: auth.users.create("default", "ben", "viewer", "a long password", by="user:ann"),
            lambda: auth.users.set_role("default", "ben", "admin", by="user:ann"),
            lambda: auth.users.set_password("default", "ben", "another password", by="user:ann"),
            lambda: auth.users.disable("default", "ben", by="user:ann"),
            lambda: auth.users.enable("default", "ben", by="user:ann"),
        ):
            house.clock.pass_by(1)
            await act()

        found, cursor = await auth.acts.list("default")

        assert [act.act for act in reversed(found)] == [
            *("client.create", "client.rotate", "client.revoke"),
            *("user.create", "user.role", "user.password", "user.disable", "user.enable"),
        ]
        assert {act.actor for act in found} == {"user:ann"}
        assert (found[-1].on, found[-1].details) == ("billing", {"scopes": ["runs:read"]})
        assert found[3].details == {"role": "admin"}
        assert cursor == ""
        everything = b"".join([one.body for one in await house.documents.list("admin_act")])
        assert b"password" not in everything.replace(b"user.password", b"")
        assert secret.encode() not in everything

    play(scene)


def test_what_cannot_be_recorded_is_not_done(play: Any):
    async def scene(house: Any) -> None:
        put = house.documents.put

        async def full(kind: str, *arguments: Any, **rest: Any) -> Any:
            if kind == "admin_act":
                raise Unavailable("The disk is full.")
            return await put(kind, *arguments, **rest)

        house.documents.put = full
        with pytest.raises(Unavailable):
            await house.client()

        assert await house.auth.clients.list() == []

    play(scene)


def test_acts_come_in_pages_and_those_of_one_tenant_only(play: Any):
    async def scene(house: Any) -> None:
        record = house.auth.acts.record
        for n in range(5):
            house.clock.pass_by(1)
            await record("default", "user:ann", "test", str(n))
        await record("acme", "user:eve", "test", "not yours")

        first, cursor = await house.auth.acts.list("default", limit=3)
        rest, end = await house.auth.acts.list("default", limit=3, after=cursor)

        assert [act.on for act in first + rest] == ["4", "3", "2", "1", "0"]
        assert (bool(cursor), end) == (True, "")

    play(scene)


def test_old_acts_go_and_so_do_those_beyond_the_most(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(acts, "ACTS_MAX", 4)
    monkeypatch.setattr(acts, "PRUNE_EVERY", 2)
    monkeypatch.setattr(acts, "_PAGE", 3)

    async def scene(house: Any) -> None:
        record = house.auth.acts.record
        for n in range(9):
            house.clock.pass_by(1)
            await record("default", "user:ann", "test", str(n))
        assert [act.on for act in (await house.auth.acts.list("default"))[0]] == ["8", "7", "6", "5"]

        house.clock.pass_by(acts.ACTS_KEPT_DAYS * 86_400)
        await record("default", "user:ann", "test", "9")
        await record("default", "user:ann", "test", "10")

        assert {act.on for act in (await house.auth.acts.list("default"))[0]} == {"8", "9", "10"}

    play(scene)
